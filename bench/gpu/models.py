#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times whole BERTs on a GPU: ss1's CUDA backend beside PyTorch, eager and by torch.compile with CUDA graphs, all in bf16 with
random weights. A call takes ids from host memory and ends when the pooled vectors are in host memory. Contenders take turns.

Example: SS1_LIBRARY=build/cuda/src/libss1.so SS1_BACKEND_PATH=build/cuda/cuda bench/gpu/models.py --shapes base,1,128 --c 1 4
"""
import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "models"))
import bert_files
import ss1


def config_of(size, c):
    """config.json of a BERT whose encoder layers are all tied with c, or dense."""
    config = bert_files.config_of(f"bert-{size}", None)
    if c > 1:
        tied = {"kind": "ss1", "c": c, "scheme": "reference", "seed": 1, "block_k": 64, "block_n": 256, "step": 8}
        config["ss1"] = {"layers": {name: tied for name in bert_files.widths(config)}}
    return config


def ss1_contender(context, size, c, ids, dtype):
    config = config_of(size, c)
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        model = ss1.Model(context, folder, random_weights=True, weight_dtype=dtype)
    session = ss1.Session(model, max_batch=len(ids), max_tokens=ids.shape[1])
    outputs = {"pooled": numpy.empty((len(ids), config["hidden_size"]), numpy.float32)}
    return lambda: session.run({"input_ids": ids}, outputs)


def torch_contender(size, ids, compiled):
    import torch
    import transformers
    config = transformers.BertConfig(**{key: value for key, value in config_of(size, 1).items() if key != "architectures"},
                                     attn_implementation="sdpa")
    torch.manual_seed(1)
    model = transformers.BertModel(config).to("cuda", torch.bfloat16).eval()
    if compiled:
        model = torch.compile(model, mode="reduce-overhead")
    pinned = torch.from_numpy(ids).pin_memory()

    def call():
        with torch.inference_mode():
            return model(input_ids=pinned.to("cuda", non_blocking=True)).pooler_output.float().cpu()
    return call


def milliseconds(contenders, seconds):
    """The median time of each contender, which take turns for so long."""
    for call in contenders.values():
        for _ in range(5):
            call()
    times = {name: [] for name in contenders}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 20:
        for name, call in contenders.items():
            for _ in range(3):  # the first runs may follow another one's cold caches
                begin = time.perf_counter()
                call()
                times[name].append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=["base,1,128", "base,8,128", "base,32,384", "large,128,128"],
                        help="size,batch,tokens of each table row")
    parser.add_argument("--c", type=int, nargs="*", default=[1, 4, 8], help="1: dense")
    parser.add_argument("--dtype", default="bf16", help="of ss1's weights")
    parser.add_argument("--seconds", type=float, default=3, help="for each shape")
    parser.add_argument("--no-torch", action="store_true", help="ss1 alone")
    options = parser.parse_args()
    context = ss1.Context(backend="cuda")
    random = numpy.random.default_rng(1)
    for shape in options.shapes:
        size, batch, tokens = shape.split(",")
        ids = random.integers(0, 30522, (int(batch), int(tokens)), numpy.int64)
        contenders = {f"ss1 c={c}" if c > 1 else "ss1 dense": ss1_contender(context, size, c, ids, options.dtype) for c in options.c}
        if not options.no_torch:
            contenders |= {"eager": torch_contender(size, ids, False), "compiled": torch_contender(size, ids, True)}
        result = milliseconds(contenders, options.seconds)
        print(f"{shape}: " + ", ".join(f"{name} {ms:.3f} ms" for name, ms in result.items()), flush=True)


if __name__ == "__main__":
    main()
