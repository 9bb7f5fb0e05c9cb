# SPDX-License-Identifier: Apache-2.0
"""What the authors of SS1 have: their module SSL (kimiasa/SSLinear, branch clean) and the arguments of their conversion.

Their modules keep seed and block sizes in attributes, not in the state_dict: a checkpoint alone does not say what its weights
mean (for directories: ss1 convert --from ssl). Only attributes are read here, their package is not needed.
"""
import copy
import re

import numpy
import torch

from .convert import find_layers
from .linear import Linear

R0 = 45007  # their first hash number; the others are the first three outputs of MT19937 modulo it


def _is_ssl(module):
    return type(module).__name__ == "SSL" and hasattr(module, "redn_factor")


def _hash_numbers(seed):
    draws = numpy.random.RandomState(seed % 2**32).randint(0, 2**32, 3, numpy.uint32)
    return [R0, *(int(draw) % R0 for draw in draws)]


def _import_layer(name, module):
    """Their module as a Linear; what it has that ours cannot express is refused by name."""
    K, N, c = module.in_features, module.out_features, module.redn_factor
    where = f"{name or 'the module'} (SSL, redn_factor={c}, seed={module.seed})"
    numbers = [int(number) for number in module.random_numbers]
    if c > 1 and numbers != _hash_numbers(module.seed):
        raise ValueError(f"{where}: random_numbers={numbers} are not those of its seed, {_hash_numbers(module.seed)}: another version "
                         "of their hash, or a generator of a GPU")
    weight, block_k = module.weight.detach(), module.BLOCK_SIZE_K
    layer = Linear(K, N, module.bias is not None, c=c, scheme="reference", seed=module.seed, block_k=block_k,
                   block_n=module.BLOCK_SIZE_N, device=weight.device, dtype=weight.dtype)
    live = K if c == 1 else K // c  # their kernels read no stored column from here on
    if weight.shape[0] != N or not live <= weight.shape[1]:
        raise ValueError(f"{where}: weight has shape {tuple(weight.shape)}, must be [{N}, {live} or more]")
    with torch.no_grad():
        layer.ss1_weight.zero_()
        layer.ss1_weight[:, :live] = weight[:, :live]
        if module.bias is not None:
            layer.bias.copy_(module.bias)
    return layer.train(module.training)


def import_ssl(model):
    """A copy of the model with every SSL module of the authors as a Linear with the same outputs; SSL itself gives a Linear."""
    if _is_ssl(model):
        return _import_layer("", model)
    theirs = {name: module for name, module in model.named_modules() if _is_ssl(module)}
    if not theirs:
        raise ValueError(f"{type(model).__name__} has no module of the class SSL")
    replaced = {id(module): _import_layer(name, module) for name, module in theirs.items()}
    return copy.deepcopy(model, replaced)  # takes the new layers for the old ones


def ssl_spec(model, reduction_factor, layer_indices=None, skip_attention=False, init_seed=42, skip_pattern=None, *,
             block_k=32, block_n=32):
    """A spec for convert() that chooses, ties and seeds layers as the authors' convert_to_ss_linear does.

    layer_indices: encoder layers that STAY dense, those with "layer.{i}." in their name. Their code skips them, and their
    training script calls the same list layers_to_skip, while their README describes it as the layers to keep or compress;
    published models come from the code. skip_attention leaves names with "attention" dense, skip_pattern those that contain
    one of these texts. init_seed is the first layer's seed, each further tied layer has the next one. block_k and block_n: their
    GPU autotuner chooses them; 32 is what a layer has before that.
    Differences: an index without a layer is an error (theirs ignores it), a layer with fewer than reduction_factor * block_k
    inputs is an error of convert(), and convert() fits the weights to calibration rows where theirs takes means.
    """
    if reduction_factor < 1 or reduction_factor & (reduction_factor - 1):
        raise ValueError(f"reduction_factor={reduction_factor} is not a power of two, as their SSL requires")
    layers, _ = find_layers(model)
    for index in layer_indices or []:
        if not any(f"layer.{index}." in name for name in layers):
            known = sorted({int(n) for name in layers for n in re.findall(r"layer\.(\d+)\.", name)})
            raise ValueError(f"layer_indices: {index} names no layer; linear layers have the indices {known}, which count from 0")
    spec, seed = {}, init_seed
    for name in layers:
        if (any(pattern in name for pattern in skip_pattern or []) or
                any(f"layer.{index}." in name for index in layer_indices or []) or
                (skip_attention and "attention" in name)):
            spec[name] = None
            continue
        spec[name] = {"c": reduction_factor, "scheme": "reference", "seed": seed, "block_k": block_k, "block_n": block_n}
        seed += 1
    return spec
