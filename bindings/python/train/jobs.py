# SPDX-License-Identifier: Apache-2.0
"""Runs in parallel processes, of which each may make further ones possible; a repeated command continues where it stopped.

Scripts whose runs are independent keep a file for each run instead (results.stored).
A run is named by a tuple (what, kind, budget, seed, lr) and gives a dictionary with these keys: one line of OUT/results.jsonl.
"""
import concurrent.futures
import json
import multiprocessing
import sys

from results import write

KEYS = ("what", "kind", "budget", "seed", "lr")


class Results:
    """The lines of OUT/results.jsonl by task."""

    def __init__(self, path):
        self.path, self.lines = path, {}
        for line in path.read_text().splitlines() if path.exists() else []:
            self.add(json.loads(line))

    def add(self, line):
        self.lines[tuple(line[key] for key in KEYS)] = line


def check_settings(folder, settings):
    """Results of other settings in the same folder would stand in the tables under a wrong title."""
    path = folder / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        sys.exit(f"--out {folder}: has results of {path.read_text().strip()}, not of {json.dumps(settings)}; give another folder")
    write(path, json.dumps(settings) + "\n")


def work(options, run, tasks_after):
    """(the results, the number of runs that failed)

    run(task, options) returns a line; tasks_after(line, results, options) the tasks that this line makes possible, those at the
    start for None. It may name tasks again.
    """
    results, failures = Results(options.out / "results.jsonl"), 0
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, context) as pool, open(results.path, "a") as file:
        waiting, found, known = set(), [None], set()
        while found or waiting:
            for done in found:
                for task in tasks_after(done, results, options):
                    if task in known:
                        continue
                    known.add(task)
                    if task in results.lines:
                        found.append(results.lines[task])
                    else:
                        waiting.add(pool.submit(run, task, options))
            finished, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                if future.exception():
                    failures += 1
                    print(f"a run failed: {future.exception()}", file=sys.stderr, flush=True)
            found = [future.result() for future in finished if not future.exception()]
            for line in found:
                results.add(line)
                file.write(json.dumps(line) + "\n")
                file.flush()
                print({key: value for key, value in line.items() if key != "layers"}, flush=True)
    return results, failures
