# SPDX-License-Identifier: Apache-2.0
"""BERT in PyTorch under the names of Hugging Face, dense or with SS1 layers, so that ss1 loads its directories unchanged.

    model = BertForSequenceClassification(config(vocab_size=8000, id2label={"0": "ham", "1": "spam"}))
    logits = model(input_ids, attention_mask)       # [B, T] int64 each
    model_dir.save("model", model.config, model.state_dict())

The graph is Devlin et al.'s (NAACL 2019): sums of embeddings, encoder layers with the norm after each residual, a tanh
pooler over the first token, and for masked words a transform whose output is multiplied by the word embeddings. Layers
named in config["ss1"]["layers"] are ss1.torch.Linear.
"""
import math
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ss1.torch import Linear, fit, resolve

ATTENTION = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
PER_LAYER = (*ATTENTION, "intermediate.dense", "output.dense")


def config(vocab_size, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
           max_position_embeddings=256, **more):
    """Returns Hugging Face's config.json; `more` adds keys."""
    return {
        "model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": vocab_size, "hidden_size": hidden_size,
        "num_hidden_layers": num_hidden_layers, "num_attention_heads": num_attention_heads,
        "intermediate_size": intermediate_size, "hidden_act": "gelu", "max_position_embeddings": max_position_embeddings,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, **more}


def shape_of(config, name):
    """(K, N) of a linear layer of the encoder."""
    H, I = config["hidden_size"], config["intermediate_size"]
    return {"intermediate.dense": (H, I), "output.dense": (I, H)}.get(name, (H, H))


