# SPDX-License-Identifier: Apache-2.0
"""Contenders in processes of their own, on the same cores, that take turns: A B C A B C ...; who waits is stopped."""
import os
import pathlib
import pickle
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

# The settings of `ss1-bench linear`: threads spin for a millisecond. By default GNU's OpenMP does so for 13 ms, OpenBLAS for 30:
# into the turns of others.
ENVIRONMENT = {"GOMP_SPINCOUNT": "30000", "KMP_BLOCKTIME": "1", "OPENBLAS_THREAD_TIMEOUT": "20"}
TURN_NS = 4e6  # a turn is about so long, if it takes less than RUNS_OF_TURN runs
RUNS_OF_TURN = 20
WARM_NS = 2e7  # a run that is longer needs no other one before it to wake up threads and caches
LEAST_ROUNDS = 3


class Failed(Exception):
    """The contender cannot do it, or its process is gone; the text says why."""


class Worker:
    """One contender's process. It begins at once; ready() waits until its model is there.

    Between its answers the process is stopped: threads that wait spinning, ONNX Runtime's for longer than a turn, would run
    in the turns of others. (Our dense DLRM took 5 ms behind such threads on 16 cores instead of 0.1.)
    """

    def __init__(self, spec):
        self.name, self.log = spec["name"], tempfile.TemporaryFile()
        environment = {**ENVIRONMENT, **os.environ, "OMP_NUM_THREADS": str(spec["threads"]), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("worker.py")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, env=environment)
        self._send(spec)

    def ready(self, limit_s):
        return self._receive(limit_s)

    def ask(self, command, *arguments, limit_s=300):
        self.process.send_signal(signal.SIGCONT)
        self._send((command, arguments))
        return self._receive(limit_s)

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def _send(self, message):
        try:
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()
        except OSError:
            raise Failed(self._last_words()) from None

    def _receive(self, limit_s):
        if not select.select([self.process.stdout], [], [], max(limit_s, 0))[0]:
            self.process.kill()
            raise Failed(f"took more than {limit_s:.0f} s")
        try:
            state, value = pickle.load(self.process.stdout)
        except EOFError:
            raise Failed(self._last_words()) from None
        self.process.send_signal(signal.SIGSTOP)
        if state == "error":
            raise Failed(value)
        return value

    def _last_words(self):
        self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return f"ended with {self.process.returncode}: " + next((line for line in reversed(lines) if line.strip()), "no message")


def runs_of_turn(ns):
    """(runs that do not count, runs that do) of a turn of a contender whose run takes `ns`."""
    return (0, 1) if ns > WARM_NS else (1, max(1, min(RUNS_OF_TURN, round(TURN_NS / ns))))


def measure(workers, rounds, limit_s):
    """({name: [ns of each round]}, {name: reason}): at least LEAST_ROUNDS, at most `rounds`, as many as `limit_s` allows.

    `workers` is [(worker, ns of a run, about)].
    """
    samples, failed = {worker.name: [] for worker, _ in workers}, {}
    begin = time.monotonic()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.monotonic() - begin > limit_s:
            break
        for worker, ns in workers:
            if worker.name in samples:
                uncounted, counted = runs_of_turn(ns)
                try:
                    times = worker.ask("run", uncounted + counted)
                    samples[worker.name].append(round(statistics.median(times[uncounted:])))
                except Failed as error:
                    failed[worker.name] = str(error)
                    del samples[worker.name]
    return samples, failed
