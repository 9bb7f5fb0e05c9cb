# SPDX-License-Identifier: Apache-2.0
"""Measure the loss of quality by smaller layers and tables: train DLRMs on InstEval with several seeds, write a table.

Models, all trained in the same way (train_insteval.py; a seed determines the split, the training and the hashes):

    dense           the network of examples/models/insteval-dense
    reference-C     its three wide layers as SS1 with c = C, the authors' scheme
    mixed-C         the same, scheme mixed
    lowrank-C       the same layers as W = U V, each with as many stored values as SS1 with c = C
    narrow-C        a dense network with narrower hidden layers, its MLPs with as many stored values as SS1 with c = C
    robe-R          dense layers, the tables as ROBE-Z in an array R times smaller

Each is tested in f32, and with its layers rounded to bf16 and to int8, run by ss1's kernels ($SS1_LIBRARY must be set or
ss1 be installed); tables stay f32. A finished run is a file in --out and is not repeated, so that a stopped command continues
where it stopped; commands with other --seeds or --models may run at the same time.
"""
import argparse
import copy
import json
import pathlib
import platform
import statistics
import sys
import time

import numpy
import torch

import dlrm
import ss1
import train_insteval
from results import DTYPES, auc, chosen, log_loss, stored, write
from ss1.torch import Linear, stored_columns
from train_insteval import BOTTOM, DENSE, TIED_LAYERS, TOP, config, predict, tied_layers

COMPRESSIONS = (2, 4, 8)
ROBE_BLOCK = 16
MODELS = ["dense", *(f"{kind}-{c}" for kind in ("reference", "mixed", "lowrank", "narrow") for c in COMPRESSIONS),
          "robe-10", "robe-100"]
NOT_SETTINGS = ("data", "out", "models", "seeds", "threads", "device", "report")


def shapes(top_inputs):
    """Returns {name: (K, N)} of the linear layers."""
    result = {}
    for name, widths in (("bot_l", [len(DENSE), *BOTTOM]), ("top_l", [top_inputs, *TOP])):
        result.update({f"{name}.{2 * i}": shape for i, shape in enumerate(zip(widths, widths[1:]))})
    return result


def mlp_values(widths):
    return sum((K + 1) * N for K, N in zip(widths, widths[1:]))


def narrower(top_inputs, c):
    """Returns (bottom, top) widths whose MLPs hold as many values as those of SS1 with this c."""
    def scaled(share):
        return ([max(1, round(share * N)) for N in BOTTOM[:-1]] + BOTTOM[-1:],
                [max(1, round(share * N)) for N in TOP[:-1]] + TOP[-1:])

    def values(share):
        bottom, top = scaled(share)
        return mlp_values([len(DENSE), *bottom]) + mlp_values([top_inputs, *top])

    tied = [shapes(top_inputs)[name] for name in TIED_LAYERS]
    target = values(1) - sum(N * (K - stored_columns(K, c, 64)) for K, N in tied)
    return scaled(min(numpy.linspace(0.01, 1, 10000), key=lambda share: abs(values(share) - target)))


def low_rank(K, N, c):
    """Applies W = U V without forming it. x V has about the variance of x, so y starts with the variance of nn.Linear."""
    rank = max(1, round(N * stored_columns(K, c, 64) / (K + N)))
    v, u = torch.nn.Linear(K, rank, bias=False), torch.nn.Linear(rank, N)
    torch.nn.init.uniform_(v.weight, -(3 / K) ** 0.5, (3 / K) ** 0.5)
    return torch.nn.Sequential(v, u)


