#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Texts per second of sentence embedders, dense, in f32, bf16 and int8, beside PyTorch, ONNX Runtime and sentence-transformers.

Models of known shapes with random weights embed queries (8 to 32 tokens), passages (128 to 512) and texts as long as mails. All but
the loops start from token ids, in the same batches of 32 sorted by length, and end with pooled vectors of length 1; "ss1, from text"
and sentence-transformers' encode() start from text. Every contender is a process of its own, pinned to the same cores; they take
turns, and their vectors are compared with PyTorch's in f32 first. A contender that cannot run is left out with its reason. With
--trained also: the cosines of a trained model's embeddings in each type with PyTorch's in f32.

  SS1_LIBRARY=build/test/src/libss1.so bench/encoders.py --out encoders.json --trained examples/models/mail-embed
  bench/encoders.py --table encoders.json       # the tables of docs/encoders.md
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "models"))
import encoder_files
import harness
import ss1
from grid import Progress, load, machine, save, words
from markdown import number, table
from models import pinned, start

DTYPES = ("f32", "bf16", "int8")
GOALS = {"f32": 1.5, "bf16": 2.5, "int8": 2.5}  # times the texts per second of the fastest peer
COSINES = {"f32": 0.9999, "bf16": 0.999, "int8": 0.995}
RANDOM_COSINE = {"f32": 0.9999, "bf16": 0.99, "int8": 0.9}  # below it a result is wrong
KINDS = ("queries", "passages", "mails")
# Model, texts, threads (0: all), number of texts in a run; in the order of importance.
PLAN = [("minilm-l6", "passages", 0, 16), ("minilm-l6", "queries", 0, 128), ("minilm-l6", "mails", 0, 32),
        ("minilm-l6", "passages", 1, 2), ("minilm-l6", "queries", 1, 32), ("minilm-l6", "mails", 1, 4),
        ("bert-base", "passages", 0, 4), ("bert-base", "queries", 0, 32), ("bge-small", "passages", 0, 8),
        ("bge-small", "queries", 0, 64), ("modernbert-base", "passages", 0, 4), ("modernbert-base", "queries", 0, 32),
        ("minilm-l6", "passages", 2, 4), ("minilm-l6", "queries", 2, 32), ("bert-base", "passages", 1, 1), ("bert-base", "queries", 1, 8),
        ("bge-small", "passages", 1, 1), ("modernbert-base", "passages", 1, 1)]
COMPILED = ("minilm-l6", "bert-base")  # with torch.compile(): it takes a minute to get ready
TORCH = {"f32": ("f32", "compiled"), "bf16": ("bfloat16", "autocast", "compiled bfloat16"), "int8": ("int8",)}
OURS = "ss1"
TEXT_OURS, LOOP = "ss1, from text", "sentence-transformers"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, help="file to write and to resume; .gz is compressed")
    parser.add_argument("--table", type=pathlib.Path, metavar="FILE", help="print the tables of a written file, measure nothing")
    parser.add_argument("--models", type=words, metavar="LIST", help="only these: " + ",".join(dict.fromkeys(model for model, *_ in PLAN)))
    parser.add_argument("--texts", type=words, default=list(KINDS), metavar="LIST", help="queries,passages,mails (default: all)")
    parser.add_argument("--dtype", type=words, default=list(DTYPES), metavar="LIST", help="f32,bf16,int8 (default: all)")
    parser.add_argument("--threads", type=lambda text: words(text, int), metavar="LIST", help="only these (default: 1, 2 and all)")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile(), which takes a minute to get ready")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender in a cell (default: %(default)s)")
    parser.add_argument("--max-time", type=float, default=6, help="seconds for a cell beyond which 3 rounds are enough (default: %(default)s)")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="start no cell once so much time is spent")
    parser.add_argument("--setup-limit", type=float, default=120, metavar="SECONDS", help="for contenders to be ready (default: %(default)s)")
    parser.add_argument("--trained", type=pathlib.Path, metavar="DIRECTORY", help="a trained directory of sentence-transformers, for cosines")
    parser.add_argument("--sample", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "examples/data/spam-calibrate.txt",
                        help="texts for --trained, one a line (default: examples/data/spam-calibrate.txt)")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "ss1-bench-encoders",
                        help="where the models are made and kept (default: %(default)s)")
    parser.add_argument("--note", help="kept in the file, e.g. what else the machine was doing")
    options = parser.parse_args()
    if (options.out is None) == (options.table is None):
        parser.error("give either --out FILE or --table FILE")
    for name, known in (("models", {model for model, *_ in PLAN}), ("texts", KINDS), ("dtype", DTYPES)):
        for value in getattr(options, name) or []:
            if value not in known:
                parser.error(f"--{name} {value}: is none of {', '.join(sorted(known))}")
    return options


