# SPDX-License-Identifier: Apache-2.0
"""Encoders of BERT's shapes with random weights, as Hugging Face directories without pooler; and their inputs."""
import csv
import pathlib
import shutil

import numpy

import files
from ss1 import model_dir, safetensors_io

# The number of mails of the SpamAssassin public corpus by their number of tokens: words of subject and text x 1.3, and 2 at the ends.
LENGTHS = pathlib.Path(__file__).resolve().parents[1] / "shapes/mail_lengths.csv"
MAILS = "mails"  # in place of a number of tokens: sequences as long as mails, padded to the longest of the batch
# Layers, width, heads.
SIZES = {"bert-base": (12, 768, 12), "bert-large": (24, 1024, 16), "bert-tiny": (2, 512, 8), "minilm-l6": (6, 384, 12),
         "bge-small": (12, 384, 12)}
# The encoder layers that the SS1 authors list for c = 8, counted from 0, as far as they exist.
LISTED = {"bert-base": (1, *range(7, 12)), "bert-large": (1, 6, 8, 9, *range(15, 24)), "bert-tiny": (1,)}


def config_of(name, options):
    layers, width, heads = SIZES[name]
    return {"model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30522, "hidden_size": width, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": 4 * width, "hidden_act": "gelu", "max_position_embeddings": 512,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, "position_embedding_type": "absolute"}


def widths(config):
    """{linear layer: inputs}"""
    width, result = config["hidden_size"], {}
    for i in range(config["num_hidden_layers"]):
        result.update({f"encoder.layer.{i}.{part}": width for part in ("attention.self.query", "attention.self.key", "attention.self.value",
                                                                      "attention.output.dense", "intermediate.dense")})
        result[f"encoder.layer.{i}.output.dense"] = config["intermediate_size"]
    return result


def random_tensors(config, random):
    width, tensors = config["hidden_size"], {}

    def normal(*shape):
        return random.standard_normal(shape, numpy.float32) * numpy.float32(0.02)

    def norm(name):
        tensors.update({f"{name}.weight": 1 + normal(width), f"{name}.bias": normal(width)})

    for name, rows in (("word", config["vocab_size"]), ("position", config["max_position_embeddings"]), ("token_type", 2)):
        tensors[f"embeddings.{name}_embeddings.weight"] = normal(rows, width)
    norm("embeddings.LayerNorm")
    for layer, inputs in widths(config).items():
        outputs = config["intermediate_size"] if "intermediate" in layer else width
        tensors.update({f"{layer}.weight": normal(outputs, inputs), f"{layer}.bias": normal(outputs)})
    for i in range(config["num_hidden_layers"]):
        norm(f"encoder.layer.{i}.attention.output.LayerNorm")
        norm(f"encoder.layer.{i}.output.LayerNorm")
    return tensors


def conversion(name, variant):
    """Arguments of `ss1 convert`."""
    if variant == "c=8 in half":
        return ["-c", "8", "--layers", ",".join(f"encoder.layer.{i}.*" for i in LISTED[name])]
    return ["-c", "4"]


def make(folder, ss1, config, variants):
    """{(variant, precision): model directory}; the precision is chosen when a model is loaded."""
    directories = {variant: folder / variant.replace("=", "").replace(" ", "-") for variant in variants}
    done = folder / "complete"
    if not done.exists() or done.read_text() != repr((config, variants)):
        shutil.rmtree(folder, ignore_errors=True)
        model_dir.save_config(directories["dense"], config)
        safetensors_io.write(directories["dense"] / "model.safetensors", random_tensors(config, numpy.random.default_rng(1)), {"format": "pt"})
        for variant in variants:
            if variant != "dense":
                files.convert(ss1, directories["dense"], directories[variant], *conversion(folder.name, variant))
        done.write_text(repr((config, variants)))
    return {(variant, dtype): directory for variant, directory in directories.items() for dtype in ("f32", "bf16", "int8")}


def mail_lengths(count, random):
    with open(LENGTHS, newline="") as file:
        rows = [(int(row["tokens"]), int(row["mails"])) for row in csv.DictReader(file)]
    tokens, mails = map(numpy.array, zip(*rows))
    return random.choice(tokens, size=count, p=mails / mails.sum())


def inputs(config, batch, tokens, count, seed=7):
    """`count` sets of inputs, as ss1 takes them; a mask only where sequences differ in length."""
    random, sets = numpy.random.default_rng([seed, batch]), []
    for _ in range(count):
        if tokens != MAILS:
            sets.append({"input_ids": random.integers(1, config["vocab_size"], (batch, tokens))})
            continue
        lengths = mail_lengths(batch, random)
        mask = (numpy.arange(lengths.max()) < lengths[:, None]).astype(numpy.int64)
        sets.append({"input_ids": random.integers(1, config["vocab_size"], mask.shape) * mask, "attention_mask": mask})
    return sets


def head(inputs, rows):
    return {name: array[:rows] for name, array in inputs.items()}
