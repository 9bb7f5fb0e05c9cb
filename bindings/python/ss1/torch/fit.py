# SPDX-License-Identifier: Apache-2.0
"""The parameters of a layer that come nearest to a dense weight, in the outputs for the inputs it gets: ss1.fit's closed forms."""
import torch

import ss1


class Moments:
    """Sums over calibration rows, in float64, on the device of the layer that reads them."""

    def __init__(self, K, device=None):
        options = {"dtype": torch.float64, "device": device}
        self.rows, self.sum, self.products = 0, torch.zeros(K, **options), torch.zeros(K, K, **options)

    def add(self, x, products):
        """Add rows x [M, K] in float64 with their x^T x."""
        self.rows += len(x)
        self.sum += x.sum(0)
        self.products += products

    @property
    def mean(self):
        """[K]."""
        return self.sum / self.rows

    @property
    def second(self):
        """[K, K]: the mean of x^T x."""
        return self.products / self.rows


def _numpy(tensor):
    return tensor.detach().float().cpu().contiguous().numpy()


def _balanced(up, down):
    """up [N, rank] and down [rank, K] of the same product, whose columns and rows have one length: training moves both alike."""
    balance = (down.norm(dim=1) / up.norm(dim=0).clamp(min=1e-30)).sqrt()
    return up * balance, down / balance.clamp(min=1e-30)[:, None]


@torch.no_grad()
def fit(layer, weight, bias=None, moments=None):
    """Set an ss1.torch.Linear's parameters to those nearest to a dense weight [N, K] and bias; returns the error, see ss1.fit.

    Without moments of the inputs (ss1.torch.Moments): nearest to the weight itself, and the bias stays what it is.
    """
    if tuple(weight.shape) != (layer.out_features, layer.in_features):
        raise ValueError(f"weight has shape {tuple(weight.shape)}, must be {(layer.out_features, layer.in_features)}")
    given = {} if moments is None else {"second_moment": _numpy(moments.second)}
    if moments is not None and layer.bias is not None:
        given["mean"] = _numpy(moments.mean)
    parts = ss1.fit(_numpy(weight), rank=layer.rank, **layer.mapping, **given)
    if layer.c:
        layer.ss1_weight.copy_(torch.from_numpy(parts["z"]))
    if layer.rank:
        up, down = _balanced(*(torch.from_numpy(parts[name]).double() for name in ("u", "v")))
        layer.low_rank_up.copy_(up)
        layer.low_rank_down.copy_(down)
    if layer.bias is not None:
        shift = 0 if parts["bias"] is None else torch.from_numpy(parts["bias"]).double()
        layer.bias.copy_((0 if bias is None else bias.detach().double().cpu()) + shift)
    return parts["error"]
