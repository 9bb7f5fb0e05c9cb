# SPDX-License-Identifier: Apache-2.0
"""Convert the spam BERT and the InstEval DLRM, fine-tune what comes out, and measure what is lost against the dense model.

Forms, each at 1/2, 1/4 and 1/8 of the multiply-adds of the layers that have at least 64 inputs and outputs:

    mean, tied, low rank, both      as in quality_gpt.py, of the encoder's layers or the wide layers of the MLPs
    choice                          what ss1.torch.convert takes for a budget of the whole model

Stages, all of the same converted model:

    converted       not trained
    short, long     --short and --long steps of ss1.torch.finetune on the dense model's answers for rows of its training, without labels
    labels          --long steps on the labels of these rows, at 1/4 alone

The rate is the best of some after the long fine-tuning at 1/4 with the first seed, by the KL divergence on the validation rows; the
test rows choose nothing. A seed determines the hashes, the calibration rows and the order of the rows; on InstEval the split and the
dense model, too, which is trained here (docs/quality.md). The spam BERT is that of examples/models. A run is one line of
OUT/results.jsonl; a command that is repeated continues. Needs PyTorch, numpy and libss1 ($SS1_LIBRARY, or ss1 installed).
"""
import argparse
import itertools
import json
import os
import pathlib
import sys
import time
import types
import warnings

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import finetune_spam
import mails
import quality_insteval
import ss1.torch
import train_insteval
from jobs import check_settings, work
from quality_convert import score
from quality_gpt import BUDGETS, KINDS, shape_of
from results import cell, chosen, filled, log_softmax, table, write
from ss1 import model_dir
from ss1._output import output

ROOT = pathlib.Path(__file__).resolve().parents[3]
DENSE_SPAM = ROOT / "examples/models/spam-bert-dense"
STAGES = ("converted", "short", "long", "labels")
CALIBRATION = 16  # batches
DROPOUT = 0.1  # of the training on labels
# batch: rows of a step, as in the training of the dense models; rates: those that are tried.
TASKS = {"spam": {"batch": 32, "rates": (1e-4, 3e-4, 1e-3)}, "insteval": {"batch": 512, "rates": (3e-4, 1e-3)}}


def tokenise(options):
    """Writes OUT/tokens.npz, token ids and labels of the mails, as finetune_spam.py reads them."""
    if options.mails is None:
        sys.exit(f"quality_finetune.py: --mails: the task spam needs the SpamAssassin corpus, for there is no {options.out}/tokens.npz")
    length = json.loads((DENSE_SPAM / "config.json").read_text())["max_position_embeddings"]
    arrays = {}
    with ss1.Context(num_threads=1) as context:
        tokenizer = ss1.Tokenizer(context, DENSE_SPAM)
        for part, lines in mails.split(mails.read(options.mails)).items():
            ids = tokenizer([line for line, _ in lines], max_tokens=length)["input_ids"]
            arrays[f"{part}_ids"] = numpy.pad(ids, ((0, 0), (0, length - ids.shape[1]))).astype(numpy.uint16)
            arrays[f"{part}_labels"] = numpy.array([label for _, label in lines], numpy.uint8)
    numpy.savez_compressed(options.out / "tokens.npz", **arrays)


def read_spam(options, device):
    """{part: {name: tensor}} of the mails."""
    result = {}
    for name, found in finetune_spam.Data(options.out, device).parts.items():
        ids, labels = (tensor[:options.rows] for tensor in found)
        result[name] = {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}
    return result


def read_insteval(seed, device, most):
    """({part: {name: tensor}}, all columns, all labels, row numbers of the parts) of the ratings."""
    columns, labels = (torch.from_numpy(array).to(device) for array in train_insteval.read(ROOT / "examples/data/insteval.csv.gz"))
    rows = [torch.from_numpy(part[:most]) for part in train_insteval.split(len(labels), seed)]
    parts = {name: {"columns": columns[part], "labels": labels[part].long()} for name, part in zip(("train", "valid", "test"), rows)}
    return parts, columns, labels, rows


class Rows:
    """Batches of a part in random order; each iteration has another one."""

    def __init__(self, part, size, seed):
        self.part, self.size, self.generator = part, size, torch.Generator().manual_seed(seed)

    def __iter__(self):
        labels = self.part["labels"]
        for rows in torch.randperm(len(labels), generator=self.generator).to(labels.device).split(self.size):
            yield {name: tensor[rows] for name, tensor in self.part.items()}


