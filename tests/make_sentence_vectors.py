#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make data/sentence/<case>: the modules of sentence-transformers around the BERTs of data/bert_*, and what they give.

A case is a directory without its transformer: the test puts data/<body> into the folder that modules.json names.
vectors.safetensors has the inputs and sentence_embedding, computed in float64 from the last_hidden_state of the body's vectors by
the formulas of sentence-transformers' documentation.
"""
import json
import pathlib
import sys

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bindings/python"))
from ss1 import safetensors_io

ACTIVATIONS = {"Identity": lambda x: x, "Tanh": numpy.tanh, "ReLU": lambda x: numpy.maximum(x, 0),
               "Sigmoid": lambda x: 1 / (1 + numpy.exp(-x)), "SiLU": lambda x: x / (1 + numpy.exp(-x))}
OLD_KEYS = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
            "weightedmean": "weightedmean_tokens", "lasttoken": "lasttoken"}


def pool(mode, state, seen):
    """One vector of the rows of state [T, H] that `seen` lists."""
    rows, positions = state[seen], numpy.array(seen) + 1
    return {"cls": lambda: rows[0], "max": lambda: rows.max(0), "mean": lambda: rows.sum(0) / len(rows),
            "mean_sqrt_len_tokens": lambda: rows.sum(0) / numpy.sqrt(len(rows)),
            "weightedmean": lambda: (rows * positions[:, None]).sum(0) / positions.sum(),
            "lasttoken": lambda: rows[-1]}[mode]()


def old_pooling(width, mode):
    return {"word_embedding_dimension": width, **{f"pooling_mode_{key}": name == mode for name, key in OLD_KEYS.items()}}


def normalize(x):
    return x / numpy.maximum(numpy.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def dense(random, inputs, outputs, activation, bias=True):
    tensors = {"linear.weight": random.standard_normal((outputs, inputs)).astype(numpy.float32) / numpy.float32(numpy.sqrt(inputs))}
    if bias:
        tensors["linear.bias"] = random.standard_normal(outputs).astype(numpy.float32) / 4
    config = {"in_features": inputs, "out_features": outputs, "bias": bias,
              "activation_function": f"torch.nn.modules.activation.{activation}"}

    def run(x):
        return ACTIVATIONS[activation](x @ tensors["linear.weight"].astype(float).T + tensors.get("linear.bias", numpy.float32(0)))
    return "Dense", config, tensors, run


def layer_norm(random, width):
    tensors = {"norm.weight": 1 + random.standard_normal(width).astype(numpy.float32) / 4,
               "norm.bias": random.standard_normal(width).astype(numpy.float32) / 4}

    def run(x):
        centred = x - x.mean(1, keepdims=True)
        return centred / numpy.sqrt((centred ** 2).mean(1, keepdims=True) + 1e-5) * tensors["norm.weight"] + tensors["norm.bias"]
    return "LayerNorm", {"dimension": width}, tensors, run


NORMALIZE = "Normalize", None, None, normalize

# name: (body, folder of the transformer, class path of a module by its name, pooling config, modules, settings, tokens of prompts)
OLD, NEW = "sentence_transformers.models.{}", "sentence_transformers.sentence_transformer.modules.{0}.{0}"
ALL = ["lasttoken", "cls", "mean", "weightedmean", "max", "mean_sqrt_len_tokens"]
random = numpy.random.default_rng(20)
CASES = {
    "mean": ("bert_classifier", "", OLD, old_pooling(64, "mean"), [NORMALIZE], {}, None),
    "all_modes": ("bert_distil", "0_Transformer", NEW, {"embedding_dimension": 32, "pooling_mode": ALL, "include_prompt": False},
                  [], {"similarity_fn_name": "dot"}, [3, 0]),
    "modules": ("bert_all_positions", "", OLD, old_pooling(32, "cls"),
                [dense(random, 32, 40, "Tanh"), layer_norm(random, 40), dense(random, 40, 24, "Identity", bias=False), NORMALIZE],
                {"truncate_dim": 16, "prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"}, None),
    "splade": ("bert_words", "", "sentence_transformers.sparse_encoder.models.{}",
               {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": None}, [], {}, None),
    "splade_sum": ("bert_distil_words", "", "sentence_transformers.sparse_encoder.modules.splade_pooling.{}",
                   {"pooling_strategy": "sum", "activation_function": "log1p_relu", "embedding_dimension": 40}, [],
                   {"similarity_fn_name": "dot"}, None),
    "words": ("bert_words", "", NEW, {"embedding_dimension": 32, "pooling_mode": "max"}, [], {}, None),
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def make(name):
    body, transformer, path_of, pooling, modules, settings, prompts = CASES[name]
    folder = HERE / "data/sentence" / name
    given = safetensors_io.read(HERE / "data" / body / "vectors.safetensors")
    splade = "pooling_strategy" in pooling
    states = given["logits" if splade else "last_hidden_state"].astype(float)
    mask = given.get("attention_mask", numpy.ones(states.shape[:2], int))
    modes = [] if splade else pooling.get("pooling_mode") or [mode for mode, key in OLD_KEYS.items() if pooling[f"pooling_mode_{key}"]]
    modes = [modes] if isinstance(modes, str) else modes
    if splade:
        states = numpy.log1p(numpy.maximum(states, 0))
        states = numpy.log1p(states) if pooling["activation_function"] == "log1p_relu" else states
    rows = []
    for s, state in enumerate(states):
        seen = numpy.flatnonzero(mask[s])
        seen = [t for t in seen if t >= seen[0] + (prompts[s] if prompts else 0)]
        if splade:
            rows.append(getattr(state[seen], pooling["pooling_strategy"])(0))
            continue
        rows.append(numpy.concatenate([pool(mode, state, seen) for mode in modes]))
    x = numpy.array(rows)
    first, second = ("MLMTransformer", "SpladePooling") if splade else ("Transformer", "Pooling")
    listed = [{"idx": 0, "name": "0", "path": transformer, "type": path_of.format(first)},
              {"idx": 1, "name": "1", "path": "1_Pooling", "type": path_of.format(second)}]
    write_json(folder / "1_Pooling/config.json", pooling)
    for i, (kind, config, tensors, run) in enumerate(modules, 2):
        listed.append({"idx": i, "name": str(i), "path": f"{i}_{kind}", "type": path_of.format(kind)})
        if config is not None:
            write_json(folder / f"{i}_{kind}/config.json", config)
            safetensors_io.write(folder / f"{i}_{kind}/model.safetensors", tensors)
        x = run(x)
    if "truncate_dim" in settings:
        x = x[:, :settings["truncate_dim"]]
        x = normalize(x) if modules and modules[-1] is NORMALIZE else x
    write_json(folder / "modules.json", listed)
    if settings:
        write_json(folder / "config_sentence_transformers.json", settings)
    inputs = {key: given[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in given}
    if prompts:
        inputs["prompt_tokens"] = numpy.array(prompts)
    safetensors_io.write(folder / "vectors.safetensors", {**inputs, "sentence_embedding": x.astype(numpy.float32)})


def make_static(random):
    """StaticEmbedding has no transformer: the mean of the rows of a table."""
    folder = HERE / "data/sentence/static"
    table = random.standard_normal((17, 12)).astype(numpy.float32)
    ids, mask = random.integers(0, 17, (3, 9)), numpy.arange(9) < numpy.array([[9], [4], [1]])
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": ".", "type": OLD.format("StaticEmbedding")},
                                         {"idx": 1, "name": "1", "path": "1_Normalize", "type": OLD.format("Normalize")}])
    safetensors_io.write(folder / "model.safetensors", {"embedding.weight": table})
    rows = numpy.array([table[row[seen]].astype(float).mean(0) for row, seen in zip(ids, mask)])
    safetensors_io.write(folder / "vectors.safetensors", {"input_ids": ids, "attention_mask": mask.astype(numpy.int64),
                                                          "sentence_embedding": normalize(rows).astype(numpy.float32)})


if __name__ == "__main__":
    for case in CASES:
        make(case)
    make_static(numpy.random.default_rng(21))
