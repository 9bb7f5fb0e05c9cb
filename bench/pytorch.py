#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time whole models in PyTorch on the CPU, dense beside ss1.torch at budgets 1/4 and 1/8: GPT-2, a Llama, an MLP-Mixer.

Weights are random: times depend on shapes alone. GPT-2 and Llama are those of transformers if it is installed, else blocks of the
same linear layers without attention between them. Contenders take turns; the median of each is printed.
Dense times mean something only if PyTorch multiplies by OpenBLAS or MKL: Debian's package may use the slow reference BLAS.

Usage: SS1_LIBRARY=build/test/src/libss1.so python3 bench/pytorch.py --threads 8 [--json FILE]
"""
import argparse
import copy
import json
import pathlib
import statistics
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bindings/python"))
import ss1.torch
from ss1.torch.convert import candidates, dense_weight, find_layers

BUDGETS = {"1/4": 0.25, "1/8": 0.125}
KINDS = {"tied": lambda o: o["c"] and not o.get("rank"), "low rank": lambda o: not o["c"], "both": lambda o: o["c"] and o.get("rank")}


class Stack(torch.nn.Module):
    """Blocks of linear layers (K, N), one after the other, each block's result added to its input."""

    def __init__(self, blocks, shapes):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.ModuleList(torch.nn.Linear(K, N) for K, N in shapes) for _ in range(blocks))

    def forward(self, x):
        for block in self.blocks:
            h = x
            for layer in block:
                h = torch.nn.functional.gelu(layer(h[..., :layer.in_features]))
            x = x + h
        return x


class Mixer(torch.nn.Module):
    """Mixer-B/16's blocks on [B, 196, 768] (Tolstikhin et al., 2021)."""

    def __init__(self, blocks=12, tokens=196, width=768):
        super().__init__()
        mlp = lambda K, N: torch.nn.Sequential(torch.nn.Linear(K, N), torch.nn.GELU(), torch.nn.Linear(N, K))
        self.blocks = torch.nn.ModuleList(torch.nn.ModuleList([torch.nn.LayerNorm(width), mlp(tokens, 384), torch.nn.LayerNorm(width),
                                                               mlp(width, 3072)]) for _ in range(blocks))

    def forward(self, x):
        for norm_1, tokens, norm_2, channels in self.blocks:
            x = x + tokens(norm_1(x).transpose(1, 2)).transpose(1, 2)
            x = x + channels(norm_2(x))
        return x


def models(tokens):
    """{name: (model, its input)}"""
    ids = torch.randint(0, 1000, (1, tokens))
    result = {"MLP-Mixer B/16": (Mixer(), torch.randn(1, 196, 768))}
    try:
        import transformers
        llama = transformers.LlamaConfig(hidden_size=1024, num_hidden_layers=8, num_attention_heads=16, intermediate_size=3584,
                                         vocab_size=1000)
        return {"GPT-2": (transformers.GPT2LMHeadModel(transformers.GPT2Config()), ids),
                "Llama 8 x 1024": (transformers.LlamaForCausalLM(llama), ids), **result}
    except ImportError:
        gpt2 = Stack(12, [(768, 2304), (768, 768), (768, 3072), (3072, 768)])
        llama = Stack(8, [(1024, 3072), (1024, 1024), (1024, 7168), (3584, 1024)])
        return {"GPT-2's layers": (gpt2, torch.randn(1, tokens, 768)),
                "Llama's layers, 8 x 1024": (llama, torch.randn(1, tokens, 1024)), **result}


def structured(model, budget, kind):
    """A copy with untrained layers of this kind wherever the budget has room for one."""
    layers, refused = find_layers(model)
    memo = {}
    for name, module in layers.items():
        N, K = dense_weight(module).shape
        options = next((o for o in candidates(budget, K, N) if KINDS[kind](o)), None)
        if name not in refused and options and min(K, N) >= 64:
            memo[id(module)] = ss1.torch.Linear(K, N, module.bias is not None, **options)
    count = len(memo)  # deepcopy() adds to it
    return copy.deepcopy(model, memo), count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tokens", type=int, default=128, help="tokens of a sequence (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each contender (default: %(default)s)")
    parser.add_argument("--json", type=pathlib.Path, help="also write the medians in milliseconds to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    results = {"torch": torch.__version__, "threads": options.threads, "tokens": options.tokens, "ms": {}}
    with torch.no_grad():
        for name, (model, x) in models(options.tokens).items():
            contenders = {"dense": model.eval()}
            for budget, share in BUDGETS.items():
                for kind in KINDS:
                    contenders[f"{budget} {kind}"], count = structured(model, share, kind)
            times = {key: [] for key in contenders}
            for run in range(options.runs + 2):
                for key, contender in contenders.items():
                    begin = time.perf_counter()
                    contender(x)
                    if run >= 2:
                        times[key].append(1e3 * (time.perf_counter() - begin))
            medians = results["ms"][name] = {key: statistics.median(values) for key, values in times.items()}
            print(f"{name}: {count} layers replaced, {options.threads} threads")
            for key, median in medians.items():
                print(f"  {key:14} {median:9.2f} ms  {medians['dense'] / median:5.2f} x")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
