# SPDX-License-Identifier: Apache-2.0
"""Read and write ss1 model directories: config.json and model.safetensors (docs/format.md).

    save("model", config, model.state_dict())
    config, tensors = load("model")
"""
import json
import pathlib
import re

import numpy

from . import safetensors_io


def config_text(config):
    """Formats config.json with each innermost object and list on one line, so that a layer, a table or an MLP is a line."""
    def one_line(inner):
        return re.sub(r"(?<=[\[{]) | (?=[\]}])", "", re.sub(r"\s+", " ", inner.group()))

    return re.sub(r"[\[{][^\[\]{}]*[\]}]", one_line, json.dumps(config, indent=2)) + "\n"


def save_config(directory, config):
    """Write config.json alone, into a folder that is made if need be."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(config_text(config))


def save(directory, config, tensors, dtype=numpy.float32):
    """Write `config` and `tensors`, a state_dict or {name: array}, all in `dtype` (the library reads f16, too)."""
    save_config(directory, config)
    arrays = {name: numpy.asarray(value.detach() if hasattr(value, "detach") else value, dtype)
              for name, value in tensors.items()}
    safetensors_io.write(pathlib.Path(directory) / "model.safetensors", arrays)


def load(directory):
    """Returns (config, {name: array}) of a model directory with one file."""
    directory = pathlib.Path(directory)
    return json.loads((directory / "config.json").read_text()), safetensors_io.read(directory / "model.safetensors")