def cells_of(options):
    """[(model, kind of texts, threads, dtype, number of texts)] that are asked for and fit this machine."""
    cpus = len(os.sched_getaffinity(0))
    plan = {(model, kind, threads or cpus): count for model, kind, threads, count in reversed(PLAN)}
    chosen = [(*cell, count) for cell, count in reversed(plan.items()) if cell[0] in (options.models or cell) and cell[1] in options.texts and
              cell[2] in (options.threads or cell) and cell[2] <= cpus]
    return [(model, kind, threads, dtype, count) for model, kind, threads, count in chosen for dtype in options.dtype]


def specs_of(threads, dtype, directory, warm):
    """The contenders of a cell, ss1 first; torch.compile() gets ready on the batches `warm`, and is left out without."""
    common = {"module": "batches", "output": "sentence_embedding"}
    specs = [{**common, "name": OURS, "inner": "ss1_contender", "mode": ""}]
    for mode in TORCH[dtype]:
        spec = {**common, "name": f"PyTorch {mode}", "inner": "bert_torch", "mode": mode}
        if "compiled" not in mode:
            specs.append(spec)
        elif warm:
            specs.append({**spec, "warm": warm})
    if dtype != "bf16":
        specs.append({**common, "name": f"ONNX Runtime {dtype}", "inner": "bert_onnx", "mode": ""})
    specs.append({"name": TEXT_OURS, "module": "text_loops", "mode": "ss1"})
    if dtype != "int8":
        specs.append({"name": LOOP, "module": "text_loops", "mode": "sentence-transformers"})
    return [pinned({**spec, "directory": directory, "dtype": dtype}, threads) for spec in specs]


def cosines(found, wanted):
    norms = (found**2).sum(1)**0.5 * (wanted**2).sum(1)**0.5
    return (found * wanted).sum(1) / norms


def measure_cell(options, workers, batches, wanted, dtype):
    """({contender: {"ns", "cosine"}}, {contender: reason})"""
    entries, missing, turns = {}, {}, []
    for name, worker in workers.items():
        worker.name = name
        try:
            worker.ask("inputs", [batches])
            found, _ = worker.ask("result", None)
            cosine = float(cosines(found, wanted).min())
            if not cosine >= RANDOM_COSINE[dtype]:
                raise harness.Failed(f"WRONG RESULT: cosine {cosine:.4f} with PyTorch in f32")
            entries[name] = {"cosine": cosine}
            turns.append((worker, worker.ask("result", 1)[1]))  # the first run made buffers ready
        except harness.Failed as error:
            missing[name] = str(error)
    samples, failed = harness.measure(turns, options.rounds, options.max_time)
    return {name: {**entries[name], "ns": ns} for name, ns in samples.items()}, {**missing, **failed}


