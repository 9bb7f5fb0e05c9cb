#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure whole models, dense and SS1, beside the same models in PyTorch and ONNX Runtime; collect it in one JSON file.

Every contender is a process of its own, pinned to the same cores, with as many threads; they take turns. Before a cell is
timed, all outputs are compared with those of PyTorch in f32. The file is written after each cell; started again with the
same file, this script does what is missing. Needs PyTorch; contenders whose packages are missing are named in the file.

  SS1_LIBRARY=build/test/src/libss1.so bench/models.py --ss1 build/test/src/cli/ss1 --out bench/results/models-here.json.gz --budget 30
  SS1_LIBRARY=build/test/src/libss1.so bench/models.py --ss1 build/test/src/cli/ss1 --out quick.json --quick
"""
import argparse
import datetime
import itertools
import os
import pathlib
import platform
import shlex
import sys
import tempfile
import time

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "models"))
import bert_files
import dlrm_files
import harness
import plan
from grid import Progress, load, machine, save, words

FILES = {"dlrm": dlrm_files, "bert": bert_files}
COMPARED_ROWS = {"dlrm": 256, "bert": 1}
LONG_NS = 1e10  # one run shows the stages of what takes so long


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ss1", default="build/test/src/cli/ss1", help="the program, which converts models (default: %(default)s)")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="file to write and to resume; .gz is compressed")
    parser.add_argument("--models", type=words, default=plan.DEFAULT, metavar="LIST",
                        help=f"of {','.join(plan.PLANS)} (default: all but the last)")
    parser.add_argument("--dtype", type=words, default=list(plan.DTYPES), metavar="LIST", help="f32,bf16,int8 (default: all)")
    parser.add_argument("--batch", type=lambda text: words(text, int), metavar="LIST", help="only these batch sizes")
    parser.add_argument("--tokens", type=words, metavar="LIST", help="BERT: only these lengths of sequences, e.g. 128,mails")
    parser.add_argument("--threads", type=lambda text: words(text, int), metavar="LIST", help="default: 1, all CPUs, and 4 if there are more")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender in a cell (default: %(default)s)")
    parser.add_argument("--max-time", type=float, default=10, help="seconds for a cell beyond which 5 rounds are enough (default: %(default)s)")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="start no cell once so much time is spent")
    parser.add_argument("--setup-limit", type=float, default=90, metavar="SECONDS", help="for a contender to be ready (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=200000, help="DLRM: the most rows of a table (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="DLRM: torch.compile() as one more peer; takes minutes")
    parser.add_argument("--quick", action="store_true", help="small tables, two sizes of each model, one thread, 5 rounds")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "ss1-bench-models",
                        help="where the models are made and kept (default: %(default)s)")
    parser.add_argument("--note", help="kept in the file, e.g. what else the machine was doing")
    options = parser.parse_args()
    for name, known in (("models", plan.PLANS), ("dtype", plan.DTYPES)):
        for value in getattr(options, name):
            if value not in known:
                parser.error(f"--{name} {value}: is none of {', '.join(known)}")
    if not os.access(options.ss1, os.X_OK):
        parser.error(f"--ss1 {options.ss1}: no such program; build it, or name it")
    cpus = len(os.sched_getaffinity(0))
    if options.quick:
        options.rows, options.rounds = min(options.rows, 1000), 5
    options.threads = options.threads or ([1] if options.quick else list(dict.fromkeys([1, cpus, min(4, cpus)])))
    if not all(0 < threads <= cpus for threads in options.threads):
        parser.error(f"--threads {','.join(map(str, options.threads))}: this process may use 1 to {cpus} CPUs")
    return options


def cells_of(options, name):
    """[(dtype, batch, tokens)] in the order of importance."""
    chosen = plan.PLANS[name]
    sizes = [size for size in chosen.sizes if not (options.batch and size[0] not in options.batch or
                                                   options.tokens and size[1] and str(size[1]) not in options.tokens)]
    sizes = sizes[:2] if options.quick else sizes
    return [(dtype, *size) for size in sizes for dtype in chosen.dtypes if dtype in options.dtype]


def contenders_of(options, name, dtype, directories):
    """Specs: our variants, then the peers."""
    chosen = plan.PLANS[name]
    family = chosen.family
    specs = [{"name": f"ss1 {variant}", "module": "ss1_contender", "mode": "", "variant": variant, "directory": directories[variant, dtype]}
             for variant in chosen.variants]
    peers = plan.PEERS[family][dtype] + (plan.COMPILED[dtype] if options.compile and family == "dlrm" else [])
    for peer, module, mode in peers:
        if not chosen.only or peer in chosen.only:
            # int8 tables are for who can read them.
            stored = "int8" if module == "dlrm_torch" and mode == "int8" else "f32"
            specs.append({"name": peer, "module": module, "mode": mode, "variant": "dense", "directory": directories["dense", stored]})
    return [{**spec, "family": family, "dtype": dtype} for spec in specs]


def pinned(spec, threads):
    """On the last CPUs: the first one has most of the system's own work."""
    return {**spec, "threads": threads, "cpus": sorted(os.sched_getaffinity(0))[-threads:]}


