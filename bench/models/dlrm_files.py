# SPDX-License-Identifier: Apache-2.0
"""The DLRMs of MLPerf inference: v1 (dot products, one index a bag) and v2 (DCNv2, many), with random weights; and their inputs."""
import shutil

import numpy

import files
from ss1 import model_dir, safetensors_io

# Rows of the tables for Criteo Terabyte, before they are capped (MLPerf inference v1).
ROWS = (39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10, 2208, 11938, 155, 4, 976, 14,
        39979771, 25641295, 39664984, 585935, 12972, 108, 36)
# Indices of each table's bag in v2.
HOTNESS = (3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1)
DTYPES = ("f32", "bf16", "int8")  # of the tables in a model of this precision
# Arguments of `ss1 convert`, which picks the layers.
CONVERSIONS = {"c=2": ["-c", "2"], "c=4": ["-c", "4"], "c=8": ["-c", "8"], "c=4 reference": ["-c", "4", "--scheme", "reference"]}


def config_of(name, options, d=128, bottom=(512, 256), top=(1024, 1024, 512, 256)):
    config = {"model_type": "dlrm", "dense_features": [f"dense{i}" for i in range(13)], "embedding_dim": d,
              "tables": [{"name": f"table{k}", "rows": min(rows, options.rows)} for k, rows in enumerate(ROWS)],
              "bottom_mlp": [13, *bottom, d], "top_mlp": [*top, 1], "interaction": "dot"}
    if name == "dlrm-v2":
        config.update(interaction="dcn", cross_layers=3, cross_rank=512)
    return config


def interaction_width(config):
    vectors = len(config["tables"]) + 1
    if config["interaction"] == "dcn":
        return vectors * config["embedding_dim"]
    return config["embedding_dim"] + vectors * (vectors - 1) // 2


def widths(config):
    """{linear layer: inputs}"""
    result = {f"bot_l.{2 * i}": width for i, width in enumerate(config["bottom_mlp"][:-1])}
    result.update({f"top_l.{2 * i}": width for i, width in enumerate([interaction_width(config), *config["top_mlp"][:-1]])})
    for i in range(config.get("cross_layers", 0)):
        result.update({f"cross_net.{i}.v": interaction_width(config), f"cross_net.{i}.w": config["cross_rank"]})
    return result


def random_layers(config, random):
    """He's initialisation, so that values keep their size and probabilities differ from 1/2."""
    def matrix(outputs, inputs, scale=2.0):
        return random.standard_normal((outputs, inputs), numpy.float32) * numpy.float32((scale / inputs)**0.5)

    tensors = {}
    for mlp, sizes in (("bot_l", config["bottom_mlp"]), ("top_l", [interaction_width(config), *config["top_mlp"]])):
        for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
            tensors[f"{mlp}.{2 * i}.weight"] = matrix(outputs, inputs)
            tensors[f"{mlp}.{2 * i}.bias"] = random.standard_normal(outputs, numpy.float32) * numpy.float32(0.1)
    width = interaction_width(config)
    for i in range(config.get("cross_layers", 0)):
        tensors[f"cross_net.{i}.v.weight"] = matrix(config["cross_rank"], width, 1)
        tensors[f"cross_net.{i}.w.weight"] = matrix(width, config["cross_rank"], 1)
        tensors[f"cross_net.{i}.w.bias"] = numpy.zeros(width, numpy.float32)
    return tensors


def tables_of(tensors):
    return {name: array for name, array in tensors.items() if name.startswith("emb_l")}


def make_layers(folder, ss1, config, variants, random):
    """{variant: (its config, shard of its linear layers)}, converted beside tables of one row: the real ones are the same for all."""
    small = {**config, "tables": [{**table, "rows": 1} for table in config["tables"]]}
    one_row = {f"emb_l.{k}.weight": numpy.zeros((1, config["embedding_dim"])) for k in range(len(config["tables"]))}
    model_dir.save(folder / "small", small, {**random_layers(config, random), **one_row})
    result = {}
    for variant in variants:
        source = folder / "small"
        if variant != "dense":
            source = folder / f"small {variant}"
            files.convert(ss1, folder / "small", source, *CONVERSIONS[variant])
        converted, tensors = model_dir.load(source)
        for name in [name for name in tensors if name.endswith(".ss1_weight")]:  # a projection of noise would be too small
            scale = (2 / widths(config)[name.removesuffix(".ss1_weight")])**0.5
            z = random.standard_normal(tensors[name].shape, numpy.float32) * numpy.float32(scale)
            tensors[name] = z - z.mean(1, keepdims=True)  # or sums of c outputs of a ReLU would drive probabilities to 0 and 1
        shard = folder / f"layers {variant}.safetensors"
        safetensors_io.write(shard, {name: array for name, array in tensors.items() if name not in one_row})
        result[variant] = {**converted, "tables": config["tables"]}, shard
    return result


def make_tables(folder, config, random):
    """The shard of the tables in f32."""
    d, shard = config["embedding_dim"], folder / "tables-f32.safetensors"
    safetensors_io.write(shard, {f"emb_l.{k}.weight": random.random((table["rows"], d), numpy.float32) - numpy.float32(0.5)
                                 for k, table in enumerate(config["tables"])})
    return shard


def quantise_tables(folder, ss1, f32_model):
    """The shard of the tables in int8."""
    shard = folder / "tables-int8.safetensors"
    files.convert(ss1, f32_model, folder / "int8", "--tables", "int8")
    safetensors_io.write(shard, tables_of(model_dir.load(folder / "int8")[1]))
    shutil.rmtree(folder / "int8")
    return shard


def make(folder, ss1, config, variants):
    """{(variant, precision): model directory}, under `folder`; existing files stay unchanged."""
    random, done = numpy.random.default_rng(1), folder / "complete"
    directories = {(variant, dtype): folder / f"{variant.replace('=', '').replace(' ', '-')}-{dtype}"
                   for variant in variants for dtype in DTYPES}
    if done.exists() and done.read_text() == repr((config, variants)):
        return directories
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    layers, tables = make_layers(folder, ss1, config, variants, random), {}
    for dtype in DTYPES:  # bf16 is made of f32 when it is loaded
        tables[dtype] = tables["f32"] if dtype == "bf16" else make_tables(folder, config, random) if dtype == "f32" else \
            quantise_tables(folder, ss1, directories["dense", "f32"])
        for variant, (converted, shard) in layers.items():
            full = {**converted, "tables": [{**table, "dtype": dtype} for table in converted["tables"]]}
            files.assemble(directories[variant, dtype], full, [shard, tables[dtype]])
    done.write_text(repr((config, variants)))
    return directories


def inputs(config, batch, tokens, count, seed=7):
    """`count` sets of inputs, as ss1 takes them; a DLRM has no tokens."""
    random, sets = numpy.random.default_rng(seed + batch), []
    hotness = HOTNESS if config["interaction"] == "dcn" else (1,) * len(config["tables"])
    for _ in range(count):
        indices = [random.integers(table["rows"], size=batch * hot) for table, hot in zip(config["tables"], hotness)]
        begins = numpy.cumsum([0, *map(len, indices[:-1])])
        offsets = begins[:, None] + numpy.arange(batch) * numpy.array(hotness)[:, None]
        sets.append({"dense_x": random.standard_normal((batch, 13), numpy.float32), "indices": numpy.concatenate(indices),
                     "offsets": numpy.ascontiguousarray(offsets, numpy.int64)})
    return sets


def head(inputs, rows):
    """All of them: they cost little."""
    return inputs
