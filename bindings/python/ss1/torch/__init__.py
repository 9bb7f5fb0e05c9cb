# SPDX-License-Identifier: Apache-2.0
"""SS1 and low-rank layers in PyTorch.

    layer = ss1.torch.Linear(1024, 1024, c=4)                   # a quarter of the weights of torch.nn.Linear

Needs PyTorch 1.13 or later; `import ss1` does not.
"""
from .fit import Moments, fit
from .linear import Linear, resolve, stored_columns

__all__ = ["Linear", "Moments", "fit", "resolve", "stored_columns"]