def start(specs, limit_s):
    """({name: worker}, {name: reason}): all are started before the first one is waited for."""
    workers, failed = [harness.Worker(spec) for spec in specs], {}
    until = time.monotonic() + limit_s
    for worker in workers:
        try:
            worker.ready(until - time.monotonic())
        except harness.Failed as error:
            failed[worker.name] = str(error)
            worker.close()
    return {worker.name: worker for worker in workers if worker.name not in failed}, failed


def input_sets(name, config, batch, tokens):
    count = 4 if tokens or batch > 128 else 16
    return FILES[plan.PLANS[name].family].inputs(config, batch, tokens, count)


def references(options, name, config, directories, cells):
    """{(variant, batch, tokens): outputs for the first set of inputs} in f32."""
    chosen, cpus = plan.PLANS[name], len(os.sched_getaffinity(0))
    specs = [pinned({**plan.REFERENCE[chosen.family], "name": variant, "dtype": "f32", "family": chosen.family, "variant": variant,
                     "directory": directories[variant, "f32"]}, cpus) for variant in chosen.variants]
    workers, failed = start(specs, options.setup_limit)
    if failed:
        sys.exit(f"models.py: PyTorch, which all are compared with, is not ready: {next(iter(failed.values()))}")
    results, rows = {}, COMPARED_ROWS[chosen.family]
    for size in dict.fromkeys(cell[1:] for cell in cells):
        first = FILES[chosen.family].head(input_sets(name, config, *size)[0], rows)
        for variant, worker in workers.items():
            worker.ask("inputs", [first])
            results[(variant, *size)], _ = worker.ask("result", rows)
    for worker in workers.values():
        worker.close()
    return results


def compare(worker, spec, wanted, mask):
    """({"max", "mean"} difference from the reference, ns of the run); raises Failed if the result is wrong."""
    got, ns = worker.ask("result", len(wanted))
    difference = numpy.abs(got.astype(numpy.float64) - wanted)
    if mask is not None:  # outputs for padding are unspecified
        difference = difference[mask[:len(wanted)] != 0]
    error = {"max": float(difference.max()), "mean": float(difference.mean())}
    limit = plan.TOLERANCE[spec["family"]][spec["dtype"]]
    if not error["max" if spec["family"] == "dlrm" else "mean"] <= limit:
        raise harness.Failed(f"WRONG RESULT: differs by {error['max']:.3g}, {error['mean']:.3g} in the mean, from PyTorch in f32")
    return error, ns


def stages_of(worker, ns):
    """None where the library does not tell them."""
    runs = max(3, min(50, round(2e8 / ns))) if ns < LONG_NS else 1
    try:
        return worker.ask("stages", runs)
    except harness.Failed:
        return None


def measure_cell(options, workers, specs, sets, wanted):
    """The contenders' entries of a cell, and those that are missing with the reason."""
    entries, missing, turns = {}, {}, []
    for spec in specs:
        worker = workers.get(spec["name"])
        if worker:
            try:
                worker.ask("inputs", sets)
                difference, ns = compare(worker, spec, wanted[spec["variant"]], sets[0].get("attention_mask"))
                entries[spec["name"]] = {"difference": difference}
                turns.append((worker, ns))
            except harness.Failed as error:
                missing[spec["name"]] = str(error)
    samples, failed = harness.measure(turns, options.rounds, options.max_time)
    missing.update(failed)
    for name, ns in samples.items():
        entries[name].update(ns=ns, stages=stages_of(workers[name], min(ns)) if name.startswith("ss1") else None)
    return {name: entry for name, entry in entries.items() if "ns" in entry}, missing


