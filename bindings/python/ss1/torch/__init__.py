# SPDX-License-Identifier: Apache-2.0
"""SS1 and low-rank layers in PyTorch: train them, make them from trained models, hand them to the library.

    layer = ss1.torch.Linear(1024, 1024, c=4)                   # a quarter of the weights of torch.nn.Linear
    small, report = ss1.torch.convert(model, 0.25, calibrate=batches)
    ss1.torch.finetune(small, model, batches, steps=200, loss="kl")
    ss1.torch.export(small, "model")                            # a directory for ss1.Model

docs/pytorch.md has the whole story. Needs PyTorch 1.13 or later; `import ss1` does not.
"""
from .convert import convert
from .export import export
from .finetune import finetune
from .fit import Moments, fit
from .linear import Linear, resolve, stored_columns
from .ssl import import_ssl, ssl_spec

__all__ = ["Linear", "Moments", "convert", "export", "finetune", "fit", "import_ssl", "resolve", "ssl_spec", "stored_columns"]
