#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what the readers of files take: seconds and memory for files of the worst kinds at half and at whole size.

usage: reader_costs.py [PROGRAM]

Each file goes through a command of its own, PROGRAM (build/test/src/cli/ss1). Columns: bytes of the whole file, seconds of
CPU for it, the same divided by the seconds for the half (2 is linear), and the most memory that the command had beyond a
command that reads a tiny file, divided by the bytes. Fails if that is more than 3 times the file and 64 MiB. It takes two
minutes and 1 GB of disk: it is no part of CI.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "tests/data"
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build/test/src/cli/ss1")
MIB = 1 << 20
VALUES = 1 << 21  # the limit of a JSON text


def cost(*arguments):
    """(seconds of CPU, bytes of memory) of a command."""
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env={**os.environ, "SS1_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 2), f"{arguments} ended with {process.returncode}"
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def repeated(piece, size, separator=b",", begin=b"[", end=b"]"):
    """piece(0), piece(1) and so on up to this size; all have about one size."""
    n = size // (len(piece(10**6)) + len(separator))
    return begin + separator.join(piece(i) for i in range(n)) + end


def extra(value):
    return b'{"model_type": "bert", "extra": ' + value + b"}"


def safetensors(size):
    n = min(size // 120, VALUES // 8 - 100)
    name = "x" * (size // n - 70)
    tensors = (f'"{name}{i:07}":{{"dtype":"F32","shape":[1,0],"data_offsets":[0,0]}}' for i in range(n))
    header = ("{" + ",".join(tensors) + "}").encode()
    return struct.pack("<Q", len(header)) + header


def tokenizer(model, vocab):
    return json.dumps({"pre_tokenizer": {"type": "Whitespace"}, "model": {**model, "vocab": vocab}}).encode()


def merges(size):
    """A BPE whose every token is a merge: the characters from U+4E00 on, and pairs of them."""
    n = size // 60
    letters = [chr(0x4e00 + i) for i in range(1 << 10)]
    pairs = [(letters[i % 1024], letters[i // 1024 % 1024]) for i in range(n)]
    tokens = letters + [a + b for a, b in pairs]
    return tokenizer({"type": "BPE", "merges": [f"{a} {b}" for a, b in pairs]}, {token: i for i, token in enumerate(tokens)})


def unigram(size):
    return tokenizer({"type": "Unigram", "unk_id": 0}, [[f"token{i}", -i / 1000] for i in range(size // 30)])


def rows(size):
    model = json.loads((DATA / "dlrm_dot/config.json").read_text())
    names = model["dense_features"] + [table["name"] for table in model["tables"]]
    return ",".join(names).encode() + repeated(lambda i: b"0.25,1e-3,-7.125,0,3,4,5", size, b"\n", b"\n", b"\n")


def bag(size):
    return rows(100) + b"1,1,1,1,1,2," + repeated(lambda i: b"3", size, b" ", b"", b"\n")


# File, its whole size, the command that reads it, and what is in it.
MODEL, TEXT = ["inspect"], ["run", "--text", "-"]
CASES = {
    "config.json: numbers": ("config.json", 4 * MIB, MODEL, lambda n: extra(repeated(lambda i: b"1", n))),
    "config.json: fractions": ("config.json", 16 * MIB, MODEL, lambda n: extra(repeated(lambda i: b"0.1234567", n))),
    "config.json: labels": ("config.json", 16 * MIB, MODEL,
                            lambda n: extra(repeated(lambda i: b'"%07d": "LABEL_%07d"' % (i, i), n, b", ", b"{", b"}"))),
    "config.json: keys backwards": ("config.json", 16 * MIB, MODEL, lambda n: extra(
        repeated(lambda i: b'"a long prefix of keys %07d":0' % (10**7 - 1 - i % 10**7), n, b",", b"{", b"}"))),
    "config.json: empty arrays": ("config.json", 6 * MIB, MODEL, lambda n: extra(repeated(lambda i: b"[]", n))),
    "config.json: one string": ("config.json", 16 * MIB, MODEL, lambda n: extra(b'"' + b"x" * n + b'"')),
    "config.json: escapes": ("config.json", 16 * MIB, MODEL, lambda n: extra(repeated(lambda i: b"\\ud83d\\ude00", n, b"", b'"', b'"'))),
    "config.json: Chinese": ("config.json", 16 * MIB, MODEL, lambda n: extra(repeated(lambda i: "\u4e2d".encode(), n, b"", b'"', b'"'))),
    "config.json: one number": ("config.json", 16 * MIB, MODEL, lambda n: extra(b"0." + b"1" * n)),
    "config.json: blanks": ("config.json", 16 * MIB, MODEL, lambda n: extra(b" " * n + b"0")),
    "model.safetensors: header": ("model.safetensors", 99_000_000, MODEL, safetensors),
    "index of shards": ("model.safetensors.index.json", 16 * MIB, MODEL, lambda n: b'{"weight_map": ' + repeated(
        lambda i: b'"layer.%07d.weight":"model-1.safetensors"' % i, n, b",", b"{", b"}") + b"}"),
    "vocab.txt: short lines": ("vocab.txt", 4 * MIB, TEXT, lambda n: repeated(lambda i: b"%x" % i, n, b"\n", b"", b"\n")),
    "vocab.txt: one line": ("vocab.txt", 8 * MIB, TEXT, lambda n: b"a" * (n - 2)),
    "tokenizer.json: BPE": ("tokenizer.json", 24 * MIB, TEXT, merges),
    "tokenizer.json: Unigram": ("tokenizer.json", 16 * MIB, TEXT, unigram),
    "CSV: rows": ("rows.csv", 32 * MIB, ["run", "--input"], rows),
    "CSV: one bag": ("rows.csv", 16 * MIB, ["run", "--input"], bag),
}


def measure(folder, file, command, make, size):
    """Bytes of the file, seconds and memory of the command that reads it."""
    model = folder / "model"
    if file == "rows.csv":
        path, model = folder / file, DATA / "dlrm_dot"
        arguments = ["run", model, "--input", path]
    else:
        shutil.copytree(DATA / "bert_classifier", model)
        path = model / file
        if file.endswith("index.json"):
            (model / "model.safetensors").unlink()
        arguments = [command[0], model, *command[1:]]
    # In a process of its own: a child's memory counts from that of its parent on.
    writer = os.fork()
    if not writer:
        path.write_bytes(make(size))
        os._exit(0)
    assert os.waitpid(writer, 0)[1] == 0
    size = path.stat().st_size
    seconds, memory = cost(*arguments)
    shutil.rmtree(folder / "model", ignore_errors=True)
    return size, seconds, memory


def main():
    failed = False
    print(f"{'file':28} {'bytes':>10} {'seconds':>8} {'to half':>8} {'memory':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        base = cost("inspect", DATA / "bert_classifier")[1]
        for title, (file, size, command, make) in CASES.items():
            size -= 100  # for what stands around the content
            _, half, _ = measure(folder, file, command, make, size // 2)
            size, seconds, memory = measure(folder, file, command, make, size)
            more = max(0, memory - base)
            failed |= more > 3 * size + 64 * MIB
            print(f"{title:28} {size:10} {seconds:8.3f} {seconds / max(half, 1e-3):8.1f} {more / size:7.1f}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
