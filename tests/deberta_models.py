# SPDX-License-Identifier: Apache-2.0
"""DeBERTa (v2 and v3) for make_model_vectors.py: configurations, weights of distances, and the scores of its attention in
float64, after the published formula (He et al., 2021) and transformers' DebertaV2Model.
"""
import math

import numpy
import torch

BUCKETS = ((256, 512), (32, 180), (8, 14), (2, 40), (3, 40), (31, 100), (300, 700))  # position_buckets, farthest distance


def settings(hidden, **more):
    """What DeBERTa's configuration has beside BERT's, as in the published models."""
    return {"relative_attention": True, "position_buckets": 8, "max_relative_positions": -1, "pos_att_type": "p2c|c2p",
            "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0,
            "pooler_hidden_size": hidden, "pooler_hidden_act": "gelu", "layer_norm_eps": 1e-7, **more}


def farthest(config):
    return config["max_relative_positions"] if config["max_relative_positions"] > 0 else config["max_position_embeddings"]


def span(config):
    return config["position_buckets"] if config["position_buckets"] > 0 else farthest(config)


def terms(config):
    """The words of pos_att_type."""
    given = config["pos_att_type"]
    return [word.strip() for word in given.lower().split("|")] if isinstance(given, str) else given


def add_tensors(config, linear, normal, norm):
    """The table of distances and what makes keys and queries of its rows."""
    H = config["hidden_size"]
    normal("encoder.rel_embeddings.weight", (2 * span(config), H), 0.5)
    if config["norm_rel_ebd"] == "layer_norm":
        norm("encoder.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        if not config["share_att_key"]:
            for term, name in (("c2p", "pos_key"), ("p2c", "pos_query")):
                if term in terms(config):
                    linear(f"encoder.layer.{i}.attention.self.{name}", H, H)


def bucket(distance, buckets, limit):
    """The bucket of query minus key; logarithms are PyTorch's in float32, as in transformers."""
    middle = buckets // 2
    far = distance.abs().clamp(min=max(middle, 1)).float()
    ratio = torch.log(far / middle) / torch.log(torch.tensor((limit - 1) / middle))
    beyond = middle + torch.ceil(ratio * (middle - 1)).long()
    return torch.where(distance.abs() <= middle, distance, distance.sign() * beyond)


def rows(config, tokens):
    """The row of the table for each [query, key]."""
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]
    if config["position_buckets"] > 0:
        distance = bucket(distance, config["position_buckets"], farthest(config))
    return (distance + span(config)).clamp(0, 2 * span(config) - 1)


def scores(config, weights, layer, linear, norm, query, key):
    """[batch, heads, queries, keys] before the mask; query and key are [batch, heads, tokens, size]."""
    size, tokens = query.shape[-1], query.shape[2]
    table = weights["encoder.rel_embeddings.weight"]
    if config["norm_rel_ebd"] == "layer_norm":
        table = norm("encoder.LayerNorm", table)
    prefix = f"{layer}.attention.self." + ("" if config["share_att_key"] else "pos_")
    index = rows(config, tokens)[None, None].expand(*query.shape[:2], -1, -1)

    def heads(name):
        return linear(prefix + name, table).reshape(len(table), query.shape[1], size).transpose(0, 1)

    total = query @ key.transpose(2, 3)
    if "c2p" in terms(config):
        total = total + torch.gather(query @ heads("key").transpose(1, 2), 3, index)
    if "p2c" in terms(config):
        total = total + torch.gather(key @ heads("query").transpose(1, 2), 3, index.transpose(2, 3)).transpose(2, 3)
    return total / math.sqrt(size * (1 + len(set(terms(config)))))


def bucket_vectors():
    """{"buckets_limit": the bucket of each distance from -limit - 50 to limit + 50}."""
    result = {}
    for buckets, limit in BUCKETS:
        distance = torch.arange(-limit - 50, limit + 51)
        result[f"{buckets}_{limit}"] = bucket(distance, buckets, limit).numpy().astype(numpy.int64)
    return result


def check_buckets():
    """Assert that transformers computes the same buckets."""
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
    for name, want in bucket_vectors().items():
        buckets, limit = map(int, name.split("_"))
        distance = torch.arange(-limit - 50, limit + 51)
        got = make_log_bucket_position(distance, buckets, limit).long().numpy()
        assert (got == want).all(), f"position_buckets {buckets}, {limit} distances: {distance.numpy()[got != want]}"