def tied_layers(config, c, encoder_layers=None):
    """Returns the key "ss1" of config.json, which ties the linear layers of these encoder layers (default: all) c-fold.

    Each has its own seed: layers that read the same hidden state would otherwise all be blind to the same part of it.
    For the same reason an output block of the H -> H layers is a head wide: with one block for all outputs the rank of W
    would be that of a single sketch, H / c.
    """
    layers = {}
    for i in range(config["num_hidden_layers"]) if encoder_layers is None else encoder_layers:
        for j, name in enumerate(PER_LAYER):
            K, N = shape_of(config, name)
            block_n = max(16, config["hidden_size"] // config["num_attention_heads"]) if name in ATTENTION else 0
            layers[f"encoder.layer.{i}.{name}"] = resolve(K, N, c=c, seed=1 + i * len(PER_LAYER) + j, block_k=min(64, K // c),
                                                          block_n=block_n)
    return {"layers": layers}


class _Block(torch.nn.Module):
    """Holds named children: the parameters of _Block(dense=..., LayerNorm=...) are dense.weight, LayerNorm.weight, ..."""

    def __init__(self, /, **children):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


class Encoder(torch.nn.Module):
    """Embeddings and encoder layers; returns the last hidden state [B, T, H]."""

    def __init__(self, config, with_pooler):
        super().__init__()
        H, self.config, self.heads = config["hidden_size"], config, config["num_attention_heads"]
        self.dropout = torch.nn.Dropout(config["hidden_dropout_prob"])
        self.embeddings = _Block(
            word_embeddings=torch.nn.Embedding(config["vocab_size"], H),
            position_embeddings=torch.nn.Embedding(config["max_position_embeddings"], H),
            token_type_embeddings=torch.nn.Embedding(config["type_vocab_size"], H), LayerNorm=self._norm())
        self.encoder = _Block(layer=torch.nn.ModuleList(map(self._layer, range(config["num_hidden_layers"]))))
        if with_pooler:
            self.pooler = _Block(dense=torch.nn.Linear(H, H))

    def _norm(self):
        return torch.nn.LayerNorm(self.config["hidden_size"], self.config["layer_norm_eps"])

    def _layer(self, i):
        def linear(name):
            options = dict(self.config.get("ss1", {}).get("layers", {}).get(f"encoder.layer.{i}.{name}", {"kind": "dense"}))
            kind = Linear if options.pop("kind") == "ss1" else torch.nn.Linear
            return kind(*shape_of(self.config, name), **options)

        query, key, value, output = map(linear, ATTENTION)
        return _Block(
            attention=_Block(**{"self": _Block(query=query, key=key, value=value),
                                "output": _Block(dense=output, LayerNorm=self._norm())}),
            intermediate=_Block(dense=linear("intermediate.dense")),
            output=_Block(dense=linear("output.dense"), LayerNorm=self._norm()))

    def _attend(self, layer, x, bias):
        B, T, H = x.shape
        query, key, value = (getattr(layer, name)(x).reshape(B, T, self.heads, H // self.heads).transpose(1, 2)
                             for name in ("query", "key", "value"))
        scores = query @ key.transpose(2, 3) / math.sqrt(H // self.heads)
        shares = torch.softmax(scores if bias is None else scores + bias, 3)
        shares = torch.nn.functional.dropout(shares, self.config["attention_probs_dropout_prob"], self.training)
        return (shares.to(value.dtype) @ value).transpose(1, 2).reshape(B, T, H)

    def forward(self, input_ids, attention_mask=None):
        """input_ids and attention_mask (1: a token, 0: padding; None: no padding) are [B, T]."""
        embeddings = self.embeddings
        x = (embeddings.word_embeddings(input_ids) + embeddings.position_embeddings.weight[:input_ids.shape[1]] +
             embeddings.token_type_embeddings.weight[0])
        x = self.dropout(embeddings.LayerNorm(x))
        bias = None if attention_mask is None else (1.0 - attention_mask[:, None, None, :].float()) * -1e9
        for layer in self.encoder.layer:
            output = layer.attention.output
            attended = self._attend(getattr(layer.attention, "self"), x, bias)
            x = output.LayerNorm(x + self.dropout(output.dense(attended)))
            inner = torch.nn.functional.gelu(layer.intermediate.dense(x))
            x = layer.output.LayerNorm(x + self.dropout(layer.output.dense(inner)))
        return x


def initialise(module):
    """Initialises as BERT does: weights, tied ones included, from N(0, 0.02^2), biases 0."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            with torch.no_grad():
                if isinstance(part, torch.nn.LayerNorm):
                    parameter.fill_(1.0 if name == "weight" else 0.0)
                elif name == "bias":
                    parameter.zero_()
                else:
                    parameter.normal_(0, 0.02)


class BertForMaskedLM(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        H, self.config = config["hidden_size"], {**config, "architectures": ["BertForMaskedLM"]}
        self.bert = Encoder(config, with_pooler=False)
        self.cls = _Block(predictions=_Block(transform=_Block(
            dense=torch.nn.Linear(H, H), LayerNorm=torch.nn.LayerNorm(H, config["layer_norm_eps"]))))
        self.cls.predictions.bias = torch.nn.Parameter(torch.zeros(config["vocab_size"]))
        initialise(self)

    def forward(self, input_ids, attention_mask=None, places=None):
        """Returns logits [B, T, vocab_size], or [B, P, vocab_size] for the P positions of each sequence in `places` [B, P]."""
        x, predictions = self.bert(input_ids, attention_mask), self.cls.predictions
        if places is not None:
            x = x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2]))
        x = predictions.transform.LayerNorm(torch.nn.functional.gelu(predictions.transform.dense(x)))
        return torch.nn.functional.linear(x, self.bert.embeddings.word_embeddings.weight, predictions.bias)


class BertForSequenceClassification(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = {**config, "architectures": ["BertForSequenceClassification"]}
        self.bert = Encoder(config, with_pooler=True)
        self.classifier = torch.nn.Linear(config["hidden_size"], len(config["id2label"]))
        initialise(self)

    def forward(self, input_ids, attention_mask=None):
        """Returns logits [B, labels]."""
        pooled = torch.tanh(self.bert.pooler.dense(self.bert(input_ids, attention_mask)[:, 0]))
        return self.classifier(self.bert.dropout(pooled))


def project(model, c):
    """Returns a new model: each dense layer of the encoder is replaced by the nearest SS1 layer, tied c-fold."""
    tied = {**model.config, "ss1": tied_layers(model.config, c)}
    projected = type(model)(tied).to(next(model.parameters()).device)
    dense = model.state_dict()
    with torch.no_grad():
        for name, parameter in projected.named_parameters():
            if name in dense:
                parameter.copy_(dense[name])
    for name, module in projected.named_modules():
        if isinstance(module, Linear):
            fit(module, dense[f"{name}.weight"], dense[f"{name}.bias"])
    return projected
