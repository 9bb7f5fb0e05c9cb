# SPDX-License-Identifier: Apache-2.0
"""DLRM in PyTorch as a contender, as facebookresearch/dlrm writes it: an EmbeddingBag a table, bmm, Linear."""
import warnings

import torch

import dlrm_files
import files
from torch_int8 import quantise_linears

warnings.filterwarnings("ignore")


class QuantisedBag(torch.nn.Module):
    """Rows of bytes with scale and bias, the very bytes that ss1 reads."""

    def __init__(self, table):
        super().__init__()
        self.register_buffer("table", table)

    def forward(self, indices, offsets):
        return torch.ops.quantized.embedding_bag_byte_rowwise_offsets(self.table, indices, offsets)


class Dlrm(torch.nn.Module):
    def __init__(self, config, tensors):
        super().__init__()
        self.config, self.tensors = config, {name: torch.tensor(array) for name, array in tensors.items()}
        tables = (self.tensors[f"emb_l.{k}.weight"] for k in range(len(config["tables"])))
        self.emb_l = torch.nn.ModuleList(QuantisedBag(table) if table.dtype == torch.uint8 else
                                         torch.nn.EmbeddingBag.from_pretrained(table, mode="sum") for table in tables)
        self.bot_l = self.mlp("bot_l", torch.nn.ReLU())
        self.top_l = self.mlp("top_l", torch.nn.Sigmoid())
        self.cross_net = torch.nn.ModuleList(torch.nn.ModuleList((self.linear(f"cross_net.{i}.v"), self.linear(f"cross_net.{i}.w")))
                                             for i in range(config.get("cross_layers", 0)))
        self.pairs = torch.tril_indices(len(config["tables"]) + 1, len(config["tables"]) + 1, offset=-1)
        self.tensors, self.dtype = None, torch.float32

    def linear(self, name):
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        layer = torch.nn.Linear(*weight.shape[::-1], bias=bias is not None)
        layer.weight.data = weight
        if bias is not None:
            layer.bias.data = bias
        return layer

    def mlp(self, name, last):
        count = len([tensor for tensor in self.tensors if tensor.startswith(name) and tensor.endswith(".weight")])
        layers = [self.linear(f"{name}.{2 * i}") for i in range(count)]
        return torch.nn.Sequential(*(part for layer in layers for part in (layer, last if layer is layers[-1] else torch.nn.ReLU())))

    def forward(self, dense_x, indices, offsets):
        x = self.bot_l(dense_x.to(self.dtype))
        vectors = torch.cat([x, *(table(i, o).to(x.dtype) for table, i, o in zip(self.emb_l, indices, offsets))], 1)
        if len(self.cross_net):
            crossed = vectors
            for v, w in self.cross_net:
                crossed = vectors * w(v(crossed)) + crossed
            return self.top_l(crossed).squeeze(1)
        stacked = vectors.view(len(x), -1, x.shape[1])
        products = torch.bmm(stacked, stacked.transpose(1, 2))
        return self.top_l(torch.cat([x, products[:, self.pairs[0], self.pairs[1]]], 1)).squeeze(1)


def split(inputs):
    """dense_x and, for each table, its indices and their offsets from 0: what the modules take."""
    offsets, indices = torch.from_numpy(inputs["offsets"]), torch.from_numpy(inputs["indices"])
    bounds = [*offsets[:, 0].tolist(), len(indices)]
    return (torch.from_numpy(inputs["dense_x"]), [indices[begin:end].clone() for begin, end in zip(bounds, bounds[1:])],
            [row - row[0] for row in offsets])


class Contender:
    """spec["mode"]: f32, bfloat16 (the model converted), autocast, int8 (dynamic quantisation), compiled or compiled bfloat16."""

    def __init__(self, spec):
        torch.set_num_threads(spec["threads"])
        self.mode = spec["mode"]
        self.model = Dlrm(*files.dense_tensors(spec["directory"], dlrm_files.widths)).eval()
        if "bfloat16" in self.mode:
            self.model = self.model.bfloat16()
            self.model.dtype = torch.bfloat16
        elif self.mode == "int8":
            quantise_linears(self.model)
        if self.mode.startswith("compiled"):
            self.model = torch.compile(self.model, dynamic=True)
        self.info = {"library": f"PyTorch {torch.__version__.split('+')[0]}"}

    def prepare(self, sets):
        return [self._call(*split(inputs)) for inputs in sets]

    def _call(self, dense_x, indices, offsets):
        def call():
            with torch.inference_mode():
                return self.model(dense_x, indices, offsets).float().numpy()

        def call_autocast():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                return self.model(dense_x, indices, offsets).float().numpy()
        return call_autocast if self.mode == "autocast" else call


make = Contender
