# SPDX-License-Identifier: Apache-2.0
"""Train a DLRM, dense or with SS1 layers, on the InstEval lecture ratings and write it as an ss1 model directory.

A row is one student's rating of one lecture (1..5); the model gives the probability that it is at least 4. Student
and lecturer matter most, so only the two large tables are regularised: their vectors are dropped at random and decay
towards zero, which shrinks rare ids towards the average as a mixed-effects model does.
"""
import argparse
import copy
import csv
import gzip
import io
import pathlib
import platform
import sys
import time

import numpy
import torch

import dlrm
from results import auc, log_loss, write
from ss1 import model_dir
from ss1.torch import resolve

HERE = pathlib.Path(__file__).resolve().parent
DENSE = ["studage", "lectage", "service"]
TABLES = ["student", "lecturer", "studage", "lectage", "service", "dept"]
POSITIVE_RATING = 4
BOTTOM = [512, 256, 32]
TOP = [1024, 1024, 512, 1]
# The wide layers; the others have so few inputs or outputs that tying them gains nothing.
TIED_LAYERS = {"bot_l.2": 256, "top_l.2": 1024, "top_l.4": 512}  # name: outputs


def read(path):
    """Columns as an int64 array [rows, len(TABLES)] and labels as f32 [rows]; ids are 0-based already."""
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = numpy.array([[int(row[name]) for name in TABLES] for row in rows])
    return columns, numpy.array([float(int(row["rating"]) >= POSITIVE_RATING) for row in rows], numpy.float32)


def split(count, seed):
    """Random row numbers of the three parts: 80 % training, 10 % validation, 10 % test."""
    order = numpy.random.RandomState(seed).permutation(count)
    return numpy.split(order, [count * 8 // 10, count * 9 // 10])


def tied_layers(scheme, c, seed):
    """The key "ss1" of config.json: the wide layers tied c-fold."""
    return {"layers": {name: resolve(64 * c, N, c=c, scheme=scheme, seed=seed) for name, N in TIED_LAYERS.items()}}


def config(columns, **more):
    """Returns config.json of the model; keys in `more` are replaced or added."""
    return {
        "model_type": "dlrm",
        "dense_features": DENSE,
        "embedding_dim": BOTTOM[-1],
        "tables": [{"name": name, "rows": int(columns[:, i].max()) + 1} for i, name in enumerate(TABLES)],
        "bottom_mlp": [len(DENSE), *BOTTOM],
        "top_mlp": TOP,
        "interaction": "dot",
        "interaction_itself": False,
        "loss_threshold": 0.0,
        **more,
    }


def inputs(columns):
    """Returns the model's inputs for these rows: the raw numbers, and bags of one id each."""
    dense = columns[:, [TABLES.index(name) for name in DENSE]].float()
    batch, tables = columns.shape
    return dense, columns.T.reshape(-1), torch.arange(tables * batch, device=columns.device).reshape(tables, batch)


def predict(model, columns, batch=4096):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(*inputs(part)) for part in columns.split(batch)]).cpu().numpy()


class Normalised(torch.nn.Module):
    """The first bottom layer in training: its input is (x - mean) / deviation. fold() converts it to raw numbers."""

    def __init__(self, linear, dense):
        super().__init__()
        self.linear = linear
        self.register_buffer("mean", dense.mean(0))
        self.register_buffer("deviation", dense.std(0))

    def forward(self, x):
        return self.linear((x - self.mean) / self.deviation)

    def fold(self):
        with torch.no_grad():
            self.linear.bias -= self.linear.weight @ (self.mean / self.deviation)
            self.linear.weight /= self.deviation
        return self.linear


