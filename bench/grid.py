#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the acceptance grid (bench/shapes) with `ss1-bench linear` and collect it in one JSON file.

Each ss1-bench command measures one shape, precision, thread count, warm or cold, at every m, c and scheme. The script
writes the file after each command; started again with the same file, it measures only the missing cells.

  bench/grid.py --program build/test/bench/driver/ss1-bench --out results.json.gz --budget 120
  bench/grid.py --program build/test/bench/driver/ss1-bench --out quick.json --quick
"""
import argparse
import csv
import datetime
import gzip
import itertools
import json
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
import time

SHAPES = pathlib.Path(__file__).resolve().parent / "shapes"
QUICK = {"m": [1, 16, 64, 256], "c": [1, 4], "threads": [1], "weights": ["warm"], "scheme": ["reference"],
         "shapes": [(1024, 1024), (1024, 4096), (13, 512), (512, 256), (256, 1)]}


def read_shapes():
    """{(k, n): [groups]} in the order of the file; a shape that two groups share is measured once."""
    shapes = {}
    with open(SHAPES / "grid.csv", newline="") as file:
        for row in csv.DictReader(file):
            shapes.setdefault((int(row["k"]), int(row["n"])), []).append(row["group"])
    return shapes


def load(path):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        return json.load(file)


def save(path, document):
    """The file is whole at any time: written beside it, then renamed."""
    beside = path.with_name(path.name + ".tmp")
    with (gzip.open if path.suffix == ".gz" else open)(beside, "wt") as file:
        json.dump(document, file, separators=(",", ":"))
    beside.replace(path)


def words(value, kind=str):
    return [kind(item) for item in value.split(",")]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/test/bench/driver/ss1-bench", help="ss1-bench (default: %(default)s)")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="file to write and to resume; .gz is compressed")
    parser.add_argument("--quick", action="store_true", help="a few shapes, m = 1 to 256, c = 1 and 4, one thread, warm")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="start no command after this time")
    parser.add_argument("--limit", type=float, default=30, metavar="MINUTES", help="for one command (default: %(default)g)")
    for axis, kind in (("m", int), ("c", int), ("dtype", str), ("threads", int), ("weights", str), ("scheme", str)):
        parser.add_argument("--" + axis, type=lambda text, kind=kind: words(text, kind), metavar="LIST",
                            help="instead of the grid's, comma separated")
    parser.add_argument("--shapes", type=lambda text: [tuple(words(shape.replace("x", ","), int)) for shape in words(text)],
                        metavar="LIST", help="instead of the grid's, e.g. 1024x4096,13x512 (K x N)")
    parser.add_argument("--repetitions", type=int, default=15, help="least samples (default: %(default)s)")
    parser.add_argument("--min-time", type=float, default=0.2, help="least seconds a shape and m (default: %(default)s)")
    parser.add_argument("--max-time", type=float, default=10,
                        help="seconds for a shape and m beyond which 5 samples are enough (default: %(default)s)")
    parser.add_argument("--peers", help="folder of the peers' modules (default: ss1-bench's own)")
    parser.add_argument("--note", help="kept in the file, e.g. what else the machine was doing")
    return parser.parse_args()


def axes_of(options):
    axes = json.loads((SHAPES / "axes.json").read_text())
    axes["shapes"] = list(read_shapes())
    if options.quick:
        axes.update(QUICK)
    return {name: getattr(options, name) or values for name, values in axes.items()}


def machine():
    """The machine as /proc describes it; the head of each run has the rest."""
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    memory = pathlib.Path("/proc/meminfo").read_text().split()[1]
    return {"cpu": fields.get("model name", platform.machine()), "family": fields.get("cpu family"), "model": fields.get("model"),
            "flags": [flag for flag in fields.get("flags", "").split() if flag.startswith(("avx", "amx", "fma"))],
            "cpus": len(os.sched_getaffinity(0)), "memory_gib": round(int(memory) / 2**20, 1),
            "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}", "load_at_start": round(os.getloadavg()[0], 2)}


def command_of(options, axes, chunk):
    k, n = chunk["shape"]
    command = [options.program, "linear", "-m", ",".join(map(str, axes["m"])), "-k", str(k), "-n", str(n), "-c",
               ",".join(map(str, axes["c"])), "--scheme", ",".join(axes["scheme"]), "--dtype", chunk["dtype"], "--threads",
               str(chunk["threads"]), "--repetitions", str(options.repetitions), "--min-time", str(options.min_time),
               "--max-time", str(options.max_time)]
    command += ["--cold"] if chunk["weights"] == "cold" else []
    command += ["--peers", options.peers] if options.peers else []
    return command + ["-o", "jsonl"]


def run(command, limit_seconds):
    """(status, message, rows): rows that came before an error or the limit are kept."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, message = process.communicate(timeout=limit_seconds)
        status = "ok" if process.returncode == 0 else "failed"
        if process.returncode < 0:
            message += f"ended by signal {signal.Signals(-process.returncode).name}"
    except subprocess.TimeoutExpired:
        process.kill()
        out, message = process.communicate()
        status, message = "timeout", f"stopped after {limit_seconds:.0f} s {message}"
    lines = out.splitlines()
    if out and not out.endswith("\n"):
        lines.pop()
    return status, message.strip(), [json.loads(line) for line in lines]


