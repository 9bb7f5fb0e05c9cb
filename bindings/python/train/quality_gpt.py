# SPDX-License-Identifier: Apache-2.0
"""Train a byte-level GPT, convert it to SS1 and low-rank layers at several budgets, fine-tune, and print bits per byte.

The model: 6 layers, 512 wide, 8 heads, a context of 256 bytes; all 24 linear layers of its blocks are replaced. Kinds:

    mean      SS1 whose weights are the means of those they replace (without calibration)
    tied      SS1 fitted to calibration rows
    low rank  fitted to calibration rows
    both      SS1 with twice the compression, and low rank for the rest
    choice    what ss1.torch.convert takes for a budget of the whole model

Parts:

    converted each kind, also after a short and after a long fine-tuning
    start     trained from the start: SS1, low rank (three initialisations) and a dense model of smaller width; start and learning
              rate are those that were best at 1/4 with the first seed
    types     each kind as converted, in f32 and by libss1 ($SS1_LIBRARY, or ss1 installed) in bf16 and int8: the weights of all
              layers of the blocks, int8 their inputs, too; embeddings and attention stay f32

A run is one line of OUT/results.jsonl; a command that is repeated continues. Needs PyTorch 2.
"""
import argparse
import contextlib
import copy
import lzma
import math
import os
import pathlib
import statistics
import sys
import time
import warnings

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import ss1.torch
from jobs import check_settings, work
from quality_convert import equal_bytes_table, synergy_table
from quality_insteval import with_library_layers
from results import DTYPES, cell, chosen, table
from ss1._output import output

CONTEXT, BATCH, PIECE = 256, 32, 1 << 15
BUDGETS = {"1/2": 0.5, "1/4": 0.25, "1/8": 0.125}
KINDS = ("mean", "tied", "low rank", "both", "choice")
PARTS = ("converted", "start", "types")
RATES = {"SS1": (1e-3, 2e-3), "low": (5e-4, 1e-3), "narrow": (1e-3, 2e-3)}
STARTS = ("SS1", "low rank uniform", "low rank spectral", "low rank orthogonal", "narrow")


class Block(torch.nn.Module):
    def __init__(self, width, heads, linear):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.proj = linear(width, 3 * width), linear(width, width)
        self.up, self.down = linear(width, 4 * width), linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (a.transpose(1, 2) for a in self.qkv(self.norm_1(x)).view(b, t, 3, self.heads, d // self.heads).unbind(2))
        a = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm_2(x))))


