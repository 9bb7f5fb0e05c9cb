# SPDX-License-Identifier: Apache-2.0
"""Measure what `ss1 convert` costs and gains: the spam BERT and the InstEval DLRM in every form, without training.

Conversions at C = 2, 4 and 8, each of about 1 / C of the multiply-adds:

    mean-C          tied C-fold, each stored weight the mean of those that it replaces: no calibration
    tied-C          tied C-fold, calibrated; tied-16 as well
    rank-C          low rank, calibrated
    both-C          tied 2 C-fold beside low rank, calibrated
    choice-C        the converter's own choice per layer for 1 / C of the time

Each is loaded in f32, bf16 and int8 and compared with its original in f32 on rows that neither training nor calibration saw.
Times are those of one thread. Needs numpy, libss1 ($SS1_LIBRARY, or ss1 installed) and the ss1 command. Conversions and
scores that are in --out are not made again, so that a stopped command continues where it stopped; remove times.json there
to measure the times again.
"""
import argparse
import csv
import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import compare_spam
import ss1
from results import DTYPES, auc, beside, chosen, filled, log_loss, log_softmax, stored, table, write

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUDGETS = (2, 4, 8)
MODELS = ["dense", *(f"{kind}-{c}" for c in BUDGETS for kind in ("mean", "tied", "rank", "both", "choice")), "tied-16"]
# calibrate: rows of the training; forms, choice: more options, by which all forms are of the same layers and a choice takes its
# rows; narrowest: the least K of these layers; batch, tokens: of a timed run, of which there are rounds.
TASKS = {
    "spam": {"model": "examples/models/spam-bert-dense", "calibrate": "examples/data/spam-calibrate.txt",
             "narrowest": 256, "forms": [], "choice": ["--rows", "1024"], "batch": 8, "tokens": 128, "rounds": 11},
    "insteval": {"model": "examples/models/insteval-dense", "calibrate": "examples/data/insteval-calibrate.csv", "narrowest": 512,
                 "forms": ["--layers", "bot_l.2,top_l.2,top_l.4"], "choice": ["--min-rows", "900"], "batch": 128, "rounds": 101}}
COLUMNS = {"spam": {"right": lambda got: f"{100 * got['right']:.2f} %"},
           "insteval": {"AUC": lambda got: f"{got['auc']:.5f}", "log loss": lambda got: f"{got['log_loss']:.5f}"}}


