# SPDX-License-Identifier: Apache-2.0
"""Fine-tune pre-trained BERTs to tell spam from ham, with several seeds, and write a table of the cost of SS1 layers.

Models:

    dense, ss1-C, ss1-C-half    pre-trained in this form (pretrain_bert.py), then fine-tuned
    scratch                     dense, fine-tuned without pre-training
    projected-C                 the fine-tuned dense model with the layers of its encoder replaced by the nearest SS1 layers
    tuned-C                     the same after a second fine-tuning of --again-epochs epochs

Each run is a folder OUT/MODEL-seedN, a Hugging Face directory that ss1 loads (f16, vocab.txt), with result.json. The
tests use the weights in that directory: in f32 by PyTorch, with bf16 and int8 layers by ss1 (--dtypes; $SS1_LIBRARY must
be set or ss1 be installed). A finished run is only tested in the types that it lacks, so that a stopped command continues
where it stopped; commands with other --seeds may run at the same time. A seed determines the initial weights of the
classifier, the order of the mails and the dropout; the split of the mails is always the same.
"""
import argparse
import json
import math
import pathlib
import re
import statistics
import sys
import time

import numpy
import torch

import bert
import mails
import ss1
from pretrain_bert import autocast, learning_rate, optimizer_of
from results import DTYPES, chosen, copy, stored, write
from ss1 import model_dir

MODELS = ["dense", "scratch", "ss1-4", "ss1-8", "ss1-8-half", "projected-4", "projected-8", "tuned-4", "tuned-8"]
NAME = r"dense|scratch|ss1-\d+(-half)?|(projected|tuned)-\d+"
TOKENIZER_FILES = ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
NOT_SETTINGS = ("data", "pretrained", "out", "models", "seeds", "dtypes", "threads", "device", "report", "export")


class Data:
    """Returns token ids [rows, T] and labels of the mails in the parts train, valid and test."""

    def __init__(self, folder, device):
        arrays = numpy.load(folder / "tokens.npz")
        self.parts = {part: tuple(torch.from_numpy(arrays[f"{part}_{name}"].astype(numpy.int64)).to(device)
                                  for name in ("ids", "labels")) for part in ("train", "valid", "test")}
        self.folder, self.length = folder, self.parts["train"][0].shape[1]


def scores(logits, labels):
    """Scores f32 logits [rows, 2]: accuracy, F1 with spam as the positive class, log loss."""
    predicted = logits.argmax(1)
    true = int(((predicted == 1) & (labels == 1)).sum())
    f1 = 2 * true / max(1, int((predicted == 1).sum()) + int((labels == 1).sum()))
    difference = (logits[:, 1] - logits[:, 0]).astype(numpy.float64) * (1 - 2 * labels.astype(numpy.float64))
    return {"accuracy": float((predicted == labels).mean()), "f1": f1,
            "log_loss": float(numpy.logaddexp(0, difference).mean())}


def predict(model, ids, batch=128):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part, (part != 0).long()) for part in ids.split(batch)]).float().cpu().numpy()


