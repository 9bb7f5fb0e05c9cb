# SPDX-License-Identifier: Apache-2.0
"""Closed forms: the parameters of a layer that come nearest to a dense weight, in the outputs for the inputs it gets.

With the second moment S = E[x^T x] of the inputs and R = S^1/2: the tied part is ss1.project's; the part of low rank is the
truncated singular value decomposition of W R, times R^-1 (Wang et al., SVD-LLM, ICLR 2025); both together come from fitting
each to what the other leaves, four times. A bias takes the difference of the mean outputs.
"""
import numpy
import torch

import ss1

ALTERNATIONS = 4
CLAMP = 1e-6  # eigenvalues of S below this share of the largest are raised to it


class Moments:
    """Sums over calibration rows, in float64."""

    def __init__(self, K):
        self.rows, self.sum, self.products = 0, torch.zeros(K, dtype=torch.float64), torch.zeros(K, K, dtype=torch.float64)

    def add(self, x, products):
        """Add rows x [M, K] in float64 with their x^T x."""
        self.rows += len(x)
        self.sum += x.sum(0)
        self.products += products

    @property
    def mean(self):
        return self.sum / self.rows

    @property
    def second(self):
        return self.products / self.rows


def _root(second):
    """S^1/2 and its inverse."""
    values, vectors = torch.linalg.eigh(second)
    values = values.clamp(min=CLAMP * values[-1].item()).sqrt()
    return vectors * values @ vectors.T, vectors / values @ vectors.T


def _low_rank(weight, rank, root):
    """up [N, rank] and down [rank, K] nearest to weight [N, K]."""
    left, values, right = torch.linalg.svd(weight if root is None else weight @ root[0], full_matrices=False)
    up, down = left[:, :rank] * values[:rank], right[:rank] if root is None else right[:rank] @ root[1]
    # Columns of up and rows of down of one length: training then moves both alike.
    balance = (down.norm(dim=1) / up.norm(dim=0).clamp(min=1e-30)).sqrt()
    return up * balance, down / balance.clamp(min=1e-30)[:, None]


def _tied(weight, mapping, second):
    """z [N, Kz] nearest to weight [N, K], and its dense weight."""
    second = None if second is None else second.float().numpy()
    z = ss1.project(weight.float().contiguous().numpy(), second_moment=second, **mapping)
    return torch.from_numpy(z).double(), torch.from_numpy(ss1.expand(z, weight.shape[1], **mapping)).double()


def error_of(weight, fitted, moments=None, bias=True):
    """The mean square of the outputs' difference over that of the outputs; with a bias, over their variance."""
    lost = weight - fitted
    if moments is None:
        return (lost.square().sum() / weight.square().sum()).item()
    second = moments.second
    if bias:
        second = second - torch.outer(moments.mean, moments.mean)
    whole = ((weight @ second) * weight).sum().item()
    return max(0.0, ((lost @ second) * lost).sum().item()) / whole if whole > 0 else 0.0


@torch.no_grad()
def fit(layer, weight, bias=None, moments=None):
    """Set an ss1.torch.Linear's parameters to those nearest to a dense weight [N, K] and bias; returns error_of them.

    Without moments of the inputs (ss1.torch.Moments): nearest to the weight itself, and the bias stays what it is.
    """
    if tuple(weight.shape) != (layer.out_features, layer.in_features):
        raise ValueError(f"weight has shape {tuple(weight.shape)}, must be {(layer.out_features, layer.in_features)}")
    weight = weight.detach().double().cpu()
    second = None if moments is None else moments.second
    root = _root(second) if layer.rank and moments is not None else None
    z = up = down = None
    tied, low_rank = torch.zeros_like(weight), torch.zeros_like(weight)
    for _ in range(ALTERNATIONS if layer.c and layer.rank else 1):
        if layer.rank:
            up, down = _low_rank(weight - tied, layer.rank, root)
            low_rank = up @ down
        if layer.c:
            z, tied = _tied(weight - low_rank, layer.mapping, second)
    for name, value in (("ss1_weight", z), ("low_rank_up", up), ("low_rank_down", down)):
        if value is not None:
            getattr(layer, name).copy_(value)
    fitted = tied + low_rank
    if layer.bias is not None:
        shift = 0 if moments is None else (weight - fitted) @ moments.mean
        layer.bias.copy_((0 if bias is None else bias.detach().double().cpu()) + shift)
    return error_of(weight, fitted, moments, layer.bias is not None)