class Labels(torch.nn.Module):
    """A teacher that is sure of the right answer: the KL divergence from it is the cross-entropy of the labels."""


def forward(model, batch):
    """The model's logits [n, 2] of a batch, under the name that ss1.torch looks for."""
    if isinstance(model, Labels):
        logits = 50.0 * torch.nn.functional.one_hot(batch["labels"], 2)
    elif "columns" in batch:
        odds = model.logits(*train_insteval.inputs(batch["columns"]))
        logits = torch.stack([torch.zeros_like(odds), odds], 1)
    else:
        logits = model(batch["input_ids"], batch["attention_mask"])
    return types.SimpleNamespace(logits=logits)


@torch.no_grad()
def answers(model, part):
    """float64 [n, 2]: the logarithms of the model's probabilities of both answers."""
    model.eval()
    batches = ({name: tensor[rows] for name, tensor in part.items()} for rows in torch.arange(len(part["labels"])).split(256))
    return log_softmax(torch.cat([forward(model, batch).logits for batch in batches]).cpu().numpy())


def dense_model(what, seed, options, device):
    """(the dense model, its parts of the data); that of InstEval is trained unless it is in --out."""
    if what == "spam":
        config, _ = model_dir.load(DENSE_SPAM)
        return finetune_spam.load(finetune_spam.classifier(config, device, DROPOUT), DENSE_SPAM), read_spam(options, device)
    parts, columns, labels, rows = read_insteval(seed, device, options.rows)
    model, path = quality_insteval.build("dense", columns.cpu(), seed).to(device), options.out / f"insteval-dense-{seed}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, map_location=device))
        return model, parts
    settings = argparse.ArgumentParser()
    train_insteval.training_options(settings)
    settings = settings.parse_args(["--epochs", str(options.epochs)])

    def log(line):
        print(f"insteval dense seed {seed}: {line}", flush=True)

    model, _ = train_insteval.train(model, columns, labels, rows, settings, log)
    model.embedding_dropout = 0.0
    with output(path) as file:
        torch.save(model.state_dict(), file)
    return model, parts


def convert(what, dense, kind, budget, part, seed):
    """(the converted model, the multiply-adds of the layers that a budget may replace, as a share of the dense ones)."""
    batches = list(itertools.islice(Rows(part, TASKS[what]["batch"], 1000 + seed), CALIBRATION))
    spec, seed = budget, 1000 * seed
    if kind != "choice":
        layers = {name: module for name, module in dense.named_modules() if isinstance(module, torch.nn.Linear)}
        layers = {name: (m.in_features, m.out_features) for name, m in layers.items() if min(m.in_features, m.out_features) >= 64}
        spec = {name: shape_of(budget, K, N)[kind] for name, (K, N) in layers.items() if "pooler" not in name}
    model, report = ss1.torch.convert(dense, spec, None if kind == "mean" else batches, forward=forward, seed=seed)
    wide = [row for row in report if min(row.K, row.N) >= 64]
    return model, sum(row.share * row.K * row.N for row in wide) / sum(row.K * row.N for row in wide)


def finetune(what, stage, student, dense, part, lr, seed, options):
    """Trains the student in place."""
    student.train(stage == "labels")
    if what == "insteval":
        student.embedding_dropout = DROPOUT  # of a model in training alone
    else:
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU; tests are in f32
    teacher, layers = (Labels(), 0.0) if stage == "labels" else (dense, 1.0)
    steps = options.short if stage == "short" else options.long
    batches = Rows(part, TASKS[what]["batch"], 100 * seed + STAGES.index(stage))
    ss1.torch.finetune(student, teacher, batches, steps, loss="kl", layers=layers, lr=lr, seed=seed, forward=forward)
    torch.set_float32_matmul_precision("highest")


