# SPDX-License-Identifier: Apache-2.0
"""From a trained model to one with SS1 and low-rank layers, without training: closed forms from calibration rows."""
import collections
import collections.abc
import concurrent.futures
import contextlib
import copy
import fnmatch
import itertools
import math
import warnings

import torch

from .allocate import allocate, output_losses
from .fit import Moments, fit
from .linear import Linear, stored_columns
from .outputs import padding_mask

LayerReport = collections.namedtuple("LayerReport", "name K N c rank share error reason")
LayerReport.__doc__ = """What became of a layer with K inputs and N outputs.

c and rank: of the new layer. share: its multiply-adds over those of the dense layer. error: see ss1.fit. reason: why the
layer stayed dense; then c = 1, rank = 0, share = 1, error = 0.
"""
SPREAD = (0.5, 2**-0.5, 1, 2**0.5, 2)  # the budgets that a layer may get, over that of the model
BATCHES = 4  # whose outputs show what a layer's error costs the model
OTHERS_LOSE_LESS = "other layers lose less for the same multiply-adds"
SMALLEST = 64  # a budget leaves layers with fewer inputs or outputs dense: there a sketch costs what it saves


class Report(list):
    """A LayerReport for each linear layer; str() makes a table of it."""

    def __str__(self):
        lines = [f"{'layer':40} {'K':>6} {'N':>6} {'c':>3} {'rank':>5} {'share':>6} {'error':>8}"]
        for r in self:
            lines.append(f"{r.name:40} {r.K:6} {r.N:6} {r.c:3} {r.rank:5} {r.share:6.3f} {r.error:8.4f}" +
                         (f"  dense: {r.reason}" if r.reason else ""))
        return "\n".join(lines)


def is_conv1d(module):
    """Whether this is transformers' Conv1D, a linear layer with weight [K, N]."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def dense_weight(module):
    """The weight [N, K] of a torch.nn.Linear or Conv1D."""
    return module.weight.T if is_conv1d(module) else module.weight


def find_layers(model):
    """{name: layer} of the linear layers, each once, and {name: reason} for those that cannot be replaced."""
    layers, refused, users = {}, {}, collections.defaultdict(list)
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            users[id(parameter)].append(f"{path}.{name}".lstrip("."))
    for name, module in model.named_modules():
        if not (isinstance(module, torch.nn.Linear) or is_conv1d(module)):
            continue
        layers[name] = module
        others = [user for user in users[id(module._parameters.get("weight"))] if user != f"{name}.weight".lstrip(".")]
        if type(module) is not torch.nn.Linear and not is_conv1d(module):
            refused[name] = f"its class {type(module).__name__} may do more than torch.nn.Linear"
        elif module._parameters.get("weight") is None:
            refused[name] = "its weight is computed from other parameters"
        elif module._forward_hooks or module._forward_pre_hooks:
            refused[name] = "it has forward hooks"
        elif not module.weight.is_floating_point():
            refused[name] = f"its weight has type {module.weight.dtype}"
        elif others:
            refused[name] = f"it shares its weight with {others[0]}"
    return layers, refused


def _rank_for(share, K, N):
    """The largest rank of this share of the multiply-adds; whole groups of 16 fill a kernel's tiles."""
    rank = math.floor(share * K * N / (K + N))
    return rank // 16 * 16 if rank >= 16 else rank


def _share(options, K, N):
    stored = 0
    if options.get("c"):
        c, block_k = options["c"], options.get("block_k") or 64
        stored = stored_columns(K, c, block_k)
    return stored / K + options.get("rank", 0) * (K + N) / (K * N)