def build(name, columns, seed):
    """Returns the untrained model."""
    kind, _, number = name.partition("-")
    plain = config(columns)
    top_inputs = dlrm.interaction_width(plain)
    if kind in ("reference", "mixed"):
        return dlrm.DLRM({**plain, "ss1": tied_layers(kind, int(number), seed)})
    if kind == "narrow":
        bottom, top = narrower(top_inputs, int(number))
        return dlrm.DLRM({**plain, "bottom_mlp": [len(DENSE), *bottom], "top_mlp": top})
    if kind == "robe":
        values = plain["embedding_dim"] * sum(table["rows"] for table in plain["tables"])
        size = max(1, round(values / int(number) / ROBE_BLOCK)) * ROBE_BLOCK
        return dlrm.DLRM({**plain, "robe": {"size": size, "block": ROBE_BLOCK, "seed": seed}})
    model = dlrm.DLRM(plain)
    if kind == "lowrank":
        for layer in TIED_LAYERS:
            mlp, i = layer.split(".")
            getattr(model, mlp)[int(i)] = low_rank(*shapes(top_inputs)[layer], int(number))
    return model


class LibraryLinear(torch.nn.Module):
    """A trained layer run by ss1 with rounded weights."""

    def __init__(self, context, linear, weight_dtype):
        super().__init__()
        stored = {name: p.detach().numpy() for name, p in linear.named_parameters(recurse=False)}
        mapping = linear.mapping if isinstance(linear, Linear) else {}
        self.layer = ss1.Layer(context, stored.get("weight", stored.get("ss1_weight")), stored.get("bias"), K=linear.in_features,
                               weight_dtype=weight_dtype, u=stored.get("low_rank_up"), v=stored.get("low_rank_down"), **mapping)

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1]).contiguous().numpy()
        return torch.from_numpy(self.layer(rows)).reshape(*x.shape[:-1], -1)


def with_library_layers(module, context, weight_dtype):
    """Replaces each linear layer of the module, in place, by one that ss1 runs."""
    for name, child in module.named_children():
        linear = isinstance(child, (torch.nn.Linear, Linear))
        setattr(module, name, LibraryLinear(context, child, weight_dtype) if linear
                else with_library_layers(child, context, weight_dtype))
    return module


def test(model, columns, label, dtypes, context):
    """Returns {dtype: {auc, log_loss}} of the trained model on these rows."""
    result = {}
    for dtype in dtypes:
        rounded = model if dtype == "f32" else with_library_layers(copy.deepcopy(model), context, dtype)
        probability = predict(rounded, columns)
        result[dtype] = {"auc": auc(probability, label), "log_loss": log_loss(probability, label)}
    return result


def run(name, seed, columns, label, options, settings, context):
    """Train and test one model; returns the results as a dictionary."""
    begun = time.monotonic()
    torch.manual_seed(seed)
    used = numpy.arange(len(label))
    if options.rows:
        used = numpy.random.RandomState(seed).choice(used, options.rows, replace=False)
    parts = [torch.from_numpy(used[part]) for part in train_insteval.split(len(used), seed)]

    def log(line):
        print(f"{name} seed {seed}: {line}", flush=True)

    model = build(name, columns, seed).to(options.device)
    tables = sum(p.numel() for p in model.tables())
    values = {"tables": tables, "mlps": sum(p.numel() for p in model.parameters()) - tables}
    log(f"{values['mlps']} stored values in MLPs, {tables} in tables")
    model, epoch = train_insteval.train(model, columns.to(options.device), label.to(options.device), parts, options, log)
    model = model.cpu()
    tested = test(model, columns[parts[2]], label[parts[2]].numpy(), options.dtypes, context)
    log("  ".join(f"{dtype} AUC {got['auc']:.4f} log loss {got['log_loss']:.4f}" for dtype, got in tested.items()))
    return {"model": name, "seed": seed, "values": values, "kept_epoch": epoch, "test": tested, "settings": settings,
            "seconds": round(time.monotonic() - begun, 1), "device": device_name(options.device), "torch": torch.__version__}


def device_name(device):
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{platform.machine()} CPU"


def spread(values, sign=""):
    """Formats mean and standard deviation of a sample."""
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.4f}{deviation}"


