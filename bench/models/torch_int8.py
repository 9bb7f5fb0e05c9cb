# SPDX-License-Identifier: Apache-2.0
"""PyTorch's dynamic int8 linear layer: weights by output, activations as they come. What quantize_dynamic() puts for every
Linear, made of the same operators without it: PyTorch announced its removal."""
import torch


class DynamicLinear(torch.nn.Module):
    def __init__(self, linear):
        super().__init__()
        weight = linear.weight.detach()
        scales = weight.abs().amax(1).clamp(min=1e-12).double() / 127
        weight = torch.quantize_per_channel(weight, scales, torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(weight, None if linear.bias is None else linear.bias.detach())

    def forward(self, x):
        return torch.ops.quantized.linear_dynamic(x, self.packed, True)


def quantise_linears(module):
    """Replace every Linear inside `module`, in place."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.Linear):
            setattr(module, name, DynamicLinear(child))
        else:
            quantise_linears(child)
    return module
