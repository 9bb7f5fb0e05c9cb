# SPDX-License-Identifier: Apache-2.0
"""Model directories with random weights, made once and shared by all contenders: the tensors lie in shards, and a directory is a
config.json, an index and links to the shards, so that variants of a model do not repeat what they have in common."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings/python"))
import ss1
from ss1 import model_dir, safetensors_io


def convert(program, source, target, *arguments):
    result = subprocess.run([program, "convert", source, target, *arguments], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{program} convert {source} {target} {' '.join(arguments)}: {result.stderr.strip()}")


def assemble(directory, config, shards):
    """Write a model directory whose tensors are those of the `shards`."""
    model_dir.save_config(directory, config)
    names = {}
    for number, shard in enumerate(shards):
        link = directory / f"part{number}.safetensors"
        link.unlink(missing_ok=True)
        link.symlink_to(shard.resolve())
        names.update(dict.fromkeys(header_of(shard), link.name))
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def header_of(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return header


def read(directory):
    """(config, {name: array}) of a directory, of one file or of shards."""
    directory = pathlib.Path(directory)
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return model_dir.load(directory)
    tensors = {}
    for name in sorted(set(json.loads(index.read_text())["weight_map"].values())):
        tensors.update(safetensors_io.read(directory / name))
    return json.loads((directory / "config.json").read_text()), tensors


def dense_tensors(directory, widths):
    """As read(), but every layer as the dense weight that it stands for; widths(config) is {linear layer: inputs}."""
    config, tensors = read(directory)
    for layer, entry in config.pop("ss1", {}).get("layers", {}).items():
        if entry["kind"] == "dense" and "rank" not in entry:
            continue
        stored = {"dense": "weight", "ss1": "ss1_weight", "low_rank": None}[entry["kind"]]
        z, up, down = (tensors.pop(f"{layer}.{name}", None) for name in (stored, "low_rank_up", "low_rank_down"))
        mapping = {key: entry[key] for key in ("c", "scheme", "seed", "block_k", "block_n", "step") if key in entry}
        tensors[f"{layer}.weight"] = ss1.expand(z, widths(config)[layer], u=up, v=down, **mapping)
    return config, tensors