def predict_by_library(session, ids, batch=16):
    """Computes the logits with ss1; batches mails of similar length, padded to the longest."""
    lengths = (ids != 0).sum(1)
    logits = numpy.empty((len(ids), 2), numpy.float32)
    for rows in numpy.array_split(numpy.argsort(lengths, kind="stable"), -(-len(ids) // batch)):
        part = numpy.ascontiguousarray(ids[rows, :lengths[rows].max()])
        given = {"input_ids": part, "attention_mask": (part != 0).astype(numpy.int64)}
        logits[rows] = session.run(given, ["logits"])["logits"]
    return logits


def train(model, data, epochs, options, log):
    """Fine-tune in place."""
    ids, labels = data.parts["train"]
    optimizer = optimizer_of(model, options.lr, options.decay)
    steps, step = epochs * math.ceil(len(ids) / options.batch), 0
    for epoch in range(1, epochs + 1):
        model.train()
        total = torch.zeros((), device=ids.device)
        for rows in torch.randperm(len(ids), device=ids.device).split(options.batch):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * learning_rate((step + 1) / (steps + 1), options.warmup)
            part = ids[rows]
            with autocast(ids.device.type, options.bf16):
                logits = model(part, (part != 0).long())
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.detach() * len(rows)
            step += 1
        valid = scores(predict(model, data.parts["valid"][0]), data.parts["valid"][1].cpu().numpy())
        log(f"epoch {epoch}  training loss {total.item() / len(ids):.4f}  validation loss {valid['log_loss']:.4f}  "
            f"accuracy {valid['accuracy']:.4f}")
    return model


def load(model, directory):
    """Copy the directory's tensors; a pooler and a classifier that it lacks stay unchanged."""
    _, tensors = model_dir.load(directory)
    own = model.state_dict()
    missing = [name for name in own if name not in tensors and not name.startswith(("bert.pooler.", "classifier."))]
    if missing:
        sys.exit(f"finetune_spam.py: {directory} lacks {missing[0]}")
    model.load_state_dict({**own, **{name: torch.tensor(tensors[name].astype(numpy.float32))
                                     for name in own if name in tensors}})
    return model


def classifier(config, device, dropout=0.0):
    """Returns the model to fine-tune, with a new pooler and classifier."""
    return bert.BertForSequenceClassification({
        **config, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "id2label": mails.LABELS,
        "label2id": {label: int(number) for number, label in mails.LABELS.items()}}).to(device)


def build(name, seed, data, options, log):
    """Returns the trained model."""
    kind, _, rest = name.partition("-")

    def untrained(config):
        return classifier(config, options.device, options.dropout)

    if kind in ("projected", "tuned"):
        before = options.out / (f"dense-seed{seed}" if kind == "projected" else f"projected-{rest}-seed{seed}")
        if not (before / "result.json").exists():
            sys.exit(f"finetune_spam.py: {name} starts from {before}, which is not there: train that first")
        model = load(untrained(model_dir.load(before)[0]), before)
        return bert.project(model, int(rest)) if kind == "projected" else train(model, data, options.again_epochs, options, log)
    if kind == "scratch":
        sizes, _ = model_dir.load(options.pretrained / "dense")
        return train(untrained(sizes), data, options.epochs, options, log)
    config, _ = model_dir.load(options.pretrained / name)
    return train(load(untrained(config), options.pretrained / name), data, options.epochs, options, log)


def with_pretraining(options):
    """Returns the named models whose pre-training exists; a failed pre-training costs only its own rows of the table."""
    possible = []
    for name in options.models:
        start = options.pretrained / (name if name.startswith("ss1-") else "dense") / "result.json"
        if start.exists():
            possible.append(name)
        else:
            print(f"{name}: left out, there is no {start}", flush=True)
    return possible


def encoder_values(model):
    return sum(p.numel() for p in model.bert.encoder.parameters())


def run(name, seed, data, settings, options):
    """Train one model, write its folder, test the written model and return the results."""
    begun = time.monotonic()
    torch.manual_seed(seed)

    def log(line):
        print(f"{name} seed {seed}: {line}", flush=True)

    model = build(name, seed, data, options, log)
    directory = options.out / f"{name}-seed{seed}"
    seconds = time.monotonic() - begun
    model_dir.save(directory, model.config, {key: value.cpu() for key, value in model.state_dict().items()}, numpy.float16)
    for file in TOKENIZER_FILES:
        if (data.folder / file).exists():
            copy(data.folder / file, directory / file)
    load(model, directory)
    parts = {part: scores(predict(model, ids), labels.cpu().numpy()) for part, (ids, labels) in data.parts.items()}
    log(f"test accuracy {parts['test']['accuracy']:.4f}  F1 {parts['test']['f1']:.4f}  {seconds:.1f} s")
    device = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else "CPU"
    return {"model": name, "seed": seed, "encoder_values": encoder_values(model), "training": parts["train"],
            "validation": parts["valid"], "test": {"f32": parts["test"]}, "settings": settings,
            "seconds": round(seconds, 1), "device": device, "torch": torch.__version__}


def test_by_library(result, directory, data, dtypes, context):
    """Test the run in the types that its results lack."""
    ids, labels = (part.cpu().numpy() for part in data.parts["test"])
    for dtype in dtypes:
        if dtype in result["test"]:
            continue
        model = ss1.Model(context, directory, weight_dtype=dtype)
        session = ss1.Session(model, max_batch=16, max_tokens=data.length)
        got = result["test"][dtype] = scores(predict_by_library(session, ids), labels)
        print(f"{directory.name}: {DTYPES[dtype]}  accuracy {got['accuracy']:.4f}  F1 {got['f1']:.4f}", flush=True)


def spread(values, sign=""):
    """Formats mean and standard deviation of a sample in per cent."""
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):{sign}.2f}{deviation}"