def measure_model(options, name, threads, cells, prepared, document, progress):
    config, directories, wanted = prepared
    specs = {dtype: [pinned(spec, threads) for spec in contenders_of(options, name, dtype, directories)]
             for dtype in dict.fromkeys(cell[0] for cell in cells)}
    progress.show(f"{name}, {threads} threads: contenders are made ready")
    flat = [{**spec, "name": f"{dtype} {spec['name']}"} for dtype, group in specs.items() for spec in group]
    workers, unready = start(flat, options.setup_limit)
    for key, worker in workers.items():
        document["contenders"][f"{name} {key}"] = worker.ask("info")
    for dtype, batch, tokens in cells:
        if options.budget is not None and time.monotonic() - progress.start > options.budget * 60:
            break
        text = f"{name} {dtype} {threads} threads batch {batch}{f', {tokens} tokens' if tokens else ''}"
        progress.show(text)
        began = time.monotonic()
        here = {spec["name"]: workers[f"{dtype} {spec['name']}"] for spec in specs[dtype] if f"{dtype} {spec['name']}" in workers}
        for label, worker in here.items():
            worker.name = label
        entries, missing = measure_cell(options, here, specs[dtype], input_sets(name, config, batch, tokens),
                                        {variant: wanted[variant, batch, tokens] for variant in plan.PLANS[name].variants})
        missing.update({spec["name"]: unready[f"{dtype} {spec['name']}"] for spec in specs[dtype] if f"{dtype} {spec['name']}" in unready})
        cell = {"model": name, "dtype": dtype, "threads": threads, "batch": batch, "tokens": tokens,
                "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - began, 1), "contenders": entries, "missing": missing}
        document["cells"] = [old for old in document["cells"] if identity(old) != identity(cell)] + [cell]
        save(options.out, document)
        progress.done += 1
        fastest = min((sorted(entry["ns"])[len(entry["ns"]) // 2] / 1e6, label) for label, entry in entries.items()) if entries else None
        progress.show(f"{text}: {'fastest ' + fastest[1] + f', {fastest[0]:.3g} ms' if fastest else 'nothing'}"
                      f"{'; missing: ' + '; '.join(missing) if missing else ''}", end=True)
    for worker in workers.values():
        worker.close()


def wanted_of(options):
    """Every cell of the models and thread counts, also where only some sizes are measured now."""
    for name, threads in itertools.product(options.models, options.threads):
        for (batch, tokens), dtype in itertools.product(plan.PLANS[name].sizes, plan.PLANS[name].dtypes):
            yield name, dtype, threads, batch, tokens


def identity(cell):
    return tuple(cell[key] for key in ("model", "dtype", "threads", "batch", "tokens"))


def measure(options, document):
    finished = {identity(cell) for cell in document["cells"]}
    wanted = {(threads, name): [cell for cell in cells_of(options, name) if (name, cell[0], threads, *cell[1:]) not in finished]
              for threads in options.threads for name in options.models}
    progress, prepared = Progress(sum(map(len, wanted.values()))), {}
    for (threads, name), cells in wanted.items():
        if not cells or options.budget is not None and time.monotonic() - progress.start > options.budget * 60:
            continue
        if name not in prepared:
            progress.show(f"{name}: the models are made")
            chosen = plan.PLANS[name]
            config = FILES[chosen.family].config_of(name, options)
            directories = FILES[chosen.family].make(options.folder / name, options.ss1, config, chosen.variants)
            prepared[name] = config, directories, references(options, name, config, directories, cells_of(options, name))
            document["configs"][name] = config
        measure_model(options, name, threads, cells, prepared[name], document, progress)
    left = progress.total - progress.done
    progress.show(f"budget spent; {left} cells are left for another start" if left else "all measured", end=True)


def main():
    options = parse_arguments()
    document = load(options.out) if options.out.exists() else {"format": 1, "cells": [], "contenders": {}, "configs": {}, "commands": [],
                                                               "machine": {**machine(), "system": platform.system()}}
    paths = {str(path) for path in (options.ss1, options.out, options.folder)}  # of this machine: their names tell enough
    command = ["bench/models.py", *(pathlib.Path(word).name if word in paths else word for word in sys.argv[1:])]
    document["commands"] = list(dict.fromkeys([*document["commands"], shlex.join(command)]))
    document["python"] = platform.python_version()
    document["environment"] = {name: os.environ.get(name, value) for name, value in harness.ENVIRONMENT.items()}
    document["wanted"] = [list(cell) for cell in dict.fromkeys((*map(tuple, document.get("wanted", [])), *wanted_of(options)))]
    if options.note:
        document["note"] = options.note
    try:
        measure(options, document)
    except KeyboardInterrupt:
        sys.exit("\nmodels.py: stopped; the same command goes on from here")
    save(options.out, document)


if __name__ == "__main__":
    main()