def form(task, name):
    """Returns the options of `ss1 convert` that make this model."""
    kind, _, number = name.partition("-")
    c = int(number)

    def tied(c):
        return ["-c", str(c), "--block-k", str(min(64, TASKS[task]["narrowest"] // c))]

    share = ["--rank", f"{100 / c:g}%"]
    options = {"mean": tied(c), "tied": tied(c), "rank": share, "both": tied(2 * c) + share,
               "choice": ["--budget", f"{1 / c:g}"]}[kind]
    options = options + TASKS[task]["choice" if kind == "choice" else "forms"]
    return options + ([] if kind == "mean" else ["--calibrate", TASKS[task]["calibrate"]])


def convert(task, name, options):
    """Returns the directory of the model, which is made unless it is there."""
    if name == "dense":
        return ROOT / TASKS[task]["model"]
    directory, made_by = options.out / task / name, options.out / task / f"{name}.command"
    wanted = " ".join(form(task, name)) + "\n"
    if made_by.exists() and (directory / "config.json").exists():
        if made_by.read_text() != wanted:
            sys.exit(f"quality_convert.py: {directory} was made with other options, see {made_by}: choose another --out")
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    print(f"{task} {name}: ss1 convert {wanted}", end="", flush=True)
    run = subprocess.run([options.ss1, "convert", TASKS[task]["model"], directory.resolve(), *form(task, name)], cwd=ROOT,
                         capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"quality_convert.py: {task} {name}: {run.stderr.strip()}")
    write(made_by, wanted)
    return directory


def read_spam(options):
    """Returns (mails, labels) that the models never saw."""
    if options.mails is None:
        sys.exit("quality_convert.py: --mails: the task spam needs the SpamAssassin corpus")
    texts, labels = compare_spam.unseen(options.mails)
    return texts[:options.rows], labels[:options.rows]


def read_insteval(options):
    """Returns (inputs of the model, labels) of the test rows."""
    with open(ROOT / "examples/data/insteval-test.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:options.rows]
    config = json.loads((ROOT / TASKS["insteval"]["model"] / "config.json").read_text())
    return dlrm_inputs(rows, config), numpy.array([int(row["label"]) for row in rows])


def dlrm_inputs(rows, config):
    """The inputs of a DLRM for these rows of a CSV file, with bags of one id each."""
    tables = [table["name"] for table in config["tables"]]
    return {"dense_x": numpy.array([[float(row[name]) for name in config["dense_features"]] for row in rows], numpy.float32),
            "indices": numpy.array([int(row[name]) for name in tables for row in rows]),
            "offsets": numpy.arange(len(tables) * len(rows)).reshape(len(tables), len(rows))}


def answers(model, rows):
    """float64 [n, 2]: the logarithms of the model's probabilities of both answers."""
    if isinstance(rows, dict):
        logits = model.run(rows, ["logits"])["logits"]
        return log_softmax(numpy.stack([numpy.zeros_like(logits), logits], axis=1))
    return log_softmax(model.predict(rows, raw=True))


def score(original, found, labels):
    """All measures of one model; error: of the log odds, as a share of the variance of the original's."""
    odds, wanted = (log[:, 1] - log[:, 0] for log in (found, original))
    positive = numpy.exp(found[:, 1])
    return {"right": float((found.argmax(1) == labels).mean()), "auc": auc(positive, labels), "log_loss": log_loss(positive, labels),
            "error": float(((odds - wanted)**2).mean() / wanted.var()), **beside(original, found)}


def weight_bytes(model):
    """Bytes in memory of the weights, scales and biases of all linear layers."""
    return sum(layer["layer"]["weight_bytes"] for layer in model.layers)


def measure(task, name, directory, data, original, options, context):
    """Returns {dtype: {bytes, right, auc, ...}} of one model, from its file in --out if that is there."""
    path, settings = options.out / task / f"{name}.json", {"rows": len(data[1]), "form": "" if name == "dense" else form(task, name)}
    result = stored(path, settings) or {"settings": settings, "scores": {}}
    for dtype in options.dtypes:
        if dtype not in result["scores"]:
            with ss1.Model(context, directory, weight_dtype=dtype) as model:
                got = score(original, answers(model, data[0]), data[1])
                result["scores"][dtype] = {"bytes": weight_bytes(model), **got}
            print(f"{task} {name} {DTYPES[dtype]}: KL {got['kl']:.3g}, {100 * got['agrees']:.2f} % agree", flush=True)
            write(path, json.dumps(result, indent=1) + "\n")
    return {dtype: result["scores"][dtype] for dtype in options.dtypes}


def timed_inputs(task, rows, context):
    """The inputs of one run of TASKS[task]'s batch and tokens."""
    batch = TASKS[task]["batch"]
    if task == "spam":
        longest = sorted(rows, key=len)[-batch:]
        return ss1.Tokenizer(context, ROOT / TASKS[task]["model"])(longest, max_tokens=TASKS[task]["tokens"])
    first = {"dense_x": rows["dense_x"][:batch], "offsets": rows["offsets"]}
    tables, n = rows["offsets"].shape
    first["indices"] = numpy.ascontiguousarray(rows["indices"].reshape(tables, n)[:, :batch]).reshape(-1)
    first["offsets"] = numpy.arange(first["indices"].size).reshape(tables, -1)
    return first


def take_turns(sessions, inputs, rounds):
    """float64 [rounds, sessions]: milliseconds of this thread's CPU time of each run.

    Before each, the session runs once without being timed: else a model would be the faster, the smaller the one before it, which
    leaves more of the cache.
    """
    milliseconds = numpy.empty((rounds, len(sessions)))
    for turn in range(rounds):
        for i, session in enumerate(sessions):
            session.run(inputs)
            begun = time.thread_time()
            session.run(inputs)
            milliseconds[turn, i] = 1000 * (time.thread_time() - begun)
    return milliseconds


def time_model(context, dense, directory, dtype, inputs, task, rounds):
    """Returns {ms, to_f32, to_same}: medians of a run's time, and of its ratios to dense f32 and to dense of the same type."""
    sessions = []
    for source, weight_dtype in ((dense, "f32"), (dense, dtype), (directory, dtype)):
        with ss1.Model(context, source, weight_dtype=weight_dtype) as model:
            sessions.append(ss1.Session(model, TASKS[task]["batch"], TASKS[task].get("tokens", 0)))
    taken = take_turns(sessions, inputs, rounds)
    for session in sessions:
        session.close()
    return {"ms": float(numpy.median(taken[:, 2])), "to_f32": float(numpy.median(taken[:, 2] / taken[:, 0])),
            "to_same": float(numpy.median(taken[:, 2] / taken[:, 1]))}


def times(task, directories, rows, options, context):
    """Returns {name: {dtype: time_model()}}, measured unless --out has it."""
    rounds = options.rounds or TASKS[task]["rounds"]
    path, settings = options.out / task / "times.json", {"rounds": rounds}
    result = stored(path, settings) or {"settings": settings, "times": {}}
    inputs = timed_inputs(task, rows, context)
    for name, directory in directories.items():
        known = result["times"].setdefault(name, {})
        for dtype in options.dtypes:
            if dtype not in known:
                known[dtype] = time_model(context, directories["dense"], directory, dtype, inputs, task, rounds)
        write(path, json.dumps(result, indent=1) + "\n")
    return {name: {dtype: result["times"][name][dtype] for dtype in options.dtypes} for name in directories}


def run(task, options, context):
    """Returns {name: {dtype: all that was measured}} of one task."""
    data = {"spam": read_spam, "insteval": read_insteval}[task](options)
    directories = {name: convert(task, name, options) for name in options.models}
    with ss1.Model(context, directories["dense"], weight_dtype="f32") as model:
        original = answers(model, data[0])
    scores = {name: measure(task, name, directory, data, original, options, context) for name, directory in directories.items()}
    taken = times(task, directories, data[0], options, context)
    return {name: {dtype: {**got, **taken[name][dtype]} for dtype, got in found.items()} for name, found in scores.items()}


def full_table(task, found, dtype):
    """All that was measured in one type."""
    columns = COLUMNS[task]
    titles = ["layers", "KiB", *columns, "agrees", "KL", "ms", "of dense f32", f"of dense {DTYPES[dtype]}"]
    if dtype == "f32":
        titles.pop()
    rows = []
    for name, types in found.items():
        got = types[dtype]
        row = [name, f"{got['bytes'] / 1024:,.0f}", *(show(got) for show in columns.values()), f"{100 * got['agrees']:.2f} %",
               f"{got['kl']:.2g}", f"{got['ms']:.2f}", f"{got['to_f32']:.2f}", f"{got['to_same']:.2f}"]
        rows.append(row[:len(titles)])
    return table(titles, rows)


def best_table(task, found):
    """The models that no other beats in both time and KL, the slowest first, and dense int8 in any case."""
    every = {(name, dtype): got for name, types in found.items() for dtype, got in types.items()}

    def beaten(got):
        return any(other["kl"] <= got["kl"] and other["to_f32"] < got["to_f32"] for other in every.values())

    kept = [key for key, got in every.items() if not beaten(got) or key == ("dense", "i8")]
    columns = COLUMNS[task]
    rows = [[f"{name} {DTYPES[dtype]}", f"{got['to_f32']:.2f}", f"{got['kl']:.2g}", f"{got['bytes'] / 1024:,.0f}",
             *(show(got) for show in columns.values())]
            for (name, dtype), got in sorted(((key, every[key]) for key in kept), key=lambda pair: -pair[1]["to_f32"])]
    return table(["model", "time of dense f32's", "KL", "KiB", *columns], rows)


def synergy_table(found):
    """The error of the form alone, of int8 alone, their sum, and the error of both."""
    rows, rounding = [], found["dense"]["i8"]["error"]
    for name, types in found.items():
        if name != "dense":
            alone, both = types["f32"]["error"], types["i8"]["error"]
            rows.append([name, *(f"{100 * value:.3g} %" for value in (alone, rounding, alone + rounding, both)),
                         f"{both / (alone + rounding):.2f}"])
    return table(["layers", "form alone", "int8 alone", "sum", "form in int8", "of the sum"], rows)


def equal_bytes_table(found):
    """KL at equal bytes: a C-fold form in f32, C / 2 in bf16, C / 4 in int8."""
    rows = []
    for share in (2, 4, 8, 16, 32):
        for kind in ("tied", "rank", "both"):
            cells = [found.get(f"{kind}-{share // width}" if share > width else "dense", {}).get(dtype) if share >= width else None
                     for width, dtype in ((1, "f32"), (2, "bf16"), (4, "i8"))]
            if sum(cell is not None for cell in cells) > 1:
                rows.append([f"1/{share} {kind}", *("" if cell is None else f"{cell['kl']:.2g}" for cell in cells)])
    return table(["bytes, form", "f32", "bf16", "int8"], rows)


def tables(everything):
    """{marker: a function that makes its table}."""
    made = {"machine": lambda: everything["machine"] + "\n"}
    for task, found in everything["tasks"].items():
        for dtype in next(iter(found.values())):
            made[f"{task} {DTYPES[dtype]}"] = lambda task=task, found=found, dtype=dtype: full_table(task, found, dtype)
        made[f"{task} best"] = lambda task=task, found=found: best_table(task, found)
        made[f"{task} synergy"] = lambda found=found: synergy_table(found)
        made[f"{task} bytes"] = lambda found=found: equal_bytes_table(found)
    return made


def machine(context):
    info = context.info
    used = [isa["name"] for isa in info["isas"] if isa["used"]]
    return f"{info['cpu']}, one thread, kernels up to {used[-1]}; ss1 {ss1.version()}."


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  SS1_LIBRARY=$PWD/build/test/src/libss1.so python3 bindings/python/train/quality_convert.py "
               "--ss1 build/test/src/cli/ss1 --mails spam_assassin.jsonl.gz --out build/quality-convert --report docs/quality-convert.md")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the converted models and of what was measured")
    parser.add_argument("--mails", type=pathlib.Path, help="the SpamAssassin corpus, as mails.read() takes it; needed by the task spam")
    parser.add_argument("--ss1", default="ss1", help="the ss1 command (default: the one on PATH)")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE.md",
                        help="fill in the tables of this page, between its markers, and write all numbers to FILE.json beside it")
    parser.add_argument("--tasks", type=chosen(TASKS), default=list(TASKS), metavar="A,B", help="(default: spam,insteval)")
    parser.add_argument("--models", type=chosen(MODELS), default=MODELS, metavar="A,B,...", help="with dense (default: all)")
    parser.add_argument("--rows", type=int, default=None, help="use only this many rows or mails of the test (default: all)")
    parser.add_argument("--rounds", type=int, help="timed runs of each model (default: 11 of spam, 101 of insteval)")
    options = parser.parse_args()
    if "dense" not in options.models:
        parser.error(f"--models={','.join(options.models)}: must have dense, to which the others are compared")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds={options.rounds}: must be at least 1")
    if options.rows is not None and options.rows < 100:
        parser.error(f"--rows={options.rows}: must be at least 100, so that both answers occur")
    found = shutil.which(options.ss1)
    if found is None:
        parser.error(f"--ss1={options.ss1}: is no command")
    options.ss1 = pathlib.Path(found).resolve()
    if options.report and not options.report.exists():
        parser.error(f"--report={options.report}: must be a page with markers; docs/quality-convert.md is one")
    options.dtypes = list(DTYPES)
    return options


def main():
    options = arguments()
    with ss1.Context(num_threads=1) as context:
        everything = {"machine": machine(context), "tasks": {task: run(task, options, context) for task in options.tasks}}
    if options.report:
        write(options.report, filled(options.report.read_text(), tables(everything)))
        write(options.report.with_suffix(".json"), json.dumps(everything, indent=1) + "\n")
    else:
        print("\n".join(f"{title}\n\n{make()}" for title, make in tables(everything).items()))


if __name__ == "__main__":
    main()