class GPT(torch.nn.Module):
    def __init__(self, width=512, layers=6, heads=8, linear=torch.nn.Linear):
        super().__init__()
        self.byte, self.place = torch.nn.Embedding(256, width), torch.nn.Embedding(CONTEXT, width)
        self.blocks = torch.nn.ModuleList(Block(width, heads, linear) for _ in range(layers))
        self.norm = torch.nn.LayerNorm(width)
        for embedding in (self.byte, self.place):
            torch.nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, ids):
        x = self.byte(ids) + self.place.weight[:ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return torch.nn.functional.linear(self.norm(x), self.byte.weight)  # the embeddings are the output layer, too


class Text:
    """Windows of CONTEXT + 1 bytes; of the text's pieces every 32nd is never trained on."""

    def __init__(self, path, device):
        data = pathlib.Path(path).read_bytes()
        data = lzma.decompress(data) if str(path).endswith(".xz") else data
        if len(data) < 32 * PIECE:
            raise SystemExit(f"--text {path}: has {len(data)} bytes, must have at least {32 * PIECE}")
        pieces = numpy.frombuffer(data, numpy.uint8)[:len(data) // (32 * PIECE) * 32 * PIECE].reshape(-1, 32, PIECE)
        self.train, self.held_out = (torch.from_numpy(part.reshape(-1).copy()).to(device) for part in (pieces[:, :31], pieces[:, 31]))

    def batch(self, generator, size=BATCH):
        at = torch.randint(len(self.train) - CONTEXT - 1, (size,), generator=generator).to(self.train.device)
        rows = self.train[at[:, None] + torch.arange(CONTEXT + 1, device=at.device)].long()
        return rows[:, :-1], rows[:, 1:]


def autocast(device):
    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else contextlib.nullcontext()


def loss_of(model, ids, targets):
    return torch.nn.functional.cross_entropy(model(ids).float().flatten(0, 1), targets.flatten())


@torch.no_grad()
def bits(model, text):
    """Bits per byte of the held-out text."""
    model.eval()
    windows = text.held_out[:len(text.held_out) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1).long()
    total = sum(loss_of(model, rows[:, :-1], rows[:, 1:]).item() * len(rows) for rows in windows.split(256))
    return total / len(windows) / math.log(2)


def train(model, text, steps, lr, seed, device):
    """AdamW; the rate rises for 50 steps (at most a tenth) and falls to 0 as a cosine."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.01)
    generator, warm = torch.Generator().manual_seed(seed), min(50, steps // 10) + 1
    for step in range(steps):
        rate = min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        with autocast(device):
            loss = loss_of(model, *text.batch(generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def shape_of(budget, K, N):
    """The options of ss1.torch.Linear for each kind at a budget."""
    def rank(share):
        found = int(share * K * N / (K + N))
        return found // 16 * 16 or found

    def tied(c):
        return {"c": c, "block_k": min(64, K // c)}

    c = round(1 / budget)
    return {"tied": tied(c), "mean": tied(c), "SS1": tied(c), "low rank": {"c": 0, "rank": rank(budget)},
            "both": {**tied(2 * c), "rank": rank(budget / 2)}}


def initialise(layer, how):
    """Low-rank weights that start as: those of ss1.torch.Linear, the best approximation of a dense start, orthogonal ones."""
    rank, K = layer.low_rank_down.shape
    if how == "spectral":
        dense = torch.empty(layer.out_features, K).uniform_(-1, 1) / math.sqrt(K)
        u, s, v = torch.linalg.svd(dense, full_matrices=False)
        up, down = u[:, :rank] * s[:rank].sqrt(), s[:rank, None].sqrt() * v[:rank]
    elif how == "orthogonal":
        up = torch.nn.init.orthogonal_(torch.empty(layer.out_features, rank), gain=math.sqrt(layer.out_features / rank / 3))
        down = torch.nn.init.orthogonal_(torch.empty(rank, K))
    else:
        return layer
    layer.low_rank_up.data.copy_(up)
    layer.low_rank_down.data.copy_(down)
    return layer


def make_start(kind, budget):
    """A GPT to be trained from the start."""
    if kind == "narrow":
        return GPT(width=int(512 * math.sqrt(budget)) // 8 * 8)

    def linear(K, N):
        name = "SS1" if kind == "SS1" else "low rank"
        layer = ss1.torch.Linear(K, N, **shape_of(budget, K, N)[name])
        return layer if kind == "SS1" else initialise(layer, kind.split()[-1])
    return GPT(linear=linear)


def convert(model, kind, budget, text, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    batches = [text.batch(generator)[0] for _ in range(16)]  # 131,072 rows
    if kind == "choice":
        return ss1.torch.convert(model, budget, batches, seed=seed)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    spec = {name: shape_of(budget, m.in_features, m.out_features)[kind] for name, m in layers.items()}
    return ss1.torch.convert(model, spec, None if kind == "mean" else batches, seed=seed)


def compare(want, found, targets):
    """What log probabilities [n, 256] lose; error: the variance of their change, as a share of their own."""
    bits = -found.gather(1, targets[:, None]).mean().item() / math.log(2)
    return {"bits": bits, "kl": (want.exp() * (want - found)).sum(1).mean().item(),
            "error": ((found - want).var(1).mean() / want.var(1).mean()).item()}


@torch.no_grad()
def in_types(model, dense, text, options):
    """{type: compare()} of the model beside the dense one in f32, on some windows of the held-out text."""
    rows = len(text.held_out) // (CONTEXT + 1)
    at = torch.linspace(0, rows - 1, min(options.windows, rows)).long().to(text.held_out.device)
    windows = text.held_out[:rows * (CONTEXT + 1)].view(rows, -1)[at].long()
    ids, targets = windows[:, :-1], windows[:, 1:].flatten().cpu()

    def answers(module, ids):
        found = [module.eval()(part).float().log_softmax(-1).double().cpu() for part in ids.split(32)]
        return torch.cat(found).flatten(0, 1)

    want, context = answers(dense, ids), ss1.Context(num_threads=1)
    result = {"f32": compare(want, answers(model, ids), targets)}
    for dtype in ("bf16", "i8"):
        rounded = copy.deepcopy(model).cpu()
        with_library_layers(rounded.blocks, context, dtype)
        result[dtype] = compare(want, answers(rounded, ids.cpu()), targets)
    return result


def run(task, options):
    """One line of the results: what task = (what, kind, budget, seed, lr) gives."""
    what, kind, name, seed, lr = task
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    warnings.filterwarnings("ignore", "without calibration")
    device, budget, start = options.device, BUDGETS.get(name), time.time()
    if device == "cuda":  # processes take turns on the devices
        device = f"cuda:{os.getpid() % torch.cuda.device_count()}"
        torch.cuda.set_device(device)
    text, dense = Text(options.text, device), options.out / f"dense-{seed}.pt"
    result = dict(zip(("what", "kind", "budget", "seed", "lr"), task))
    if what == "dense":
        model = train(GPT().to(device), text, options.steps, lr, seed, device)
        with output(dense) as file:
            torch.save(model.state_dict(), file)
    elif what == "start":
        model = train(make_start(kind, budget).to(device), text, options.start, lr, seed, device)
    else:
        original = GPT().to(device)
        original.load_state_dict(torch.load(dense, map_location=device))
        if what == "types":
            model = original if kind == "dense" else convert(original, kind, budget, text, seed)[0]
            return {**result, "types": in_types(model, original, text, options), "seconds": round(time.time() - start, 1)}
        model, report = convert(original, kind, budget, text, seed)
        result["layers"] = [[r.name, r.c, r.rank, round(r.share, 4), round(r.error, 5)] for r in report]
        result["converted"], state = bits(model, text), {key: value.clone() for key, value in model.state_dict().items()}
        result["short"] = bits(train(model, text, options.short, lr, seed + 100, device), text)
        model.load_state_dict(state)
        train(model, text, options.long, lr, seed + 200, device)
    return {**result, "bits": bits(model, text), "seconds": round(time.time() - start, 1)}


def best_start(results, kind, budget, seed):
    """The line of the better learning rate, None if there is none."""
    found = [line for task, line in results.lines.items() if task[:4] == ("start", kind, budget, seed)]
    return min(found, key=lambda line: line["bits"], default=None)


def tasks_after(done, results, options):
    """The tasks that the line `done` makes possible; None: those at the start."""
    first = options.seeds[0]
    if done is None:
        dense = [("dense", "dense", "1", seed, 1e-3) for seed in options.seeds]
        starts = [("start", kind, "1/4", first, lr) for kind in STARTS for lr in RATES[kind.split()[0]]]
        return dense + (starts if "start" in options.parts else [])
    if done["what"] == "dense":
        forms = [(kind, budget) for budget in BUDGETS for kind in KINDS]
        forms = {"converted": forms, "types": [("dense", "1"), *forms]}
        return [(part, *form, done["seed"], 3e-4) for part in forms if part in options.parts for form in forms[part]]
    if done["what"] == "start" and (done["budget"], done["seed"]) == ("1/4", first):
        kind = done["kind"].split()[0]
        starts = [start for start in STARTS if start.split()[0] == kind]
        tried = [results.lines.get(("start", start, "1/4", first, lr)) for start in starts for lr in RATES[kind]]
        if all(tried):
            best = min(tried, key=lambda line: line["bits"])
            where = [(budget, first) for budget in BUDGETS] + [("1/4", seed) for seed in options.seeds]
            return [("start", best["kind"], budget, seed, best["lr"]) for budget, seed in where if (budget, seed) != ("1/4", first)]
    return []


def types_report(results, options):
    """Markdown: bits and KL in each type; errors of the form, of int8 and of both; KL at equal bytes. Means over the seeds."""
    found = {}
    for kind, budget in [("dense", "1"), *((kind, budget) for budget in BUDGETS for kind in KINDS)]:
        lines = [results.lines.get(("types", kind, budget, seed, 3e-4)) for seed in options.seeds]
        if all(lines):
            name = "dense" if kind == "dense" else f"{kind.split()[-1]}-{budget[2:]}"
            found[name] = {dtype: {measure: statistics.mean(line["types"][dtype][measure] for line in lines)
                                   for measure in ("bits", "kl", "error")} for dtype in DTYPES}
    titles = [f"{title} {name}" for title in ("bits", "KL") for name in DTYPES.values()]
    print("\n" + table(["layers", *titles], [[name, *(f"{types[dtype]['bits']:.3f}" for dtype in DTYPES),
                                             *(f"{types[dtype]['kl']:.2g}" for dtype in DTYPES)] for name, types in found.items()]))
    if "dense" in found:
        print(synergy_table(found) + "\n" + equal_bytes_table(found))


def report(results, options):
    """Markdown: mean bits per byte over the seeds, and half of the range."""
    lines = results.lines
    print("\ndense:", cell([lines.get(("dense", "dense", "1", s, 1e-3), {}).get("bits") for s in options.seeds]))
    stages = (("converted", "as converted"), ("short", f"after {options.short} steps"), ("bits", f"after {options.long} steps"))
    for key, title in stages if "converted" in options.parts else ():
        print(f"\n| {title} | " + " | ".join(KINDS) + " |\n|---" + "|---" * len(KINDS) + "|")
        for budget in BUDGETS:
            row = [cell([lines.get(("converted", kind, budget, s, 3e-4), {}).get(key) for s in options.seeds]) for kind in KINDS]
            print(f"| {budget} | " + " | ".join(row) + " |")
    if "types" in options.parts:
        types_report(results, options)
    if "start" not in options.parts:
        return
    print("\n| from the start | " + " | ".join(STARTS) + " |\n|---" + "|---" * len(STARTS) + "|")
    for budget in BUDGETS:
        row = []
        for kind in STARTS:
            best = [best_start(results, kind, budget, s) for s in options.seeds]
            row.append(cell([line and line["bits"] for line in best]))
        print(f"| {budget} | " + " | ".join(row) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example:\n  python3 quality_gpt.py --text corpus.txt.xz --out gpt --jobs 12")
    parser.add_argument("--text", type=pathlib.Path, required=True, help="what to learn, by collect_text.py; .xz is decompressed")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for models and results")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0, 1, 2], help="default: 0,1,2")
    parser.add_argument("--steps", type=int, default=4000, help="training of the dense model (default: %(default)s)")
    parser.add_argument("--short", type=int, default=200, help="short fine-tuning (default: %(default)s)")
    parser.add_argument("--long", type=int, default=500, help="long fine-tuning (default: %(default)s)")
    parser.add_argument("--start", type=int, default=1500, help="training from the start (default: %(default)s)")
    parser.add_argument("--parts", type=chosen(PARTS), default=["converted", "start"], metavar="A,B,...", help="default: converted,start")
    parser.add_argument("--windows", type=int, default=128, help="sequences of a test of types (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=8, help="processes that share the device (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    options = parser.parse_args()
    settings = {key: getattr(options, key) for key in ("steps", "short", "long", "start", "windows")}
    check_settings(options.out, {"text_bytes": options.text.stat().st_size, **settings})
    results, failures = work(options, run, tasks_after)
    report(results, options)
    sys.exit(f"{failures} runs failed" if failures else 0)


if __name__ == "__main__":
    main()