def measure_group(options, document, model, threads, cells, progress):
    """Some cells [(kind of texts, dtype, number of texts)] of a model and number of threads; their contenders get ready together."""
    directory = encoder_files.make(options.folder, model)
    texts = {kind: encoder_files.texts(kind, count) for kind, _, count in cells}
    compiled = model in COMPILED and not options.no_compile
    warm = [batch for batches in texts.values() for batch in (batches[0], batches[-1])] if compiled else []
    specs = {dtype: specs_of(threads, dtype, directory, warm) for _, dtype, _ in cells}
    progress.show(f"{model}, {threads} threads: contenders get ready")
    flat = [{**spec, "name": f"{dtype} {spec['name']}"} for dtype, group in specs.items() for spec in group]
    workers, unready = start([reference_of(directory), *flat], options.setup_limit)
    if "reference" in unready:
        sys.exit(f"encoders.py: PyTorch, which all are compared with, is not ready for {model}: {unready['reference']}")
    wanted = {kind: embeddings(workers["reference"], batches) for kind, batches in texts.items()}
    document["libraries"].update({name: worker.ask("info")["library"] for name, worker in workers.items()})
    for kind, dtype, _ in cells:
        if not in_time(options, progress):
            break
        label = f"{dtype} "
        here = {name.removeprefix(label): worker for name, worker in workers.items() if name.startswith(label)}
        entries, missing = measure_cell(options, here, texts[kind], wanted[kind], dtype)
        missing.update({name.removeprefix(label): reason for name, reason in unready.items() if name.startswith(label)})
        lengths = [int(n) for batch in texts[kind] for n in batch["attention_mask"].sum(1)]
        document["cells"].append({"model": model, "texts": kind, "threads": threads, "dtype": dtype, "count": len(lengths),
                                  "tokens": sum(lengths), "contenders": entries, "missing": missing})
        save(options.out, document)
        progress.done += 1
        times = ", ".join(f"{name} {statistics.median(entry['ns']) / 1e6:.1f} ms" for name, entry in entries.items())
        progress.show(f"{model}, {kind}, {threads} threads, {dtype}: {times}; missing: {missing or 'none'}", end=True)
    for worker in workers.values():
        worker.close()


def reference_of(directory):
    """PyTorch in f32 on all CPUs."""
    return pinned({"name": "reference", "module": "batches", "inner": "bert_torch", "mode": "f32", "dtype": "f32",
                   "output": "sentence_embedding", "directory": directory}, len(os.sched_getaffinity(0)))


def embeddings(worker, batches):
    worker.ask("inputs", [batches])
    return worker.ask("result", None)[0]


def in_time(options, progress):
    return options.budget is None or time.monotonic() - progress.start < options.budget * 60


def measure(options, document):
    finished = {(cell["model"], cell["texts"], cell["threads"], cell["dtype"]) for cell in document["cells"]}
    groups = {}
    cells = [cell for cell in cells_of(options) if cell[:4] not in finished]
    for model, kind, threads, dtype, count in cells:
        groups.setdefault((model, threads), []).append((kind, dtype, count))
    progress = Progress(len(cells))
    for (model, threads), group in groups.items():
        if in_time(options, progress):
            measure_group(options, document, model, threads, group, progress)
    left = len(cells) - progress.done
    progress.show(f"budget spent; {left} cells are left for another start" if left else "all measured", end=True)


def trained_cosines(options):
    """{dtype: {"min", "mean"}} of a trained model's embeddings with PyTorch's in f32, from the same ids."""
    directory = options.trained
    transformer = directory / json.loads((directory / "modules.json").read_text())[0]["path"]
    with ss1.Context() as context, ss1.Tokenizer(context, directory) as tokenizer:
        rows = [tokenizer([line])["input_ids"][0] for line in options.sample.read_text(encoding="utf-8").splitlines()]
    batches = encoder_files.batches_of(rows)
    ours = {dtype: {**reference_of(directory), "name": dtype, "inner": "ss1_contender", "dtype": dtype} for dtype in DTYPES}
    workers, failed = start([reference_of(transformer), *ours.values()], options.setup_limit)
    if failed:
        sys.exit(f"encoders.py: --trained {directory}: {'; '.join(f'{name}: {reason}' for name, reason in failed.items())}")
    wanted = embeddings(workers["reference"], batches)
    found = {dtype: cosines(embeddings(workers[dtype], batches), wanted) for dtype in DTYPES}
    for worker in workers.values():
        worker.close()
    return {"model": directory.name, "texts": len(rows),
            **{dtype: {"min": float(values.min()), "mean": float(values.mean())} for dtype, values in found.items()}}


def speed(cell, name):
    """Texts per second of a contender, from the median of its rounds."""
    return cell["count"] / statistics.median(cell["contenders"][name]["ns"]) * 1e9


