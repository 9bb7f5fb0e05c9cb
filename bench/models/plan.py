# SPDX-License-Identifier: Apache-2.0
"""What is measured: models, their cells in the order of importance, the contenders of a cell, how well they must agree."""
import dataclasses

DTYPES = ("f32", "bf16", "int8")
REFERENCE = {"dlrm": {"module": "dlrm_torch", "mode": "f32"}, "bert": {"module": "bert_torch", "mode": "plain f32"}}
# name, module, its mode; by family and precision.
PEERS = {
    "dlrm": {"f32": [("PyTorch", "dlrm_torch", "f32"), ("ONNX Runtime", "dlrm_onnx", "")],
             "bf16": [("PyTorch bfloat16", "dlrm_torch", "bfloat16"), ("PyTorch autocast", "dlrm_torch", "autocast")],
             "int8": [("PyTorch int8 dynamic", "dlrm_torch", "int8"), ("ONNX Runtime int8 dynamic", "dlrm_onnx", "")]},
    "bert": {"f32": [("PyTorch", "bert_torch", "f32"), ("ONNX Runtime", "bert_onnx", "")],
             "bf16": [("PyTorch bfloat16", "bert_torch", "bfloat16"), ("PyTorch autocast", "bert_torch", "autocast")],
             "int8": [("PyTorch int8 dynamic", "bert_torch", "int8"), ("ONNX Runtime int8 dynamic", "bert_onnx", "")]}}
COMPILED = {"f32": [("PyTorch compiled", "dlrm_torch", "compiled")],
            "bf16": [("PyTorch compiled bfloat16", "dlrm_torch", "compiled bfloat16")], "int8": []}
# Largest difference from the reference, PyTorch in f32 with the same weights: of probabilities, in any row; of hidden states
# (their standard deviation is 1), in the mean.
TOLERANCE = {"dlrm": {"f32": 1e-4, "bf16": 5e-2, "int8": 0.15}, "bert": {"f32": 1e-4, "bf16": 3e-2, "int8": 0.15}}


@dataclasses.dataclass
class Plan:
    """One model. A size is (batch, tokens), tokens 0 for a DLRM."""
    family: str
    sizes: list
    variants: list
    dtypes: tuple = DTYPES
    only: tuple = ()  # names of peers; none: all


def dlrm_sizes(batches):
    return [(batch, 0) for batch in batches]


BERT_SIZES = [(1, 128), (8, 128), (1, 384), (32, 128), (8, 384), (32, "mails"), (32, 384)]
BERT_VARIANTS = ["dense", "c=8 in half", "c=4"]
PLANS = {"dlrm-v1": Plan("dlrm", dlrm_sizes((1, 128, 700, 2048, 16)), ["dense", "c=2", "c=4", "c=8", "c=4 reference"]),
         "dlrm-v2": Plan("dlrm", dlrm_sizes((128, 2048)), ["dense", "c=4"], ("f32",), ("PyTorch",)),
         "bert-base": Plan("bert", BERT_SIZES, BERT_VARIANTS),
         "bert-large": Plan("bert", BERT_SIZES, BERT_VARIANTS),
         "bert-tiny": Plan("bert", [(2, 16), (3, "mails")], BERT_VARIANTS)}  # to try it out
DEFAULT = [name for name in PLANS if name != "bert-tiny"]
