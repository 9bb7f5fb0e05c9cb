# SPDX-License-Identifier: Apache-2.0
"""The process of one contender: `python3 worker.py`, driven by harness.Worker with pickles over its pipes.

The first message is the contender's spec: {"module", "threads", "cpus" to run on, ...}. The module's
make(spec) gives an object with .info (a dict) and .prepare([inputs, ...]) -> [callable, ...], one a set of inputs, each
of which runs the model once and returns the outputs as a numpy array; if it has .stages(n), also its times by stage.
"""
import contextlib
import gc
import importlib
import itertools
import os
import pathlib
import pickle
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = map(str, (FOLDER, FOLDER.parents[1] / "bindings/python", FOLDER.parents[1] / "bindings/python/train"))


class Commands:
    """What the harness may ask for, once the contender is made."""

    def __init__(self, contender):
        self.contender, self.calls, self.turns = contender, [], None

    def info(self):
        return self.contender.info

    def inputs(self, sets):
        self.calls = self.contender.prepare(sets)
        self.turns = itertools.cycle(self.calls)

    def result(self, rows):
        """(the first rows of the outputs for the first set, nanoseconds)"""
        begin = time.perf_counter_ns()
        outputs = self.calls[0]()
        return outputs[:rows].copy(), time.perf_counter_ns() - begin

    def run(self, n):
        """Nanoseconds of n runs, each on the next set of inputs."""
        times, clock = [], time.perf_counter_ns
        for call in itertools.islice(self.turns, n):
            begin = clock()
            call()
            times.append(clock() - begin)
        return times

    def stages(self, n):
        return self.contender.stages(n) if hasattr(self.contender, "stages") else None


def answer(function, *arguments):
    try:
        return "ok", function(*arguments)
    except Exception as error:
        return "error", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main():
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints

    def reply(value):
        pickle.dump(value, replies)
        replies.flush()

    spec = pickle.load(sys.stdin.buffer)
    state, commands = answer(lambda: Commands(importlib.import_module(spec["module"]).make(spec)))
    gc.freeze()
    # Only now: twenty contenders that get ready on one core take minutes. Threads to come inherit it.
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), spec["cpus"])
    reply((state, None if state == "ok" else commands))
    while state == "ok":
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        reply(answer(getattr(commands, name), *arguments))


if __name__ == "__main__":
    main()