def spread(cell, name):
    """(slowest, fastest) texts per second: the quartiles of the rounds."""
    low, _, high = statistics.quantiles(cell["contenders"][name]["ns"], n=4)
    return cell["count"] / high * 1e9, cell["count"] / low * 1e9


def ratio(cell):
    """(ss1's texts per second over those of the fastest peer, that peer), or None."""
    peers = [name for name in cell["contenders"] if not name.startswith(OURS)]
    if OURS not in cell["contenders"] or not peers:
        return None
    best = max(peers, key=lambda name: speed(cell, name))
    return speed(cell, OURS) / speed(cell, best), best


def shown(cell, name):
    if name not in cell["contenders"]:
        return "–"
    low, high = spread(cell, name)
    return f"{number(speed(cell, name))} ({number(low)}–{number(high)})"


def cells_table(cells):
    rows = []
    for cell in cells:
        found = ratio(cell)
        best = found[1] if found else "–"
        rows.append([cell["model"], cell["texts"], cell["threads"], cell["dtype"], shown(cell, OURS), best, shown(cell, best),
                     f"{found[0]:.2f}" if found else "–", ("met" if found[0] >= GOALS[cell["dtype"]] else "missed") if found else "–",
                     shown(cell, TEXT_OURS), shown(cell, LOOP)])
    return table(["model", "texts", "threads", "type", "ss1, texts/s", "fastest peer", "texts/s", "ratio", "goal", TEXT_OURS, LOOP], rows)


def goals_table(cells):
    rows = []
    for dtype in DTYPES:
        ratios = [ratio(cell)[0] for cell in cells if cell["dtype"] == dtype and ratio(cell)]
        if ratios:
            rows.append([dtype, GOALS[dtype], f"{statistics.geometric_mean(ratios):.2f}", f"{min(ratios):.2f}–{max(ratios):.2f}",
                         f"{sum(r >= GOALS[dtype] for r in ratios)} of {len(ratios)}"])
    return table(["type", "goal", "geometric mean", "range", "cells that meet it"], rows)


def peers_table(cells):
    """ss1's texts per second over those of every peer."""
    names = list(dict.fromkeys(name for cell in cells for name in cell["contenders"] if not name.startswith(OURS)))
    rows = [[cell["model"], cell["texts"], cell["threads"], cell["dtype"],
             *(f"{speed(cell, OURS) / speed(cell, name):.2f}" if {OURS, name} <= set(cell["contenders"]) else "–" for name in names)]
            for cell in cells]
    return table(["model", "texts", "threads", "type", *names], rows)


def print_tables(document):
    cells = document["cells"]
    print(goals_table(cells))
    print(cells_table(cells))
    print(peers_table(cells))
    trained = document.get("trained")
    if trained:
        rows = [[dtype, COSINES[dtype], f"{trained[dtype]['min']:.6f}", f"{trained[dtype]['mean']:.6f}"] for dtype in DTYPES]
        print(table(["type", "goal", "least cosine", "mean"], rows))
    reasons = sorted({(cell["model"], name, reason) for cell in cells for name, reason in cell["missing"].items()})
    if reasons:
        print(table(["model", "left out", "why"], [[model, name, reason.replace("|", "/")] for model, name, reason in reasons]))


def main():
    options = parse_arguments()
    if options.table:
        return print_tables(load(options.table))
    document = load(options.out) if options.out.exists() else {"format": 1, "cells": [], "libraries": {}, "commands": [], "machine": machine()}
    paths = {str(path) for path in (options.out, options.folder)}
    command = ["bench/encoders.py", *(pathlib.Path(word).name if word in paths else word for word in sys.argv[1:])]
    document["commands"] = list(dict.fromkeys([*document["commands"], shlex.join(command)]))
    if options.note:
        document["note"] = options.note
    if options.trained:
        document["trained"] = trained_cosines(options)
        save(options.out, document)
    try:
        measure(options, document)
    except KeyboardInterrupt:
        sys.exit("\nencoders.py: stopped; the same command goes on from here")
    save(options.out, document)
    print_tables(document)


if __name__ == "__main__":
    main()