def split_head(rows):
    """(head, rows): members that are equal in all rows move to the head."""
    names = ("cpu", "compiler", "ss1", "peers", "peers_missing", "weights", "rotation_bytes", "activation",
             "environment")
    head = {name: rows[0][name] for name in names if name in rows[0]} if rows else {}
    return head, [{key: value for key, value in row.items() if key not in head} for row in rows]


def identity(chunk, axes):
    return json.dumps([chunk["shape"], chunk["dtype"], chunk["threads"], chunk["weights"], axes["m"], axes["c"], axes["scheme"]])


def chunks_of(axes):
    for weights, threads, dtype, shape in itertools.product(axes["weights"], axes["threads"], axes["dtype"], axes["shapes"]):
        yield {"shape": list(shape), "dtype": dtype, "threads": threads, "weights": weights}


class Progress:
    """On a terminal one line that is rewritten, elsewhere one line per command."""

    def __init__(self, total):
        self.total, self.done, self.start, self.terminal = total, 0, time.monotonic(), sys.stderr.isatty()

    def show(self, text, end=False):
        spent = time.monotonic() - self.start
        left = f", {spent / self.done * (self.total - self.done) / 60:.0f} min to go" if self.done else ""
        line = f"[{self.done}/{self.total}] {spent / 60:.1f} min{left}: {text}"
        if self.terminal:
            print(f"\r\033[K{line}", end="\n" if end else "", file=sys.stderr, flush=True)
        elif end:
            print(line, file=sys.stderr, flush=True)


def measure(options, axes, document):
    finished = {identity(entry, entry["axes"]) for entry in document["runs"] if entry["status"] == "ok"}
    chunks = [chunk for chunk in chunks_of(axes) if identity(chunk, axes) not in finished]
    progress = Progress(len(chunks))
    for chunk in chunks:
        if options.budget is not None and time.monotonic() - progress.start > options.budget * 60:
            progress.show(f"budget spent; {len(chunks) - progress.done} commands are left for another start", end=True)
            return
        name = "{shape[0]}x{shape[1]} {dtype} {threads} threads {weights}".format(**chunk)
        progress.show(name)
        command, start = command_of(options, axes, chunk), time.monotonic()
        status, message, rows = run(command, options.limit * 60)
        head, rows = split_head(rows)
        entry = {**chunk, "axes": {axis: axes[axis] for axis in ("m", "c", "scheme")}, "command": shlex.join(command),
                 "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "status": status,
                 "message": message, "seconds": round(time.monotonic() - start, 1), "head": head, "rows": rows}
        document["runs"] = [old for old in document["runs"] if identity(old, old["axes"]) != identity(entry, axes)] + [entry]
        save(options.out, document)
        progress.done += 1
        if status != "ok":
            progress.show(f"{name}: {status}: {message.splitlines()[0] if message else ''}", end=True)
        elif not head.get("peers"):
            progress.show(f"{name}: no peer was found, ss1 was measured alone (see --peers)", end=True)
    progress.show("all measured", end=True)


def main():
    options = parse_arguments()
    if not os.access(options.program, os.X_OK):
        sys.exit(f"grid.py: --program {options.program}: no such program; build it, or name it")
    axes = axes_of(options)
    document = load(options.out) if options.out.exists() else {"format": 1, "machine": machine(), "runs": []}
    document["wanted"] = {**axes, "shapes": [list(shape) for shape in axes["shapes"]]}
    document["groups"] = [{"shape": list(shape), "groups": groups} for shape, groups in read_shapes().items()]
    if options.note:
        document["note"] = options.note
    try:
        measure(options, axes, document)
    except KeyboardInterrupt:
        sys.exit("\ngrid.py: stopped; the same command goes on from here")
    save(options.out, document)


if __name__ == "__main__":
    main()
