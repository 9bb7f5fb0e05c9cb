#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ss1's embedding bags against PyTorch's EmbeddingBag, taking turns in one process; JSON lines on stdout.

f32 and f16 tables run as torch.nn.functional.embedding_bag, int8 and int4 as torch.ops.quantized.embedding_bag_byte and
_4bit on the same rows, which neither converts. Each run looks up other rows, drawn evenly. ss1's tables are in huge pages, where
ss1_model_load() puts them; PyTorch runs on its own tensors, and on ss1's copy. A Python call of ss1 takes some 12 us
by itself: take large batches.

Usage: PYTHONPATH=bindings/python SS1_LIBRARY=build/test/src/libss1.so python3 bench/embedding_bag.py -d 64,128
"""
import argparse
import json
import mmap
import time

import numpy
import ss1
import torch

QUANTISED = {"int8": (torch.ops.quantized.embedding_bag_byte_prepack,
                      torch.ops.quantized.embedding_bag_byte_rowwise_offsets),
             "int4": (torch.ops.quantized.embedding_bag_4bit_prepack,
                      torch.ops.quantized.embedding_bag_4bit_rowwise_offsets)}


def make_table(dtype, rows, d):
    values = torch.randn(rows, d)
    return QUANTISED[dtype][0](values) if dtype in QUANTISED else values.half() if dtype == "f16" else values


def torch_call(dtype, table):
    if dtype in QUANTISED:
        return lambda indices, offsets: QUANTISED[dtype][1](table, indices, offsets)
    return lambda indices, offsets: torch.nn.functional.embedding_bag(indices, table, offsets, mode="sum")


def in_huge_pages(table):
    """A copy as ss1_model_load() makes it."""
    memory = mmap.mmap(-1, table.nbytes + (2 << 20))
    memory.madvise(mmap.MADV_HUGEPAGE)
    begin = -numpy.frombuffer(memory, numpy.uint8).ctypes.data % (2 << 20)
    copy = numpy.frombuffer(memory, table.dtype, table.size, begin).reshape(table.shape)
    copy[...] = table
    return copy


def measure(context, dtype, rows, d, batch, pooling, rounds):
    table = make_table(dtype, rows, d)
    copy = in_huge_pages(table.numpy())
    bags = ss1.Bags(context, d, {"table": copy}, dtype)
    offsets = torch.arange(0, batch * pooling, pooling)
    out = numpy.empty((batch, d), numpy.float32)
    touched = batch * pooling * copy[0].nbytes
    sets = [torch.randint(rows, (batch * pooling,)) for _ in range(max(4, min(400, (1 << 29) // touched)))]

    def torch_on(memory):
        call = torch_call(dtype, memory)

        def run(indices):
            with torch.inference_mode():
                return call(indices, offsets).float().numpy()
        return run

    calls = {"ss1": lambda indices: bags(indices.numpy(), offsets.numpy()[None], out=out), "torch": torch_on(table),
             "torch_in_huge_pages": torch_on(torch.from_numpy(copy))}
    wanted = calls["ss1"](sets[0]).copy()
    for name, call in calls.items():
        error = numpy.abs(call(sets[0]) - wanted).max()
        if not error < 2e-3 * pooling:
            raise SystemExit(f"WRONG RESULT: {dtype}: {name} differs by {error}")
    times = {name: [] for name in calls}
    for turn in range(rounds):
        for shift, (name, call) in enumerate(calls.items()):
            indices = sets[(turn + shift * len(sets) // 3) % len(sets)]
            begin = time.perf_counter_ns()
            call(indices)
            times[name].append(time.perf_counter_ns() - begin)
    row = {"dtype": dtype, "rows": rows, "d": d, "batch": batch, "pooling": pooling,
           "threads": torch.get_num_threads(), "torch": torch.__version__, "rounds": rounds}
    for name, values in times.items():
        row[name + "_ns_median"] = float(numpy.median(values))
        if name != "ss1":
            for part, quantile in ("median", 50), ("p10", 10), ("p90", 90):
                ratio = numpy.percentile(numpy.array(values) / numpy.array(times["ss1"]), quantile)
                row[f"{name}_over_ss1_{part}"] = round(float(ratio), 3)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("-d", type=numbers, default=[64, 128])
    parser.add_argument("--dtype", default="f32,f16,int8,int4")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--pooling", type=numbers, default=[1, 20, 80])
    parser.add_argument("--threads", type=numbers, default=[1])
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        with ss1.Context(num_threads=threads) as context:
            for dtype in options.dtype.split(","):
                for d in options.d:
                    for pooling in options.pooling:
                        print(json.dumps(measure(context, dtype, options.rows, d, options.batch, pooling,
                                                 options.rounds)), flush=True)


if __name__ == "__main__":
    main()