def train(model, columns, label, parts, options, log):
    """Train by Adam on the log loss; returns (model, epoch) of the best validation log loss. The model takes raw numbers.

    What is validated and kept is the running average of the weights over about 1 / (1 - options.average) steps: with so
    few rows of each id, single epochs differ by more than the settings do.
    """
    training, validation, _ = parts
    model.embedding_dropout = options.embedding_dropout
    model.bot_l[0] = Normalised(model.bot_l[0], inputs(columns[training])[0])
    tables = model.tables()
    rest = [p for p in model.parameters() if all(p is not table for table in tables)]
    with torch.no_grad():
        for table in tables:
            table.normal_(0, options.embedding_deviation)
    optimizer = torch.optim.Adam([
        {"params": tables, "lr": options.embedding_lr, "weight_decay": options.embedding_decay},
        {"params": rest, "lr": options.lr, "weight_decay": options.decay}])
    average = copy.deepcopy(model)
    best = (float("inf"), None, None)
    steps = -(-len(training) // options.batch)
    for epoch in range(1, options.epochs + 1):
        begun, total = time.monotonic(), 0.0
        model.train()
        for step, rows in enumerate(training[torch.randperm(len(training))].split(options.batch), 1):
            logits = model.logits(*inputs(columns[rows]))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, label[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for kept, current in zip(average.parameters(), model.parameters()):
                    kept.lerp_(current, 1 - options.average)
            total += loss.item() * len(rows)
            if sys.stderr.isatty() and (step % 20 == 0 or step == steps):
                print(f"\repoch {epoch}: step {step}/{steps}", end="\r", file=sys.stderr, flush=True)
        got = predict(average, columns[validation])
        want = label[validation].cpu().numpy()
        value = log_loss(got, want)
        log(f"epoch {epoch:2}  training log loss {total / len(training):.4f}  validation log loss {value:.4f}  "
            f"AUC {auc(got, want):.4f}  {time.monotonic() - begun:.1f} s")
        if value < best[0]:
            best = (value, copy.deepcopy(average), epoch)
        elif epoch - best[2] >= options.patience:
            break
    model, epoch = best[1:]
    model.bot_l[0] = model.bot_l[0].fold()
    return model, epoch


def write_rows(path, columns, label):
    """The held-out rows as a CSV file that `ss1 run` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*TABLES, "label"])
    writer.writerows([*row, int(positive)] for row, positive in zip(columns.tolist(), label.tolist()))
    write(path, text.getvalue())


def training_options(parser):
    """Add the options of train()."""
    def option(name, default, text):
        parser.add_argument(name, type=type(default), default=default, help=f"{text} (default: %(default)s)")
    option("--epochs", 20, "most epochs")
    option("--patience", 2, "epochs without a better validation log loss before training stops")
    option("--batch", 512, "rows of one step")
    option("--lr", 3e-4, "Adam's step for the MLPs")
    option("--embedding-lr", 1e-3, "Adam's step for the tables")
    option("--decay", 1e-5, "L2 penalty on the MLPs")
    option("--embedding-decay", 3e-4, "L2 penalty on the tables")
    option("--embedding-dropout", 0.1, "probability that a table's vector is dropped")
    option("--average", 0.99, "decay of the running average of the weights")
    option("--embedding-deviation", 0.1, "standard deviation of the tables' first values")
    option("--threads", 1, "PyTorch's threads; another number may change the last bits")
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parents[2] / "examples/data/insteval.csv.gz",
                        help="the data set (default: examples/data/insteval.csv.gz of this project)")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 train_insteval.py --kind ss1 --out ../../../examples/models/insteval-ss1\n\n"
               "The same command, seed, versions and processor give the same model. An epoch takes a quarter to half a minute\n"
               "on one core with OpenBLAS (Debian: libopenblas0) under PyTorch, ten times that with the reference BLAS.")
    parser.add_argument("--kind", choices=["dense", "ss1"], required=True, help="dense layers, or the wide ones as SS1")
    parser.add_argument("--out", type=pathlib.Path, required=True,
                        help="model directory to write: config.json, model.safetensors, train.log")
    parser.add_argument("--test-rows", type=pathlib.Path, help="also write the held-out test rows to this CSV file")
    parser.add_argument("--c", type=int, default=4, help="compression of the SS1 layers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1,
                        help="seed of the split, the training and the SS1 mapping (default: %(default)s)")
    training_options(parser)
    return parser.parse_args()


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "train.log", "w") as file:
        def log(line):
            print(line, flush=True)
            print(line, file=file, flush=True)

        log(f"python3 train_insteval.py {' '.join(sys.argv[1:])}")
        log(f"Python {platform.python_version()}, PyTorch {torch.__version__}, numpy {numpy.__version__}, "
            f"{platform.machine()}")
        settings = {name: value for name, value in vars(options).items() if name not in ("data", "out", "test_rows")}
        log(", ".join(f"{name}={value}" for name, value in settings.items()))
        columns, label = read(options.data)
        parts = split(len(label), options.seed)
        columns, label, parts = torch.from_numpy(columns), torch.from_numpy(label), [torch.from_numpy(p) for p in parts]
        log(f"{len(label)} rows, {label.mean():.1%} positive: {' / '.join(str(len(p)) for p in parts)} "
            "for training / validation / test")

        tied = {"ss1": tied_layers("mixed", options.c, options.seed)} if options.kind == "ss1" else {}
        model = dlrm.DLRM(config(columns, **tied))
        log(f"{sum(p.numel() for p in model.parameters())} stored values, "
            f"{sum(p.numel() for p in model.tables())} of them in tables")
        model, epoch = train(model, columns, label, parts, options, log)
        model_dir.save(options.out, model.config, model.state_dict())

        log(f"kept epoch {epoch}; the model that was written, with the raw numbers as its inputs:")
        for name, part in (("validation", parts[1]), ("test", parts[2])):
            got, want = predict(model, columns[part]), label[part].numpy()
            log(f"{name:10}  log loss {log_loss(got, want):.4f}  AUC {auc(got, want):.4f}")
        mean = torch.full((len(parts[2]),), float(label[parts[0]].mean())).numpy()
        log(f"test log loss of the training rows' mean alone: {log_loss(mean, label[parts[2]].numpy()):.4f}")
    if options.test_rows:
        write_rows(options.test_rows, columns[parts[2]], label[parts[2]])


if __name__ == "__main__":
    main()