def candidates(budget, K, N):
    """The options of Linear that take at most this share of a dense layer's multiply-adds, by rounding 5 % more."""
    found, most = [], 1.05 * budget
    whole = math.ceil(1 / budget - 1e-9)
    for c in (whole, 2 * whole):
        # The largest block that wastes few columns: 768 inputs at c = 8 take 32.
        block_k = next((block for block in (64, 32, 16) if c * block <= K and stored_columns(K, c, block) <= 1.05 * K / c), None)
        if block_k is None:
            continue
        tied = {"c": c, "block_k": block_k, "step": block_k // 4}  # four different rotations
        share = _share(tied, K, N)
        if c == whole and share <= most:
            found.append(tied)
        rank = _rank_for(budget - share, K, N)
        if c > whole and rank >= 1:
            found.append({**tied, "rank": rank})
    rank = _rank_for(budget, K, N)
    return found + ([{"c": 0, "rank": rank}] if rank >= 1 else [])


def _wishes(spec, names):
    """{name: what the first pattern that matches it asks for}; None where none does."""
    for pattern, wish in spec.items():
        if wish is not None and not isinstance(wish, dict) and not (isinstance(wish, (int, float)) and 0 < wish < 1):
            raise ValueError(f"spec: {pattern!r} asks for {wish!r}, neither a budget between 0 and 1, options of Linear, nor None")
    unused, wishes = set(spec), {}
    for name in names:
        pattern = next((pattern for pattern in spec if fnmatch.fnmatchcase(name, pattern)), None)
        unused -= {pattern for pattern in spec if fnmatch.fnmatchcase(name, pattern)}
        wishes[name] = None if pattern is None else spec[pattern]
    if unused:
        raise ValueError(f"spec: no linear layer matches {', '.join(map(repr, sorted(unused)))}; there are {', '.join(names)}")
    return wishes


def _plan(name, wish, module, seed):
    """(candidates as options of Linear, reason if there are none)."""
    N, K = dense_weight(module).shape
    if wish is None:
        return [], "spec leaves it so"
    if isinstance(wish, dict):
        return [{"seed": seed, **({"c": 0} if wish.get("rank") and "c" not in wish else {}), **wish}], None
    if min(K, N) < SMALLEST:
        return [], f"K={K} or N={N} is below {SMALLEST}"
    found = candidates(wish, K, N)
    return [{"seed": seed, **options} for options in found], None if found else f"nothing fits into {wish} of its multiply-adds"


def call(model, batch):
    """The usual ways to give a model a batch: **mapping, *sequence, or one tensor."""
    if isinstance(batch, collections.abc.Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


@contextlib.contextmanager
def watched(model, handles):
    """The model in eval mode with the hooks of `handles`; afterwards each module has its mode again, and the hooks are gone."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def _measure(model, layers, loader, forward, progress):
    """{name: Moments} of the inputs of these layers over all batches."""
    moments = {name: Moments(dense_weight(module).shape[1], module.weight.device) for name, module in layers.items()}
    last, mask = [None] * 4, None

    def observe(name):
        def hook(module, inputs):
            if not inputs:
                raise ValueError(f"calibrate: the model calls {name} with keywords, its input is not seen")
            x = inputs[0]
            # Layers that read one unchanged tensor (queries, keys, values) share its product.
            version = None if x.is_inference() else x._version
            if last[0] is not x or version is None or last[3] != version:
                rows = x.detach().reshape(-1, x.shape[-1])
                if mask is not None and x.shape[:-1] == mask.shape:
                    rows = x.detach()[mask]
                rows = rows.double()
                last[:] = x, rows, rows.T @ rows, version
            if not torch.isfinite(last[2]).all():
                raise ValueError(f"calibrate: {name} reads values that are not finite")
            moments[name].add(last[1], last[2])
        return hook

    handles = [module.register_forward_pre_hook(observe(name)) for name, module in layers.items()]
    with watched(model, handles):
        for number, batch in enumerate(loader, 1):
            mask = padding_mask(batch)
            forward(model, batch)
            last[:] = [None] * 4
            if progress:
                progress(f"{len(layers)} layers have seen {number} batches")
    return moments


def _groups(layers, memory):
    """Cuts the layers into groups whose moments take at most `memory` bytes; a pass over the loader serves a group."""
    groups, used = [], 0
    for name, module in layers.items():
        size = 8 * dense_weight(module).shape[1] ** 2
        if not groups or used + size > memory:
            groups.append({})
            used = 0
        groups[-1][name] = module
        used += size
    return groups


def _moments(model, layers, calibrate, forward, memory, progress):
    """Yields each layer's name with its Moments, None without calibration."""
    if calibrate is None:
        yield from ((name, None) for name in layers)
        return
    groups = _groups(layers, memory)
    if len(groups) > 1 and iter(calibrate) is calibrate:
        raise ValueError(f"calibrate: an iterator can be read once, {len(groups)} times are needed; give a list or a DataLoader, "
                         "or more memory")
    for group in groups:
        found = _measure(model, group, calibrate, forward, progress)
        for name, module in group.items():
            rows, K = found[name].rows, dense_weight(module).shape[1]
            if 0 < rows < K:
                raise ValueError(f"calibrate: {name} has {K} inputs and read {rows} rows; at least as many rows are needed")
            yield name, found.pop(name)


def _best(module, plans, moments):
    """The candidate with the least error, fitted: (layer, error)."""
    weight = dense_weight(module)
    N, K = weight.shape
    best = None
    for options in plans:
        layer = Linear(K, N, module.bias is not None, device=weight.device, dtype=weight.dtype, **options)
        error = fit(layer, weight, module.bias, moments)
        if best is None or error < best[1]:
            best = layer, error
    return best


def _stored(layer):
    """The weights of a layer, and so its multiply-adds for a row."""
    return sum(p.numel() for key, p in layer.named_parameters() if key != "bias")


def _fit_all(layers, plans, found_moments, reasons, progress):
    """{name: [(layer, error), one for each of its plans]}; a layer that read no row gets a reason instead."""
    fitted, running = {}, collections.deque()
    with concurrent.futures.ThreadPoolExecutor(torch.get_num_threads()) as pool:  # a fit runs on one thread
        try:
            for name, moments in found_moments:
                if moments is not None and moments.rows == 0:
                    reasons[name] = "no calibration row reached it"
                    continue
                fitted[name] = [pool.submit(_best, layers[name], plan, moments) for plan in plans[name]]
                running.extend(fitted[name])
                while len(running) > 2 * torch.get_num_threads():  # each holds its moments
                    running.popleft().result()
            for name, options in fitted.items():
                fitted[name] = [option.result() for option in options]
                if progress:
                    found = ", ".join(f"{error:.4f} (c={layer.c} rank={layer.rank})" for layer, error in fitted[name])
                    progress(f"{name}: errors {found}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return fitted


def _spread(model, layers, fitted, budget, batches, forward, reasons):
    """{name: (layer, error)}: for each layer one of those fitted, or none, so that all together keep the budget.

    KL divergences and errors of outputs grow with the square of a small change, as a layer's error does: what an error costs
    the model is measured once for each layer, at the budget itself.
    """
    middle = {name: min(options, key=lambda o: abs(_stored(o[0]) / dense_weight(layers[name]).numel() - budget))
              for name, options in fitted.items()}
    with watched(model, []):
        losses = output_losses(model, {name: (layers[name], middle[name][0]) for name in fitted}, batches, forward)
    names, choices = list(fitted), []
    for name in names:
        cost = losses[name] / max(middle[name][1], 1e-30)
        choices.append([(_stored(layer), cost * error) for layer, error in fitted[name]] + [(dense_weight(layers[name]).numel(), 0.0)])
    dense = sum(dense_weight(layers[name]).numel() for name in names)
    taken = allocate(choices, 1.05 * budget * dense)
    if taken is None:
        raise ValueError(f"spec={budget}: the cheapest layers take more than that share of the multiply-adds")
    chosen = {}
    for name, i in zip(names, taken):
        if i < len(fitted[name]):
            chosen[name] = fitted[name][i]
        else:
            reasons[name] = OTHERS_LOSE_LESS
    return chosen


def convert(model, spec, calibrate=None, *, forward=call, seed=0, memory=2**30, progress=None):
    """(a copy of the model with SS1 and low-rank layers, a Report on every linear layer); the model does not change.

    spec: a budget, the share of multiply-adds to keep, such as 0.25, by rounding up to 5 % more, of all layers that can be replaced
    and have 64 inputs and outputs: layers whose error costs the model's output more get more, or stay dense (without
    calibration: each layer gets this share). Or {pattern: wish} for the names of
    layers, with * and ? in patterns, of which the first one that matches counts; a wish is a budget of each such layer, None (stays
    dense), or options of Linear: {"c": 4}, {"rank": 64}, {"c": 8, "rank": 32, "scheme": "reference"}. Layers that no pattern matches
    stay dense. For a budget tied, low rank and both are fitted, and the one with the least error is taken.
    calibrate: batches of inputs, some thousand rows at least. Without it the weights alone are fitted, which costs far more
    quality, and a warning says so. forward(model, batch) runs the model on one; a budget for the model compares the logits,
    last_hidden_state or tensor that it returns. With "attention_mask" [B, T] in a batch, padding is left out. seed: of the first
    layer's mapping; each further layer has the next one.
    memory: bytes of second moments at once; where they do not suffice, the batches are read several times. Candidates of a budget
    for the model take about 1.4 times its size at 0.25. progress(text) is called now and then. Layers: torch.nn.Linear itself (no
    subclass) and transformers' Conv1D.
    """
    whole = not isinstance(spec, collections.abc.Mapping)
    layers, refused = find_layers(model)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no torch.nn.Linear and no Conv1D")
    wishes, plans, reasons = _wishes({"*": spec} if whole else spec, list(layers)), {}, dict(refused)
    spread = [f * spec for f in SPREAD if f * spec < 1] if whole and spec and calibrate is not None else []
    for number, (name, module) in enumerate(layers.items()):
        plan, reason = _plan(name, wishes[name], module, seed + number)
        if reason:
            reasons.setdefault(name, reason)
        if name not in reasons:
            plans[name] = [p for p in (_plan(name, budget, module, seed + number)[0] for budget in spread) if p] or [plan]
    first, calibrate = _first_batches(calibrate) if spread else (None, calibrate)
    found_moments = _moments(model, {name: layers[name] for name in plans}, calibrate, forward, memory, progress)
    fitted = _fit_all(layers, plans, found_moments, reasons, progress)
    if spread:
        replaced = _spread(model, layers, fitted, spec, first, forward, reasons)
    else:
        replaced = {name: options[0] for name, options in fitted.items()}
    report = Report(_row(name, module, *replaced.get(name, (None, None)), reasons.get(name)) for name, module in layers.items())
    # The copy takes the new layers for the old ones, wherever they stand.
    converted = copy.deepcopy(model, {id(layers[name]): layer for name, (layer, _) in replaced.items()})
    if calibrate is None and replaced:
        errors = [error for _, error in replaced.values()]
        warnings.warn(f"without calibration: errors of {min(errors):.3f} to {max(errors):.3f} of the outputs' "
                      "energy if inputs have equal size and no correlation; expect a loss of quality", stacklevel=2)
    return converted, report


def _first_batches(calibrate):
    """(the first batches, what gives all of them again)."""
    once = iter(calibrate) is calibrate
    first = list(itertools.islice(calibrate, BATCHES))
    return first, itertools.chain(first, calibrate) if once else calibrate


def _row(name, module, layer, error, reason):
    N, K = dense_weight(module).shape
    if layer is None:
        return LayerReport(name, K, N, 1, 0, 1.0, 0.0, reason)
    return LayerReport(name, K, N, layer.c, layer.rank, _stored(layer) / (K * N), error, None)
