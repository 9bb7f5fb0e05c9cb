# SPDX-License-Identifier: Apache-2.0
"""DLRM in PyTorch, described by the config.json of an ss1 model directory (docs/format.md).

    model = DLRM(config)
    probability = model(dense_x, indices, offsets)
    model_dir.save("model", config, model.state_dict())

The graph and the tensor names are those of facebookresearch/dlrm, so its state_dicts load unchanged: a bottom MLP over
the dense features, one embedding bag per table, the pairwise dot products (or the concatenation, or a low-rank cross net
over it) of all these vectors, a top MLP over them, ReLU between layers and a sigmoid at the end. Layers named in
config["ss1"]["layers"] are ss1.torch.Linear; with config["robe"] the tables share one array (robe.py).
"""
import functools
import pathlib
import sys

import torch

from robe import RobeEmbeddingBags
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ss1.torch import Linear


def interaction_width(config):
    """Returns the number of inputs of the top MLP."""
    d, vectors = config["embedding_dim"], len(config["tables"]) + 1
    if config.get("interaction", "dot") in ("cat", "dcn"):
        return vectors * d
    return d + vectors * (vectors + (1 if config.get("interaction_itself", False) else -1)) // 2


class CrossLayer(torch.nn.Module):
    """x_0 * (W (V x) + b) + x with W [N, rank], V [rank, N]: DCN-V2's low-rank layer (Wang et al., WWW 2021)."""

    def __init__(self, N, rank):
        super().__init__()
        self.v, self.w = torch.nn.Linear(N, rank, bias=False), torch.nn.Linear(rank, N)

    def forward(self, x_0, x):
        return x_0 * self.w(self.v(x)) + x


class DLRM(torch.nn.Module):
    """embedding_dropout is the probability that training drops a bag's vector (set it after construction, 0 by default)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding_dropout = 0.0
        d = config["embedding_dim"]
        rows = [table["rows"] for table in config["tables"]]
        if "robe" in config:
            self.robe = RobeEmbeddingBags(rows, d, **config["robe"])
        else:
            self.emb_l = torch.nn.ModuleList(torch.nn.EmbeddingBag(n, d, mode="sum") for n in rows)
        self.bot_l = self._mlp("bot_l", config["bottom_mlp"])
        self.top_l = self._mlp("top_l", [interaction_width(config), *config["top_mlp"]])
        if config.get("interaction") == "dcn":
            self.cross_net = torch.nn.ModuleList(CrossLayer(interaction_width(config), config["cross_rank"])
                                                 for _ in range(config["cross_layers"]))

    def _mlp(self, name, widths):
        layers, tied = [], self.config.get("ss1", {}).get("layers", {})
        for K, N in zip(widths, widths[1:]):
            options = dict(tied.get(f"{name}.{len(layers)}", {"kind": "dense"}))
            linear = Linear(K, N, **options) if options.pop("kind") == "ss1" else torch.nn.Linear(K, N)
            layers += [linear, torch.nn.ReLU()]
        return torch.nn.Sequential(*layers)

    def tables(self):
        """Returns the parameters that hold the embeddings."""
        return [self.robe.weight] if "robe" in self.config else list(self.emb_l.parameters())

    def interact(self, x, bags):
        if self.config.get("interaction", "dot") == "cat":
            return torch.cat([x, *bags], 1)
        if self.config.get("interaction") == "dcn":
            x_0 = crossed = torch.cat([x, *bags], 1)
            for layer in self.cross_net:
                crossed = layer(x_0, crossed)
            return crossed
        vectors = torch.stack([x, *bags], 1)
        products = vectors @ vectors.transpose(1, 2)
        # The lower triangle, row by row: (1,0), (2,0), (2,1), ..., with the diagonal if vectors interact with themselves.
        i, j = torch.tril_indices(*products.shape[1:], offset=0 if self.config.get("interaction_itself", False) else -1)
        return torch.cat([x, products[:, i, j]], 1)

    def logits(self, dense_x, indices, offsets):
        """Returns [B] before the sigmoid; bag (t, b) is indices[offsets[t, b] .. the next offset in row-major order)."""
        bounds = [*offsets[:, 0].tolist(), len(indices)]
        batch, bags = offsets.shape[1], []
        for t, (begin, end) in enumerate(zip(bounds, bounds[1:])):
            table = functools.partial(self.robe, t) if "robe" in self.config else self.emb_l[t]
            bag = table(indices[begin:end], offsets[t] - begin)
            if self.training and self.embedding_dropout:
                kept = torch.rand(batch, 1, device=bag.device) >= self.embedding_dropout
                bag = bag * kept / (1 - self.embedding_dropout)
            bags.append(bag)
        # The sigmoid replaces the ReLU after the last top layer.
        return self.top_l[:-1](self.interact(self.bot_l(dense_x), bags)).squeeze(1)

    def forward(self, dense_x, indices, offsets):
        probability = torch.sigmoid(self.logits(dense_x, indices, offsets))
        threshold = self.config.get("loss_threshold", 0.0)
        return probability.clamp(threshold, 1 - threshold) if 0 < threshold < 1 else probability
