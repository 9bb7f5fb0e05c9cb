# SPDX-License-Identifier: Apache-2.0
"""Model directories for the library."""
import re

import torch

import ss1

from .. import model_dir
from .linear import Linear

# How names of layers in config.json differ from the modules': those of BERT for all of its family (src/io/bert_names.cpp).
_DISTILBERT = [(r"transformer\.layer\.(\d+)\.attention\.q_lin$", r"encoder.layer.\1.attention.self.query"),
               (r"transformer\.layer\.(\d+)\.attention\.k_lin$", r"encoder.layer.\1.attention.self.key"),
               (r"transformer\.layer\.(\d+)\.attention\.v_lin$", r"encoder.layer.\1.attention.self.value"),
               (r"transformer\.layer\.(\d+)\.attention\.out_lin$", r"encoder.layer.\1.attention.output.dense"),
               (r"transformer\.layer\.(\d+)\.ffn\.lin1$", r"encoder.layer.\1.intermediate.dense"),
               (r"transformer\.layer\.(\d+)\.ffn\.lin2$", r"encoder.layer.\1.output.dense"),
               (r"vocab_transform$", "cls.predictions.transform.dense"), (r"vocab_projector$", "cls.predictions.decoder")]
_ROBERTA = [(r"classifier\.dense$", "pre_classifier"), (r"classifier\.out_proj$", "classifier"),
            (r"lm_head\.dense$", "cls.predictions.transform.dense"), (r"lm_head\.decoder$", "cls.predictions.decoder")]
_NAMES = {"bert": ("bert.", []), "distilbert": ("distilbert.", _DISTILBERT), "roberta": ("roberta.", _ROBERTA),
          "xlm-roberta": ("roberta.", _ROBERTA)}


def _layer_name(model_type, name):
    prefix, pairs = _NAMES.get(model_type, ("", []))
    if prefix and name.startswith(prefix):
        name = name[len(prefix):]
    for pattern, replacement in pairs:
        name, found = re.subn("^" + pattern, replacement, name)
        if found:
            break
    return name


def export(model, directory, config=None):
    """Write config.json and model.safetensors in float32, then load the directory with the library to be sure of it.

    config: the model's config.json as a dict; None: model.config (a dict, or transformers' with to_dict()). Entries of its
    "ss1" are replaced by those of the model's layers. What the library does not read (see docs/format.md) is an ss1.Error.
    A tokenizer's files are not copied.
    """
    config = getattr(model, "config", None) if config is None else config
    config = config.to_dict() if hasattr(config, "to_dict") else config
    if not isinstance(config, dict):
        raise ValueError("config: must be a dict, the model has no config of its own")
    layers = {_layer_name(config.get("model_type"), name): module.config()
              for name, module in model.named_modules() if isinstance(module, Linear)}
    config = {key: value for key, value in config.items() if key != "ss1"}
    if layers:
        config["ss1"] = {"layers": layers}
    tensors, written = {}, set()
    for name, value in model.state_dict().items():
        at = value.data_ptr(), tuple(value.shape)
        if value.is_floating_point() and not (value.numel() and at in written):  # shared weights once, as transformers has them
            tensors[name] = value.detach().to("cpu", torch.float32).contiguous()
            written.add(at)
    model_dir.save(directory, config, tensors)
    with ss1.Context(num_threads=1) as context:
        ss1.Model(context, directory).close()