def run(task, options):
    """One line of the results: what task = (what, kind, budget, seed, lr) gives."""
    what, kind, budget, seed, lr = task
    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    warnings.filterwarnings("ignore", "without calibration")
    device, start = options.device, time.time()
    if device == "cuda":  # processes take turns on the devices
        device = f"cuda:{os.getpid() % torch.cuda.device_count()}"
        torch.cuda.set_device(device)
    result = dict(zip(("what", "kind", "budget", "seed", "lr"), task))
    result["device"] = f"{torch.cuda.get_device_name(device) if 'cuda' in device else 'CPU'}, PyTorch {torch.__version__}"
    dense, parts = dense_model(what, seed, options, device)
    original = {name: answers(dense, parts[name]) for name in ("valid", "test")}

    def measure(model):
        found = {name: score(original[name], answers(model, parts[name]), parts[name]["labels"].cpu().numpy()) for name in original}
        return {**found["test"], "valid_kl": found["valid"]["kl"]}

    if kind == "dense":
        return {**result, "rows": [len(parts[name]["labels"]) for name in ("train", "valid", "test")], "dense": measure(dense),
                "seconds": round(time.time() - start, 1)}
    model, result["share"] = convert(what, dense, kind, BUDGETS[budget], parts["train"], seed)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for stage in STAGES:
        if stage == "labels" and budget != "1/4":
            continue
        model.load_state_dict(state)
        if stage != "converted":
            finetune(what, stage, model, dense, parts["train"], lr, seed, options)
        result[stage] = measure(model)
    return {**result, "seconds": round(time.time() - start, 1)}


def tried(results, what, kind, options):
    """The lines of the rates that were tried."""
    lines = [results.lines.get((what, kind, "1/4", options.seeds[0], lr)) for lr in TASKS[what]["rates"]]
    return [line for line in lines if line]


def best_rate(results, what, kind, options):
    """The rate, of those that were tried, with the least KL divergence on the validation rows."""
    return min(tried(results, what, kind, options), key=lambda line: line["long"]["valid_kl"], default={"lr": None})["lr"]


def tasks_after(done, results, options):
    """All tasks that are possible now; those of the first seed and of 1/4 come first."""
    if done is None:
        return [(what, "dense", "1", seed, 0.0) for what in options.tasks for seed in options.seeds]
    tasks = []
    for seed, what, kind in itertools.product(options.seeds, options.tasks, options.kinds):
        if (what, "dense", "1", seed, 0.0) not in results.lines:
            continue
        if len(tried(results, what, kind, options)) == len(TASKS[what]["rates"]):
            tasks += [(what, kind, budget, seed, best_rate(results, what, kind, options)) for budget in BUDGETS]
        elif seed == options.seeds[0]:
            tasks += [(what, kind, "1/4", seed, lr) for lr in TASKS[what]["rates"]]
    return sorted(tasks, key=lambda task: task[2] != "1/4" and task[3] != options.seeds[0])


def stage_titles(options):
    return ["as converted", f"{options.short} steps", f"{options.long} steps", f"{options.long} steps on labels"]


def results_table(results, what, options, form, value, less_dense=False):
    """A row for each budget and form, a column for each stage: means of value(scores) over the seeds and half of their range."""
    rows = []
    for budget, kind in itertools.product(BUDGETS, options.kinds):
        rate = best_rate(results, what, kind, options)
        lines = [results.lines.get((what, kind, budget, seed, rate)) for seed in options.seeds]
        lines = [line for line in lines if line]
        row = [f"{budget} {kind}", str(len(lines))]
        for stage in STAGES:
            values = []
            for line in lines:
                if stage in line:
                    dense = results.lines[what, "dense", "1", line["seed"], 0.0]["dense"]
                    values.append(value(line[stage]) - (value(dense) if less_dense else 0))
            row.append(cell(values, form))
        rows += [row] if lines else []
    return table(["layers", "seeds", *stage_titles(options)], rows)


def rates_table(results, what, options):
    """The KL divergence on validation and test rows at 1/4 with the first seed, for each rate."""
    rows = []
    for kind in options.kinds:
        for line in tried(results, what, kind, options):
            rows.append([f"{kind}, {line['lr']:g}", f"{line['long']['valid_kl']:.2g}", *(f"{line[stage]['kl']:.2g}" for stage in STAGES)])
    return table(["form, rate", f"validation, {options.long} steps", *stage_titles(options)], rows)


