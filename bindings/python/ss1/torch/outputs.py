# SPDX-License-Identifier: Apache-2.0
"""What a model's outputs are, and how far two of them are apart."""
import collections.abc

import torch


def padding_mask(batch):
    """A batch's "attention_mask" [B, T] as booleans, None if it has none."""
    mask = batch.get("attention_mask") if isinstance(batch, collections.abc.Mapping) else None
    return mask.bool() if mask is not None and mask.dim() == 2 else None


def output(result):
    """The tensor of a model's result, and the loss that its name tells."""
    for name, loss in (("logits", "kl"), ("last_hidden_state", "mse")):
        if getattr(result, name, None) is not None:
            return getattr(result, name), loss
    while isinstance(result, (tuple, list)):
        result = result[0]
    if not isinstance(result, torch.Tensor):
        raise ValueError(f"a {type(result).__name__} has neither logits nor last_hidden_state and is no tensor; give forward=")
    return result, None


def distance(loss, got, want, mask):
    """KL(want || got) of logits in nats, or the mean square error over the mean square; averaged over rows, without padding."""
    if mask is not None and got.shape[:-1] == mask.shape:
        got, want = got[mask], want[mask]
    got, want = got.float(), want.float()
    if loss == "kl":
        log_p = torch.log_softmax(want, -1)
        return (log_p.exp() * (log_p - torch.log_softmax(got, -1))).sum(-1).mean()
    return (got - want).square().mean() / want.square().mean().clamp(min=1e-12)
