#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes data/robe_vectors.json: the places of the rows of ROBE-Z tables, computed only from docs/format.md.

Usage: python3 tests/make_robe_vectors.py
"""
import json
import pathlib

import numpy

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def fin(v):
    with numpy.errstate(over="ignore"):
        v ^= v >> numpy.uint64(30)
        v *= numpy.uint64(FIRST)
        v ^= v >> numpy.uint64(27)
        v *= numpy.uint64(SECOND)
        return v ^ v >> numpy.uint64(31)


def mix(h, value):
    with numpy.errstate(over="ignore"):
        return fin(numpy.uint64(h) + numpy.uint64(GOLDEN) * (numpy.uint64(value) + numpy.uint64(1)))


def mix64(seed, table, row, chunk):
    return mix(mix(mix(seed, table), row), chunk)


def offset(size, block, h):
    line = min(block, 16)
    return (int(h) >> 1) % (size // line) * line


def main():
    hashes = [{"seed": s, "table": e, "row": x, "chunk": z, "h": f"{int(mix64(s, e, x, z)):016x}"}
              for s, e, x, z in [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (42, 25, 39884405, 7),
                                 (2**63 - 1, 99999, 2**40 - 1, 8191)]]
    rows = []
    for size, block, d, seed in [(8, 8, 16, 0), (64, 8, 64, 1), (1008, 16, 48, 7), (96, 32, 64, 3), (4096, 128, 128, 42),
                                 (2**31 + 2**20, 16, 32, 5), (2**40, 64, 64, 2**63 - 1)]:
        for table, row in [(0, 0), (0, 1), (3, 12345), (25, 2**40 - 1)]:
            starts = [offset(size, block, mix64(seed, table, row, z)) for z in range(d // block)]
            rows.append({"size": size, "block": block, "seed": seed, "embedding_dim": d, "table": table, "row": row,
                         "chunk_offsets": starts, "last_element": (starts[-1] + block - 1) % size})
    vectors = {"mix64": hashes, "rows": rows}
    path = pathlib.Path(__file__).parent / "data" / "robe_vectors.json"
    lists = {key: "[\n" + ",\n".join("    " + json.dumps(entry) for entry in entries) + "\n  ]"
             for key, entries in vectors.items()}
    path.write_text("{\n" + ",\n".join(f'  "{key}": {text}' for key, text in lists.items()) + "\n}\n")


if __name__ == "__main__":
    main()
