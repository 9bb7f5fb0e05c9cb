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
from ._output import output, sync


def config_text(config):
    """Formats config.json with each innermost object and list on one line, so that a layer, a table or an MLP is a line."""
    def one_line(inner):
        return re.sub(r"(?<=[\[{]) | (?=[\]}])", "", re.sub(r"\s+", " ", inner.group()))

    return re.sub(r"[\[{][^\[\]{}]*[\]}]", one_line, json.dumps(config, indent=2)) + "\n"


def save_config(directory, config):
    """Write config.json alone, into a folder that is made if need be. Replaces the file atomically."""
    text, directory = config_text(config), pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with output(directory / "config.json") as file:
        file.write(text.encode())


def save(directory, config, tensors, dtype=numpy.float32):
    """Write `config` and `tensors`, a state_dict or {name: array}, all in `dtype` (the library reads f16, too).

    An older model stays until the new one is complete; an error or interrupt before leaves it as it was. A process that is killed
    leaves the old model, the new one, or no config.json, never the one's config.json beside the other's weights.
    """
    text, directory = config_text(config), pathlib.Path(directory)
    arrays = {name: numpy.asarray(value.detach() if hasattr(value, "detach") else value, dtype)
              for name, value in tensors.items()}
    directory.mkdir(parents=True, exist_ok=True)
    # As in src/io/model_write.cpp config.json is the first file to be made and the last to get its name: it makes the folder a model.
    with output(directory / "config.json") as config_file, output(directory / "model.safetensors") as weights_file:
        config_file.write(text.encode())
        safetensors_io._write_to(weights_file, arrays)
        for file in (config_file, weights_file):
            sync(file)
        (directory / "config.json").resolve().unlink(missing_ok=True)


def load(directory):
    """Returns (config, {name: array}) of a model directory with one file."""
    directory = pathlib.Path(directory)
    return json.loads((directory / "config.json").read_text()), safetensors_io.read(directory / "model.safetensors")