def setup_text(results, what, options):
    """The machine, the rows, and what the dense models reach."""
    dense = [results.lines.get((what, "dense", "1", seed, 0.0)) for seed in options.seeds]
    dense = [line for line in dense if line]
    reached = (f"{title} {cell([line['dense'][key] for line in dense], '.4f')}"
               for title, key in (("right", "right"), ("AUC", "auc"), ("log loss", "log_loss")))
    return (f"{dense[0]['device']}; rows of training, validation and test: {', '.join(f'{rows:,}' for rows in dense[0]['rows'])}. "
            f"Dense: {', '.join(reached)}.\n")


def shares_table(results, what, options):
    """The multiply-adds of the replaced layers beside dense ones."""
    rows = []
    for kind in options.kinds:
        found = [[line["share"] for task, line in results.lines.items() if task[:3] == (what, kind, budget)] for budget in BUDGETS]
        rows.append([kind, *(f"{shares[0]:.3f}" if shares else "–" for shares in found)])
    return table(["form", *BUDGETS], rows)


def tables(results, options):
    """{marker: a function that makes its table}."""
    made = {}
    for what in options.tasks:
        made[f"{what} setup"] = lambda what=what: setup_text(results, what, options)
        made[f"{what} shares"] = lambda what=what: shares_table(results, what, options)
        made[f"{what} rates"] = lambda what=what: rates_table(results, what, options)
        made[f"{what} kl"] = lambda what=what: results_table(results, what, options, ".2g", lambda got: got["kl"])
        made[f"{what} agrees"] = lambda what=what: results_table(results, what, options, ".2f", lambda got: 100 * got["agrees"])
    if "spam" in options.tasks:
        made["spam right"] = lambda: results_table(results, "spam", options, "+.2f", lambda got: 100 * got["right"], True)
    if "insteval" in options.tasks:
        made["insteval auc"] = lambda: results_table(results, "insteval", options, "+.4f", lambda got: got["auc"], True)
        made["insteval log loss"] = lambda: results_table(results, "insteval", options, "+.4f", lambda got: got["log_loss"], True)
    return made


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  SS1_LIBRARY=$PWD/build/test/src/libss1.so python3 bindings/python/train/quality_finetune.py "
               "--mails spam_assassin.jsonl.gz --out build/quality-finetune --jobs 16 --report docs/quality-finetune.md")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of tokens, dense models and results")
    parser.add_argument("--mails", type=pathlib.Path, help="the SpamAssassin corpus, as mails.read() takes it; for OUT/tokens.npz")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE.md",
                        help="fill in the tables of this page, between its markers, and write all results to FILE.json beside it")
    parser.add_argument("--tasks", type=chosen(TASKS), default=list(TASKS), metavar="A,B", help="default: spam,insteval")
    parser.add_argument("--kinds", type=chosen(KINDS), default=list(KINDS), metavar="A,B,...", help="forms (default: all)")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[1, 2, 3], help="default: 1,2,3")
    parser.add_argument("--short", type=int, default=100, help="steps of the short fine-tuning (default: %(default)s)")
    parser.add_argument("--long", type=int, default=500, help="steps of the long one (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="most epochs of the dense DLRM's training (default: %(default)s)")
    parser.add_argument("--rows", type=int, help="use only the first rows of each part (default: all)")
    parser.add_argument("--jobs", type=int, default=8, help="processes that share the device (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of each process (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    options = parser.parse_args()
    for name in ("short", "long", "epochs", "rows", "jobs", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name}={getattr(options, name)}: must be at least 1")
    if options.report and not options.report.exists():
        parser.error(f"--report={options.report}: must be a page with markers; docs/quality-finetune.md is one")
    return options


def main():
    options = arguments()
    check_settings(options.out, {key: getattr(options, key) for key in ("short", "long", "epochs", "rows")})
    if "spam" in options.tasks and not (options.out / "tokens.npz").exists():
        tokenise(options)
    results, failures = work(options, run, tasks_after)
    if failures:
        sys.exit(f"quality_finetune.py: {failures} runs failed")
    if options.report:
        write(options.report, filled(options.report.read_text(), tables(results, options)))
        write(options.report.with_suffix(".json"), json.dumps(list(results.lines.values()), indent=1) + "\n")
    else:
        print("\n".join(f"{title}\n\n{make()}" for title, make in tables(results, options).items()))


if __name__ == "__main__":
    main()
