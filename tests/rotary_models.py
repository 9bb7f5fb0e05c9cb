# SPDX-License-Identifier: Apache-2.0
"""Small ModernBERTs, NomicBERTs and GTEs for make_model_vectors.py: configurations, random weights under the names of
their files, and forward passes in float64 by the published definitions: transformers' ModernBERT and NomicBERT,
NomicBERT's own code (nomic-ai/nomic-bert-2048) and GTE's (Alibaba-NLP/new-impl)."""
import math

import numpy

LABELS = {"id2label": {"0": "no", "1": "maybe", "2": "yes"}, "label2id": {"no": 0, "maybe": 1, "yes": 2}}
erf = numpy.vectorize(math.erf)
ACTIVATIONS = {"gelu": lambda x: x / 2 * (1 + erf(x / math.sqrt(2))), "silu": lambda x: x / (1 + numpy.exp(-x)),
               "relu": lambda x: numpy.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + numpy.exp(-x))}


def modernbert(architecture, **more):
    return {"model_type": "modernbert", "architectures": [architecture], "vocab_size": 40, "hidden_size": 32,
            "intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 2, "hidden_activation": "gelu",
            "max_position_embeddings": 64, "norm_eps": 1e-5, "pad_token_id": 0, "local_attention": 8,
            "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, **more}


def nomic(architecture, **more):
    """As NomicBERT's own code writes it, which rounds n_inner up to a multiple of 256."""
    return {"model_type": "nomic_bert", "architectures": [architecture], "vocab_size": 37, "pad_vocab_size_multiple": 8,
            "n_embd": 32, "n_inner": 200, "n_layer": 1, "n_head": 2, "n_positions": 64, "activation_function": "swiglu",
            "layer_norm_epsilon": 1e-12, "type_vocab_size": 2, "rotary_emb_fraction": 1.0, "rotary_emb_base": 1000,
            "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
            "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "prenorm": False, "causal": False, **more}


def nomic_hf(architecture, **more):
    """As transformers writes it."""
    return {"model_type": "nomic_bert", "architectures": [architecture], "vocab_size": 40, "hidden_size": 32,
            "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "silu",
            "max_position_embeddings": 64, "layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}, **more}


def gte(architecture, **more):
    return {"model_type": "new", "architectures": [architecture], "vocab_size": 40, "hidden_size": 32,
            "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "gelu",
            "max_position_embeddings": 64, "layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0,
            "position_embedding_type": "rope", "rope_theta": 10000.0, "rope_scaling": None, "pack_qkv": True, **more}


def tied(c, block_k, block_n, seed=1):
    return {"kind": "ss1", "c": c, "scheme": "mixed", "seed": seed, "block_k": block_k, "block_n": block_n, "step": block_k // 4}


V5 = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "num_hidden_layers": 3,
      "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5000.0},
                          "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}}
BIASES = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}
# name: (configuration, lengths of the sequences, {layer of the file: its entry in ss1.layers, with ss1's name})
CASES = {
    "modernbert": (modernbert("ModernBertModel"), (61, 20), {}),
    "modernbert_classifier": (modernbert("ModernBertForSequenceClassification", **LABELS, **V5, **BIASES,
                                         classifier_pooling="mean"), (30, 7), {
        "layers.0.attn.Wqkv": ("encoder.layer.0.attention.self.qkv", tied(2, 16, 96)),
        "layers.1.mlp.Wi": ("encoder.layer.1.intermediate.dense", tied(2, 16, 48, seed=3)),
        "layers.2.attn.Wo": ("encoder.layer.2.attention.output.dense", tied(2, 16, 32, seed=4)),
        "head.dense": ("cls.predictions.transform.dense", tied(2, 16, 32, seed=5))}),
    "modernbert_first": (modernbert("ModernBertForSequenceClassification", num_hidden_layers=2, local_rope_theta=None,
                                    classifier_activation="relu"), (12, 12), {}),
    "modernbert_tokens": (modernbert("ModernBertForTokenClassification", **LABELS, hidden_activation="silu",
                                     global_attn_every_n_layers=1), (9, 14), {}),
    "modernbert_words": (modernbert("ModernBertForMaskedLM", num_hidden_layers=2, local_attention=5), (12, 25), {}),
    "modernbert_untied": (modernbert("ModernBertForMaskedLM", num_hidden_layers=1, decoder_bias=False, norm_bias=True,
                                     tie_word_embeddings=False), (6, 9), {}),
    "modernbert_answers": (modernbert("ModernBertForQuestionAnswering", num_hidden_layers=1), (8, 17), {}),
    "nomic": (nomic("NomicBertModel"), (61, 20), {}),
    "nomic_words": (nomic("NomicBertForMaskedLM", activation_function="geglu", mlp_fc1_bias=True, mlp_fc2_bias=True,
                          qkv_proj_bias=True, rotary_emb_fraction=0.5, type_vocab_size=0), (9, 14), {
        "encoder.layers.0.mlp.fc11": ("encoder.layer.0.intermediate.up", tied(2, 16, 64))}),
    "nomic_hf": (nomic_hf("NomicBertModel"), (40, 13), {}),
    "nomic_hf_classifier": (nomic_hf("NomicBertForSequenceClassification", **LABELS), (9, 4), {
        "encoder.layers.0.mlp.fc12": ("encoder.layer.0.intermediate.gate", tied(2, 16, 48))}),
    "nomic_hf_words": (nomic_hf("NomicBertForMaskedLM", num_hidden_layers=1), (9, 4), {}),
    "gte": (gte("NewModel", rope_scaling={"type": "ntk", "factor": 2.0}), (61, 20), {}),
    "gte_classifier": (gte("NewForSequenceClassification", **LABELS, pack_qkv=False, type_vocab_size=0), (12, 5), {
        "encoder.layer.0.attention.k_proj": ("encoder.layer.0.attention.self.key", tied(2, 16, 32)),
        "encoder.layer.1.mlp.up_gate_proj": ("encoder.layer.1.intermediate.dense", tied(2, 16, 96, seed=2))}),
    "gte_words": (gte("NewForMaskedLM", num_hidden_layers=1, type_vocab_size=1), (9, 14), {}),
}
# 8,192 tokens, which all layers but the first see through a window.
LONG = (modernbert("ModernBertModel", hidden_size=8, intermediate_size=16, num_attention_heads=1, num_hidden_layers=3,
                   max_position_embeddings=8192, local_attention=128, vocab_size=30), (8192,), {})


class Weights:
    """Draws tensors when they are first used; tied layers are drawn by `draw_tied(K, N, entry)`, which returns the stored
    tensor and the dense one."""

    def __init__(self, random, ties, draw_tied):
        self.random, self.ties, self.draw_tied = random, ties, draw_tied
        self.stored, self.dense = {}, {}

    def draw(self, name, shape, deviation, mean=0.0):
        if name not in self.dense:
            self.stored[name] = self.random.normal(mean, deviation, shape).astype(numpy.float32)
            self.dense[name] = self.stored[name]
        return self.dense[name].astype(numpy.float64)

    def linear(self, name, x, N, bias=True):
        K = x.shape[-1]
        if name in self.ties and f"{name}.weight" not in self.dense:
            self.stored[f"{name}.ss1_weight"], self.dense[f"{name}.weight"] = self.draw_tied(K, N, self.ties[name][1])
        y = x @ self.draw(f"{name}.weight", (N, K), 1 / math.sqrt(K)).T
        return y + self.draw(f"{name}.bias", (N,), 0.1) if bias else y

    def norm(self, name, x, eps, bias=True):
        x = x - x.mean(-1, keepdims=True)
        x = x / numpy.sqrt((x * x).mean(-1, keepdims=True) + eps)
        x = x * self.draw(f"{name}.weight", (x.shape[-1],), 0.1, 1.0)
        return x + self.draw(f"{name}.bias", (x.shape[-1],), 0.1) if bias else x


def rotate(x, theta, size, factor=1.0):
    """Turns [B, T, heads, d] by its positions; the angles are PyTorch's in float32."""
    exponents = numpy.arange(0, size, 2, dtype=numpy.float32) / numpy.float32(size)
    powers = (numpy.float64(numpy.float32(theta * factor)) ** exponents.astype(numpy.float64)).astype(numpy.float32)
    steps = numpy.float32(1) / powers / numpy.float32(factor ** (2 / size))
    angles = (numpy.arange(x.shape[1], dtype=numpy.float32)[:, None] * steps).astype(numpy.float64)
    cosines, sines = (f(angles)[None, :, None, :] for f in (numpy.cos, numpy.sin))
    a, b = x[..., :size // 2], x[..., size // 2:size]
    return numpy.concatenate([a * cosines - b * sines, b * cosines + a * sines, x[..., size:]], -1)


def attend(q, k, v, mask, window=None, block=512):
    """softmax(q k^T / sqrt(d)) v of [B, T, heads, d]; `mask` [B, T] of keys; keys further than `window` are not seen."""
    B, T, heads, d = q.shape
    y = numpy.empty_like(q)
    for begin in range(0, T, block):
        i = numpy.arange(begin, min(T, begin + block))
        scores = numpy.einsum("bihd,bjhd->bhij", q[:, i], k) / math.sqrt(d)
        hidden = (mask[:, None, None, :] == 0) * numpy.ones((1, 1, len(i), 1), bool)
        if window is not None:
            hidden = hidden | (numpy.abs(i[:, None] - numpy.arange(T)[None, :]) > window)[None, None]
        scores = numpy.where(hidden & ~hidden.all(-1, keepdims=True), -numpy.inf, scores)
        weights = numpy.exp(scores - scores.max(-1, keepdims=True))
        y[:, i] = numpy.einsum("bhij,bjhd->bihd", weights / weights.sum(-1, keepdims=True), v)
    return y.reshape(B, T, heads * d)


def split(x, heads):
    return x.reshape(*x.shape[:2], heads, -1)


def forward_modernbert(config, w, ids, mask, types):
    H, I, heads, eps = (config[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads", "norm_eps"))
    flags = {key: config.get(key, False) for key in BIASES}
    architecture = config["architectures"][0]
    base = "" if architecture.endswith("Model") else "model."
    act, n, d = ACTIVATIONS[config["hidden_activation"]], config["num_hidden_layers"], H // heads
    every = config["global_attn_every_n_layers"]
    kinds = config.get("layer_types", ["sliding_attention" if i % every else "full_attention" for i in range(n)])
    theta = {"full_attention": config["global_rope_theta"],
             "sliding_attention": config["local_rope_theta"] or config["global_rope_theta"]}
    theta.update({kind: rope["rope_theta"] for kind, rope in config.get("rope_parameters", {}).items()})

    def norm(name, x):
        return w.norm(name, x, eps, flags["norm_bias"])

    words = w.draw(f"{base}embeddings.tok_embeddings.weight", (config["vocab_size"], H), 0.5)
    x = norm(f"{base}embeddings.norm", words[ids])
    for i, kind in enumerate(kinds):
        layer = f"{base}layers.{i}"
        normed = norm(f"{layer}.attn_norm", x) if i else x
        q, k, v = numpy.split(w.linear(f"{layer}.attn.Wqkv", normed, 3 * H, flags["attention_bias"]), 3, -1)
        q, k = (rotate(split(part, heads), theta[kind], d) for part in (q, k))
        window = config["local_attention"] // 2 if kind == "sliding_attention" else None
        x = x + w.linear(f"{layer}.attn.Wo", attend(q, k, split(v, heads), mask, window), H, flags["attention_bias"])
        a, gate = numpy.split(w.linear(f"{layer}.mlp.Wi", norm(f"{layer}.mlp_norm", x), 2 * I, flags["mlp_bias"]), 2, -1)
        x = x + w.linear(f"{layer}.mlp.Wo", act(a) * gate, H, flags["mlp_bias"])
    x = norm(f"{base}final_norm", x)
    outputs = {"last_hidden_state": x}

    def head(x):
        y = ACTIVATIONS[config.get("classifier_activation", "gelu")](w.linear("head.dense", x, H, flags["classifier_bias"]))
        return norm("head.norm", y)

    if architecture.endswith("ForMaskedLM"):
        y = head(x)
        if config.get("tie_word_embeddings", True):
            outputs["logits"] = y @ words.T + w.draw("decoder.bias", (config["vocab_size"],), 0.1)
        else:
            outputs["logits"] = w.linear("decoder", y, config["vocab_size"], config.get("decoder_bias", True))
    elif architecture.endswith("ForQuestionAnswering"):
        y = w.linear("classifier", head(x), 2)
        outputs["start_logits"], outputs["end_logits"] = y[..., 0], y[..., 1]
    elif architecture.endswith("Classification"):
        if architecture.endswith("ForSequenceClassification"):
            mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            x = mean if config.get("classifier_pooling", "cls") == "mean" else x[:, 0]
        outputs["logits"] = w.linear("classifier", head(x), len(config.get("id2label", "01")))
    return outputs


# The names of a post-norm family's tensors, the sizes and the rest that its config.json says.
def described(config):
    if "n_embd" in config:
        multiple = config["pad_vocab_size_multiple"]
        gate = {"swiglu": "silu", "geglu": "gelu", "glu": "sigmoid"}[config["activation_function"]]
        return {"layer": "encoder.layers.#.", "qkv": "attn.Wqkv", "o": "attn.out_proj", "norm1": "norm1", "norm2": "norm2",
                "up": "mlp.fc11", "gate": "mlp.fc12", "down": "mlp.fc2", "norm": "emb_ln", "prefix": "bert.",
                "head": "cls.predictions.transform.dense", "head_norm": "cls.predictions.transform.layer_norm",
                "decoder": "cls.predictions.decoder", "H": config["n_embd"], "I": -(-config["n_inner"] // 256) * 256,
                "layers": config["n_layer"], "heads": config["n_head"], "eps": config["layer_norm_epsilon"],
                "V": -(-config["vocab_size"] // multiple) * multiple, "act": gate, "head_act": "silu" if gate == "silu" else "gelu",
                "theta": config["rotary_emb_base"], "factor": 1.0, "fraction": config["rotary_emb_fraction"],
                "biases": [config[key] for key in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "mlp_fc1_bias")],
                "pooler": False}
    sizes = {"H": config["hidden_size"], "I": config["intermediate_size"], "layers": config["num_hidden_layers"],
             "heads": config["num_attention_heads"], "eps": config["layer_norm_eps"], "V": config["vocab_size"],
             "act": config["hidden_act"], "head_act": config["hidden_act"], "fraction": 1.0, "norm": "embeddings.LayerNorm"}
    if config["model_type"] == "nomic_bert":  # its files have the names of NomicBERT's own code
        return {**sizes, "layer": "encoder.layers.#.", "qkv": "attn.Wqkv", "o": "attn.out_proj", "norm1": "norm1", "norm2": "norm2",
                "up": "mlp.fc11", "gate": "mlp.fc12", "down": "mlp.fc2", "norm": "emb_ln", "prefix": "nomic_bert.",
                "head": "cls.predictions.transform.dense", "head_norm": "cls.predictions.transform.layer_norm", "decoder": None,
                "theta": config["rope_parameters"]["rope_theta"], "factor": 1.0, "biases": [False, False, False, True],
                "pooler": not config["architectures"][0].endswith("ForMaskedLM")}
    return {**sizes, "layer": "encoder.layer.#.", "qkv": "attention.qkv_proj", "o": "attention.o_proj", "norm1": "attn_ln",
            "norm2": "mlp_ln", "up": None, "gate": "mlp.up_gate_proj", "down": "mlp.down_proj", "prefix": "new.",
            "head": "lm_head.dense", "head_norm": "lm_head.norm", "decoder": "lm_head.decoder", "theta": config["rope_theta"],
            "factor": (config["rope_scaling"] or {"factor": 1.0})["factor"], "biases": [True, False, True, True],
            "pooler": config["architectures"][0].endswith("ForSequenceClassification")}


def forward_post_norm(config, w, ids, mask, types):
    """NomicBERT and GTE."""
    f = described(config)
    H, I, heads, architecture = f["H"], f["I"], f["heads"], config["architectures"][0]
    base = "" if architecture.endswith("Model") else f["prefix"]
    of_qkv, of_up, of_down, of_head = f["biases"]
    words = w.draw(f"{base}embeddings.word_embeddings.weight", (f["V"], H), 0.5)
    x = words[ids]
    if config["type_vocab_size"]:
        x = x + w.draw(f"{base}embeddings.token_type_embeddings.weight", (config["type_vocab_size"], H), 0.5)[types]
    x = w.norm(base + f["norm"], x, f["eps"])
    for i in range(f["layers"]):
        layer = base + f["layer"].replace("#", str(i))
        if config.get("pack_qkv", True):
            q, k, v = numpy.split(w.linear(layer + f["qkv"], x, 3 * H, of_qkv), 3, -1)
        else:
            q, k, v = (w.linear(f"{layer}attention.{part}_proj", x, H) for part in "qkv")
        q, k = (rotate(split(part, heads), f["theta"], int(f["fraction"] * H / heads), f["factor"]) for part in (q, k))
        x = w.norm(layer + f["norm1"], x + w.linear(layer + f["o"], attend(q, k, split(v, heads), mask), H, of_qkv), f["eps"])
        if f["up"]:
            up, gate = (w.linear(layer + f[part], x, I, of_up) for part in ("up", "gate"))
        else:
            up, gate = numpy.split(w.linear(layer + f["gate"], x, 2 * I, of_up), 2, -1)
        x = w.norm(layer + f["norm2"], x + w.linear(layer + f["down"], up * ACTIVATIONS[f["act"]](gate), H, of_down), f["eps"])
    outputs = {"last_hidden_state": x}
    if f["pooler"]:
        outputs["pooled"] = numpy.tanh(w.linear(f"{base}pooler.dense", x[:, 0], H))
    if architecture.endswith("ForSequenceClassification"):
        outputs["logits"] = w.linear("classifier", outputs["pooled"], len(config["id2label"]))
    elif architecture.endswith("ForMaskedLM"):
        y = w.norm(f["head_norm"], ACTIVATIONS[f["head_act"]](w.linear(f["head"], x, H, of_head)), f["eps"])
        outputs["logits"] = y @ words.T
        if of_head:
            name = f["decoder"] + ".bias" if f["decoder"] else "cls.predictions.bias"
            outputs["logits"] = outputs["logits"] + w.draw(name, (f["V"],), 0.1)
    return outputs


def make(case, random, draw_tied, of_tokens, check=None):
    """Returns (config, tensors, vectors) of a case; `check(config, dense tensors, arguments, outputs)` compares."""
    config, lengths, ties = case
    config = dict(config)
    base = {"modernbert": "model.", "new": "new."}.get(config["model_type"], "bert." if "n_embd" in config else "nomic_bert.")
    base = "" if config["architectures"][0].endswith("Model") else base
    if ties:
        config["ss1"] = {"layers": {name: entry for name, entry in ties.values()}}
    ties = {(name if name.startswith("head.") else base + name): value for name, value in ties.items()}
    mask = (numpy.arange(max(lengths)) < numpy.array(lengths)[:, None]).astype(numpy.int64)
    ids = numpy.where(mask, random.integers(1, config["vocab_size"], mask.shape), 0)
    types = mask * (numpy.arange(max(lengths)) >= numpy.array(lengths)[:, None] // 2)
    types = numpy.minimum(types, max(config.get("type_vocab_size", 0), 1) - 1)
    w = Weights(random, ties, draw_tied)
    forward = forward_modernbert if config["model_type"] == "modernbert" else forward_post_norm
    outputs = forward(config, w, ids, mask, types)
    assert all(f"{name}.ss1_weight" in w.stored for name in ties), ties
    if check:
        check(config, w.dense, (ids, mask, types), outputs)
    outputs = {name: value * mask.reshape(*mask.shape, *[1] * (value.ndim - 2)) if of_tokens(name, value) else value
               for name, value in outputs.items()}
    given = {"attention_mask": mask, **({"token_type_ids": types} if config.get("type_vocab_size") else {})}
    return config, w.stored, {"input_ids": ids, **given, **outputs}