def pretraining(options, names):
    """Returns the lines on the pre-trained models."""
    settings, lines = "", ["| pre-trained model | values in the encoder | steps | tokens | held-out loss | masked tokens guessed |",
             "|---|" + "---:|" * 5]
    for name in names:
        path = options.pretrained / name / "result.json"
        if path.exists():
            got = json.loads(path.read_text())
            settings = ", ".join(f"{key} {value}" for key, value in got["settings"].items()
                                 if key not in ("model", "device", "log_every") and (key, value) != ("steps", 0))
            lines.append(f"| {name} | {got['values']:,} | {got['steps']:,} | {got['tokens'] / 1e6:.0f} M | "
                         f"{got['held_out_loss']:.3f} | {got['held_out_accuracy']:.1%} |")
    return [f"Settings of the pre-training, the same for all models, which share one device: {settings}.", "", *lines]


def report(runs, data, options):
    """Returns the Markdown text on {model: [a run for each seed]}."""
    first = next(iter(runs.values()))[0]
    dtypes = [dtype for dtype in DTYPES if all(dtype in run["test"] for group in runs.values() for run in group)]
    titles = {"accuracy": "accuracy", "f1": "F1"}
    metrics = [(metric, dtype) for metric in titles for dtype in dtypes]
    columns = ["model", "values in the encoder", *(f"{titles[metric]} {DTYPES[dtype]}, %" for metric, dtype in metrics)]
    sizes = {part: len(labels) for part, (_, labels) in data.parts.items()}
    spam = data.parts["test"][1].float().mean().item()
    lines = [
        "# Spam or ham: what SS1 layers cost a small BERT", "",
        f"Made by `python3 finetune_spam.py {' '.join(sys.argv[1:])}` ({first['device']}, PyTorch {first['torch']}).", "",
        f"Mails of the SpamAssassin corpus (2002) without near-duplicates: {sizes['train']} to train, {sizes['valid']} to choose the "
        f"exported model, {sizes['test']}",
        f"({spam:.1%} spam) for this test. Values are mean ± standard deviation over {len(next(iter(runs.values())))} seeds of the "
        "fine-tuning, with one split and",
        f"one pre-training each. One mail of the test is {100 / sizes['test']:.2f} % of accuracy. Spam is the positive class of F1.", "",
        "- `ss1-C`: all linear layers of the encoder are tied C-fold from the start of the pre-training; `-half`: those of its upper half.",
        "- `projected-C`: the fine-tuned dense model, projected to SS1 and not trained again.",
        f"- `tuned-C`: the projected model, fine-tuned again for {options.again_epochs} epochs.",
        "- `scratch`: dense, not pre-trained.",
        "- bf16 and int8 round the weights of all linear layers, int8 the inputs, too; ss1 runs these models.", "",
        "Settings of the fine-tuning: " + ", ".join(f"{name} {value}" for name, value in first["settings"].items()) + ".", "",
        "| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for name, group in runs.items():
        cells = [name, f"{group[0]['encoder_values']:,}"]
        cells += [spread([run["test"][dtype][metric] for run in group]) for metric, dtype in metrics]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *pretraining(options, runs)]) + "\n"