def report(runs, dtypes, command):
    """Returns the Markdown text on {model: [a run for each seed]}."""
    first = next(iter(runs.values()))
    seeds = [run["seed"] for run in first]
    settings = ", ".join(f"{name} {value}" for name, value in first[0]["settings"].items()
                         if name != "dtypes" and (name, value) != ("rows", 0))
    titles = {"auc": "AUC", "log_loss": "log loss"}
    metrics = [(metric, titles[metric], dtype) for metric in titles for dtype in dtypes]
    columns = ["model", "values in MLPs", "in tables", *(f"{title} {DTYPES[dtype]}" for _, title, dtype in metrics)]
    if "dense" in runs:
        columns.append(f"AUC {DTYPES[dtypes[0]]} less dense's")
    lines = [
        "# Quality on InstEval", "",
        f"Made by `{command}` ({first[0]['device']}, PyTorch {first[0]['torch']}).", "",
        "The question is whether a student rates a lecture 4 or 5. 10 % of the ratings are held out for this test, and 10 % choose",
        f"the epoch. Values are mean ± standard deviation over the seeds {', '.join(map(str, seeds))}. Each seed also draws another split, so the",
        "last column, which compares models on the same split, says more than the spread of the other columns.", "",
        "- `reference-C`, `mixed-C`: SS1 with c = C in the three wide layers.",
        "- `lowrank-C`: these layers as products U V. `narrow-C`: narrower hidden layers. Both have as many values as SS1 with c = C.",
        f"- `robe-R`: all tables in one array that is R times smaller (ROBE-Z, Z = {ROBE_BLOCK}).",
        "- bf16 and int8 round the weights of all layers, int8 the inputs, too; ss1 runs these models. Tables stay f32.", "",
        "What the conversion of a trained model costs, without training: [quality-convert.md](quality-convert.md).", "",
        f"Settings, the same for all models: {settings}.", "",
        "| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for name, group in runs.items():
        cells = [name, *(f"{group[0]['values'][part]:,}" for part in ("mlps", "tables"))]
        cells += [spread([run["test"][dtype][metric] for run in group]) for metric, _, dtype in metrics]
        if "dense" in runs:
            pairs = zip(group, runs["dense"])
            aucs = [[run["test"][dtypes[0]]["auc"] for run in pair] for pair in pairs]
            cells.append(spread([auc - dense for auc, dense in aucs], "+"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  SS1_LIBRARY=$PWD/build/test/src/libss1.so python3 bindings/python/train/quality_insteval.py "
               "--out build/quality --report docs/quality.md")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the finished runs, one JSON file per run")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE.md",
                        help="write the table here and all runs to FILE.json beside it")
    parser.add_argument("--models", type=chosen(MODELS), default=MODELS, metavar="A,B,...", help="(default: all)")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3, 4, 5],
                        metavar="1,2,...", help="(default: 1,2,3,4,5)")
    parser.add_argument("--dtypes", type=chosen(DTYPES), default=list(DTYPES), metavar="A,B,...",
                        help="types of the weights to test (default: %(default)s); f32 needs no library")
    parser.add_argument("--device", default="cpu", help="PyTorch's device for training (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=0, help="use only this many random rows of the data set (default: all)")
    train_insteval.training_options(parser)
    return parser.parse_args()


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    # On CUDA the backward pass of a look-up adds in any order.
    torch.use_deterministic_algorithms(options.device == "cpu")
    settings = {name: value for name, value in vars(options).items() if name not in NOT_SETTINGS}
    context = None
    if options.dtypes != ["f32"]:
        context = ss1.Context(num_threads=options.threads)
    columns, label = (torch.from_numpy(array) for array in train_insteval.read(options.data))
    runs = {name: [] for name in options.models}
    for seed in options.seeds:  # all models of a seed first, so that a partial table compares fairly
        for name in options.models:
            path = options.out / f"{name}-seed{seed}.json"
            result = stored(path, settings)
            if result is None:
                result = run(name, seed, columns, label, options, settings, context)
                write(path, json.dumps(result, indent=1) + "\n")
            runs[name].append(result)
    if options.report:
        write(options.report, report(runs, options.dtypes, "python3 quality_insteval.py " + " ".join(sys.argv[1:])))
        write(options.report.with_suffix(".json"), json.dumps(sum(runs.values(), []), indent=1) + "\n")


if __name__ == "__main__":
    main()
