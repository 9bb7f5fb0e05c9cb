#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ss1's embedding bags against PyTorch's EmbeddingBag, taking turns in one process; JSON lines on stdout.

f32 and f16 tables run as torch.nn.functional.embedding_bag, int8 and int4 as torch.ops.quantized.embedding_bag_byte and
_4bit on rows that both read as they are. Each run looks up other rows, drawn evenly.

Usage: PYTHONPATH=bindings/python SS1_LIBRARY=build/src/libss1.so python3 bench/embedding_bag.py --rows 1000000 -d 64,128
"""
import argparse
import json
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


def measure(context, dtype, rows, d, batch, pooling, rounds):
    table = make_table(dtype, rows, d)
    bags = ss1.Bags(context, d, {"table": table.numpy()}, dtype)
    offsets = torch.arange(0, batch * pooling, pooling)
    out = numpy.empty((batch, d), numpy.float32)
    touched = batch * pooling * table.numpy()[0].nbytes
    sets = [torch.randint(rows, (batch * pooling,)) for _ in range(max(4, min(200, (1 << 29) // touched)))]
    peer = torch_call(dtype, table)

    def ours(indices):
        return bags(indices.numpy(), offsets.numpy()[None], out=out)

    def theirs(indices):
        with torch.inference_mode():
            return peer(indices, offsets)

    error = numpy.abs(ours(sets[0]) - theirs(sets[0]).float().numpy()).max()
    if not error < 2e-3 * pooling:
        raise SystemExit(f"WRONG RESULT: {dtype} differs by {error}")
    times = {ours: [], theirs: []}
    for turn in range(rounds):
        for shift, call in enumerate(times):
            indices = sets[(turn + shift * len(sets) // 2) % len(sets)]
            begin = time.perf_counter_ns()
            call(indices)
            times[call].append(time.perf_counter_ns() - begin)
    ratios = numpy.array(times[theirs]) / numpy.array(times[ours])
    return {"dtype": dtype, "rows": rows, "d": d, "batch": batch, "pooling": pooling,
            "threads": torch.get_num_threads(), "torch": torch.__version__,
            "ss1_ns_median": float(numpy.median(times[ours])), "torch_ns_median": float(numpy.median(times[theirs])),
            "ratio_median": round(float(numpy.median(ratios)), 3),
            "ratio_p10": round(float(numpy.percentile(ratios, 10)), 3),
            "ratio_p90": round(float(numpy.percentile(ratios, 90)), 3), "rounds": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("-d", type=numbers, default=[64, 128])
    parser.add_argument("--dtype", default="f32,f16,int8,int4")
    parser.add_argument("--batch", type=int, default=512)
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
