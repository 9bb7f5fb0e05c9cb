#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what the start of the library costs: the first run of a new session beside later ones, and a load beside a read.

usage: startup_costs.py [PROGRAM [LIBRARY]]

PROGRAM (build/test/src/cli/ss1) writes a BERT-base of random weights, 440 MB, and LIBRARY (build/test/src/libss1.so) loads
it. Each is the median of 5. Before that, it is checked that loading the library starts no thread, opens no file and prints
nothing. It takes a minute: it is no part of CI.
"""
import contextlib
import ctypes
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build/test/src/cli/ss1")
os.environ["SS1_LIBRARY"] = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "build/test/src/libss1.so")
sys.path.insert(0, str(ROOT / "bindings/python"))
sys.dont_write_bytecode = True


def state():
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of listdir() itself
            links.append((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return sorted(os.listdir("/proc/self/task")), sorted(links)


def check_silence():
    """Loads the library, makes a context and a layer, with stdout and stderr in a file that must stay empty."""
    before = state()
    with tempfile.TemporaryFile() as told:
        kept = os.dup(1), os.dup(2)
        os.dup2(told.fileno(), 1), os.dup2(told.fileno(), 2)
        try:
            ctypes.CDLL(os.environ["SS1_LIBRARY"])
            import ss1
            context = ss1.Context()
        finally:
            os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        os.close(kept[0]), os.close(kept[1])
        assert os.fstat(told.fileno()).st_size == 0, "the library printed"
        del context
    after = state()
    assert after == before, f"threads and files were {before}, are {after}"
    print("loading the library and making a context: no thread, no file, no print")


def median(measure, times=5):
    return statistics.median(measure() for _ in range(times))


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def runs(context, model, make_inputs):
    """Prints the first run of a session and the median of the next."""
    import ss1

    first, steady = [], []
    for _ in range(5):
        with ss1.Session(model, 16, 64) as session:
            inputs = make_inputs()
            first.append(seconds(lambda: session.run(inputs)))
            steady.append(median(lambda: seconds(lambda: session.run(inputs)), 20))
    a, b = statistics.median(first), statistics.median(steady)
    print(f"first run {a * 1e3:.3f} ms, later runs {b * 1e3:.3f} ms: {a / b:.2f} times")


def main():
    check_silence()
    import numpy
    import ss1

    context = ss1.Context()
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "bert-base"
        subprocess.run([PROGRAM, "convert", ROOT / "examples/models/bert-base", model, "--random-weights", "1", "--dtype", "f32"],
                       check=True, stdout=subprocess.DEVNULL)
        weights = model / "model.safetensors"
        block = bytearray(1 << 20)

        def read():
            with open(weights, "rb", buffering=0) as file:
                while file.readinto(block):
                    pass

        read()
        reading = median(lambda: seconds(read))
        loading = median(lambda: seconds(lambda: ss1.Model(context, model).close()))
        size = weights.stat().st_size / 1e6
        print(f"{size:.0f} MB: read in {reading:.3f} s, loaded in {loading:.3f} s: {loading / reading:.2f} times")
        ids = numpy.full((1, 16), 1000, numpy.int64)
        runs(context, ss1.Model(context, model), lambda: {"input_ids": ids})


if __name__ == "__main__":
    main()