def export(runs, options, names):
    """Copy for each named model the run with the lowest validation loss to the folder given for it."""
    for name, target in names.items():
        if name not in runs:
            continue
        best = min(runs[name], key=lambda run: run["validation"]["log_loss"])
        target.mkdir(parents=True, exist_ok=True)
        (target / "config.json").unlink(missing_ok=True)
        for file in ("model.safetensors", *TOKENIZER_FILES, "config.json"):  # which makes it a model
            source = options.out / f"{name}-seed{best['seed']}" / file
            if source.exists():
                copy(source, target / file)
        print(f"{target}: {name} of seed {best['seed']}, accuracy {best['test']['f32']['accuracy']:.4f}")


def model_names(text):
    names = text.split(",")
    for name in names:
        if not re.fullmatch(NAME, name):
            raise argparse.ArgumentTypeError(f"{name!r} is not a model: {NAME}")
    return names


def exported(text):
    name, _, folder = text.partition("=")
    if not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL=FOLDER")
    return model_names(name)[0], pathlib.Path(folder)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 finetune_spam.py --data build/spam/data --pretrained build/spam/pretrained "
               "--out build/spam/runs --device cuda --bf16 --report docs/spam.md --export dense=examples/models/spam-bert-dense")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder written by prepare_spam.py")
    parser.add_argument("--pretrained", type=pathlib.Path, required=True, help="folder written by pretrain_bert.py")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the runs")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE.md",
                        help="write the table here and all runs to FILE.json beside it")
    parser.add_argument("--export", type=exported, action="append", default=[], metavar="MODEL=FOLDER",
                        help="copy the model directory of the best seed (by validation) there; may be repeated")
    parser.add_argument("--models", type=model_names, default=MODELS, metavar="A,B,...",
                        help=f"in this order (default: {','.join(MODELS)})")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3, 4, 5],
                        metavar="1,2,...", help="(default: 1,2,3,4,5)")
    parser.add_argument("--dtypes", type=chosen(DTYPES), default=["f32"], metavar="A,B,...",
                        help="types of the weights to test: f32, bf16, i8 (default: f32, which needs no library)")

    def option(name, default, text):
        parser.add_argument(name, type=type(default), default=default, help=f"{text} (default: %(default)s)")
    option("--epochs", 5, "epochs of the fine-tuning")
    option("--again-epochs", 3, "epochs of the second fine-tuning of tuned-C")
    option("--batch", 32, "mails of one step")
    option("--lr", 3e-4, "AdamW's largest step")
    option("--decay", 0.01, "AdamW's weight decay")
    option("--dropout", 0.1, "probability of dropping a value")
    option("--warmup", 0.1, "share of the training in which the step grows")
    option("--threads", 1, "threads of PyTorch and of the library")
    option("--device", "cpu", "PyTorch's device")
    parser.add_argument("--bf16", action="store_true", help="train in bf16 where autocast does; tests run in f32")
    return parser.parse_args()


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    settings = {name: value for name, value in vars(options).items() if name not in NOT_SETTINGS}
    context = None
    if options.dtypes != ["f32"]:
        context = ss1.Context(num_threads=options.threads)
    options.models = with_pretraining(options)
    data = Data(options.data, options.device)
    runs = {name: [] for name in options.models}
    for seed in options.seeds:  # all models of a seed first, so that a partial table compares fairly
        for name in options.models:
            directory = options.out / f"{name}-seed{seed}"
            result = stored(directory / "result.json", settings) or run(name, seed, data, settings, options)
            test_by_library(result, directory, data, options.dtypes, context)
            write(directory / "result.json", json.dumps(result, indent=1) + "\n")
            runs[name].append(result)
    export(runs, options, dict(options.export))
    if options.report:
        write(options.report, report(runs, data, options))
        write(options.report.with_suffix(".json"), json.dumps(sum(runs.values(), []), indent=1) + "\n")


if __name__ == "__main__":
    main()
