# SPDX-License-Identifier: Apache-2.0
"""Make the tiny DLRM and BERT models of the tests, with the outputs of PyTorch in float64.

Each case is a folder data/dlrm_<case>/ or data/bert_<case>/: a model directory (config.json, model.safetensors) and
vectors.safetensors with the model's inputs and expected outputs under their names. Outputs of tokens at padding
positions are unspecified and stored as 0: compare only where attention_mask is 1. Inputs that a file lacks are
not passed to the run. The forward passes below follow the published definitions (facebookresearch/dlrm, Hugging Face's
BERT, DistilBERT, RoBERTa, ELECTRA, MPNet and ALBERT; rotary_models.py has those of ModernBERT, NomicBERT and GTE,
deberta_models.py the attention of DeBERTa),
ss1.expand makes dense weights of tied ones; --with-transformers checks those of BERT and its relatives against the
transformers package. data/bert_modernbert_long/long.safetensors holds a sequence of 8,192 tokens,
data/bert_deberta/buckets.safetensors the buckets of distances.
"""
import argparse
import math
import pathlib
import re
import sys
import tempfile

import numpy
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bindings/python"), str(HERE.parent / "bindings/python/train")]
import ss1
import deberta_models
import rotary_models
from dlrm import DLRM
from ss1 import model_dir, safetensors_io
from ss1.torch import resolve, stored_columns

TOLERANCE = 1e-5  # between this file's BERT and the transformers package


def tied(c, scheme, block_k, block_n, seed=1):
    """An entry of ss1.layers; four different rotations for mixed, which makes the default 16 for block_k = 64."""
    return {"kind": "ss1", "c": c, "scheme": scheme, "seed": seed, "block_k": block_k, "block_n": block_n,
            "step": 8 if scheme == "reference" else block_k // 4}


# ---------------------------------------------------------------- DLRM

def dlrm_config(dense, d, rows, bottom, top, **more):
    return {"model_type": "dlrm", "dense_features": [f"dense{i}" for i in range(dense)], "embedding_dim": d,
            "tables": [{"name": f"table{k}", "rows": n} for k, n in enumerate(rows)],
            "bottom_mlp": [dense, *bottom, d], "top_mlp": [*top, 1], **more}


# name: (config, batch, least and most indices of a bag)
DLRM_CASES = {
    "dot": (dlrm_config(4, 16, [40, 7, 19], [32], [32, 16]), 6, (1, 1)),
    "dot_itself": (dlrm_config(4, 16, [40, 7, 19], [32], [32], interaction="dot", interaction_itself=True), 5, (1, 3)),
    "cat": (dlrm_config(3, 8, [11, 23], [16], [32], interaction="cat"), 5, (1, 3)),
    # bot_l.2 is 64 -> 16; top_l.0 37 -> 64, not a multiple of c * B_K; top_l.2 64 -> 56, its last output block cut short.
    "ss1": (dlrm_config(5, 16, [9, 8, 7, 6, 5, 4], [64], [64, 56], ss1={"layers": {
        "bot_l.2": tied(2, "mixed", 16, 16),
        "top_l.0": tied(2, "mixed", 16, 32, seed=7),
        "top_l.2": tied(2, "reference", 16, 32, seed=42),
        "top_l.4": {"kind": "dense"}}}), 6, (1, 2)),
    # 13 dense features, empty bags, a table of one row, 20 + 15 inputs of the top MLP and a batch that no tile divides.
    "odd": (dlrm_config(13, 20, [1, 50, 3, 17, 29], [37], [45, 18]), 17, (0, 5)),
    # Some rows reach the lower limit, some the upper one, some neither.
    "loss_threshold": (dlrm_config(4, 8, [30, 10], [16], [32], loss_threshold=0.4), 16, (1, 2)),
}
# New cases come after the others, which keep their seeds.
CROSS_CASES = {
    "dcn": (dlrm_config(5, 12, [40, 7, 19], [32], [32, 16], interaction="dcn", cross_layers=3, cross_rank=10), 6, (1, 3)),
}


def make_dlrm(name, random):
    config, batch, (least, most) = {**DLRM_CASES, **CROSS_CASES}[name]
    model = DLRM(config)
    with torch.no_grad():
        # Wide weights spread the probabilities, so that no bias hides a wrong interaction.
        for table in model.emb_l:
            table.weight.normal_(0, 1 / math.sqrt(config["embedding_dim"]))
        for layer in (*model.bot_l[::2], *model.top_l[::2]):
            next(layer.parameters()).normal_(0, math.sqrt(1.5 / layer.in_features))
            layer.bias.normal_(0, 0.2)
        for layer in getattr(model, "cross_net", []):
            layer.v.weight.normal_(0, 1 / math.sqrt(layer.v.in_features))
            layer.w.weight.normal_(0, 1 / math.sqrt(layer.w.in_features))
            layer.w.bias.normal_(0, 0.2)
    lengths = random.integers(least, most + 1, (len(config["tables"]), batch))
    ends = numpy.cumsum(lengths.reshape(-1)).reshape(lengths.shape)
    indices = numpy.concatenate([random.integers(0, table["rows"], count.sum())
                                 for table, count in zip(config["tables"], lengths)])
    vectors = {"dense_x": random.standard_normal((batch, len(config["dense_features"]))).astype(numpy.float32),
               "indices": indices, "offsets": ends - lengths}
    tensors = model.state_dict()  # stays f32
    dense_x, indices, offsets = (torch.from_numpy(value) for value in vectors.values())
    with torch.no_grad():
        vectors["probability"] = model.double()(dense_x.double(), indices, offsets).numpy()
        if name in CROSS_CASES:
            vectors["logits"] = model.logits(dense_x.double(), indices, offsets).numpy()
    return config, tensors, vectors


# ---------------------------------------------------------------- BERT

def bert_config(architecture, hidden, heads, intermediate, layers, vocab, positions, **more):
    return {"model_type": "bert", "architectures": [architecture], "vocab_size": vocab, "hidden_size": hidden,
            "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": intermediate,
            "hidden_act": "gelu", "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
            "pad_token_id": 0, "position_embedding_type": "absolute", **more}


LABELS = {"id2label": {"0": "no", "1": "maybe", "2": "yes"}, "label2id": {"no": 0, "maybe": 1, "yes": 2}}
SMALL = bert_config("BertModel", 32, 2, 64, 2, 50, 20, hidden_act="relu", layer_norm_eps=1e-5)
CLASSIFIER = "BertForSequenceClassification"
POOLED_CLASSIFIERS = (CLASSIFIER, "AlbertForSequenceClassification", "JinaBertForSequenceClassification")
DISCRIMINATOR = "ElectraForPreTraining"

# name: (config, lengths of the sequences, token and mask arrays are given too, LayerNorm under its legacy names)
BERT_CASES = {
    "classifier": (bert_config(CLASSIFIER, 64, 4, 128, 2, 100, 16, **LABELS), (11, 4, 7), True, False),
    "one_token": (SMALL, (1, 1), False, True),
    "all_positions": (SMALL, (20, 13), True, True),
    "ss1": (bert_config(CLASSIFIER, 64, 4, 128, 2, 60, 16, ss1={"layers": {
        "encoder.layer.0.attention.self.query": tied(2, "mixed", 16, 16),
        "encoder.layer.0.attention.self.key": tied(2, "mixed", 16, 32, seed=2),
        "encoder.layer.0.attention.self.value": tied(4, "mixed", 16, 32, seed=3),
        "encoder.layer.0.attention.output.dense": tied(2, "mixed", 32, 64, seed=4),
        "encoder.layer.0.intermediate.dense": tied(4, "mixed", 16, 48, seed=5),
        "encoder.layer.0.output.dense": tied(2, "reference", 64, 32, seed=1024),
        "encoder.layer.1.intermediate.dense": tied(2, "mixed", 16, 128, seed=6)}}), (9, 5), True, False),
    "gelu_new": (bert_config("BertModel", 96, 6, 144, 1, 40, 12, hidden_act="gelu_new"), (12, 1, 8), True, False),
}


# The prefix of the base model's tensors, where it is not the model_type.
PREFIXES = {"roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta", "deberta-v2": "deberta"}
# Families whose words are scored behind gelu, and whose positions are counted from pad_token_id + 1 without padding.
GELU_WORDS = ("roberta", "xlm-roberta", "camembert", "mpnet", "electra")
COUNTED_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
BUCKETS = 32  # of MPNet's relative positions


def relative(architecture, **more):
    """A small model of one layer under another head or another family; its model_type follows from the architecture."""
    family = re.match("Bert|DistilBert|Roberta|XLMRoberta|Camembert|Electra|MPNet|Albert|DebertaV2", architecture).group()
    model_type = {"XLMRoberta": "xlm-roberta", "DebertaV2": "deberta-v2"}.get(family, family.lower())
    config = bert_config(architecture, 32, 2, 48, 1, 40, 14, model_type=model_type)
    if model_type == "distilbert":
        config["type_vocab_size"] = 0
    if PREFIXES.get(model_type) == "roberta":
        config.update(type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
    if model_type == "mpnet":
        config.update(type_vocab_size=0, pad_token_id=1, relative_attention_num_buckets=BUCKETS)
    if model_type == "electra":
        config.update(embedding_size=24)
    if model_type == "albert":
        config.update(embedding_size=24, num_hidden_groups=1, inner_group_num=1, hidden_act="gelu_new", num_hidden_layers=3)
    if model_type == "deberta-v2":
        config.update(deberta_models.settings(config["hidden_size"]))
    return {**config, **more}


# New cases come last, so that the others keep their seeds. `lengths` as above, token and mask arrays are given too,
# legacy names.
RELATIVE_CASES = {
    "tokens": (relative("BertForTokenClassification", **LABELS), (9, 4), True, False),
    "words": (relative("BertForMaskedLM"), (7, 9), True, True),
    "pretraining": (relative("BertForPreTraining", tie_word_embeddings=False, hidden_act="relu"), (6, 3), True, False),
    "answers": (relative("BertForQuestionAnswering"), (8, 5, 8), True, False),
    "distil": (relative("DistilBertModel", hidden_act="relu"), (14, 3), True, False),
    "distil_classifier": (relative("DistilBertForSequenceClassification", **LABELS), (9, 4), True, False),
    "distil_tokens": (relative("DistilBertForTokenClassification"), (5, 5), False, False),
    "distil_words": (relative("DistilBertForMaskedLM"), (5, 9), True, False),
    "distil_answers": (relative("DistilBertForQuestionAnswering"), (9, 4), True, False),
    "roberta": (relative("RobertaModel"), (12, 12), False, False),  # padding among the tokens
    "roberta_classifier": (relative("RobertaForSequenceClassification", **LABELS, ss1={"layers": {
        "encoder.layer.0.intermediate.dense": tied(2, "mixed", 16, 48),
        "encoder.layer.0.attention.self.key": tied(2, "mixed", 16, 32, seed=2)}}), (9, 4), True, False),
    "roberta_tokens": (relative("RobertaForTokenClassification", **LABELS), (3, 8), True, False),
    "roberta_words": (relative("RobertaForMaskedLM", hidden_act="relu"), (3, 8), True, False),
    "roberta_answers": (relative("RobertaForQuestionAnswering"), (8, 7), True, False),
    "xlm_roberta_classifier": (relative("XLMRobertaForSequenceClassification"), (9, 4), True, False),
}

def jina(architecture, **more):
    return bert_config(architecture, 48, 3, 40, 2, 40, 64, position_embedding_type="alibi", feed_forward_type="geglu", **more)


FAMILY_CASES = {
    "camembert_classifier": (relative("CamembertForSequenceClassification", **LABELS), (12, 5, 9), True, False),
    "electra": (relative("ElectraModel", hidden_act="relu"), (14, 3), True, False),
    "electra_classifier": (relative("ElectraForSequenceClassification", **LABELS, ss1={"layers": {
        "encoder.layer.0.intermediate.dense": tied(2, "mixed", 16, 48),
        "encoder.layer.0.output.dense": tied(2, "mixed", 16, 32, seed=2)}}), (9, 4), True, False),
    "electra_tokens": (relative("ElectraForTokenClassification", embedding_size=32), (5, 5), False, False),
    "electra_words": (relative("ElectraForMaskedLM", hidden_act="relu"), (5, 9), True, False),
    "electra_answers": (relative("ElectraForQuestionAnswering"), (9, 4), True, False),
    "electra_pretraining": (relative("ElectraForPreTraining", embedding_size=32), (6, 3), True, False),
    "mpnet": (relative("MPNetModel", hidden_size=16, max_position_embeddings=180), (177, 40), True, False),
    "mpnet_classifier": (relative("MPNetForSequenceClassification", **LABELS, ss1={"layers": {
        "encoder.layer.0.attention.self.query": tied(2, "mixed", 16, 32)}}), (12, 4), True, False),
    "mpnet_tokens": (relative("MPNetForTokenClassification", **LABELS), (3, 8), True, False),
    "mpnet_words": (relative("MPNetForMaskedLM", hidden_act="relu"), (3, 8), True, False),
    "mpnet_answers": (relative("MPNetForQuestionAnswering"), (8, 8), False, False),
    "albert": (relative("AlbertModel", num_hidden_layers=5, num_hidden_groups=2), (14, 3), True, False),
    "albert_classifier": (relative("AlbertForSequenceClassification", **LABELS, ss1={"layers": {
        "encoder.layer.0.intermediate.dense": tied(2, "mixed", 16, 48)}}), (9, 4), True, False),
    "albert_tokens": (relative("AlbertForTokenClassification", embedding_size=32), (5, 5), False, False),
    "albert_words": (relative("AlbertForMaskedLM"), (5, 9), True, False),
    "albert_answers": (relative("AlbertForQuestionAnswering"), (9, 4), True, False),
    "albert_pretraining": (relative("AlbertForPreTraining"), (6, 3), True, False),
    "jina": (jina("JinaBertModel"), (61, 20), True, False),
    "jina_classifier": (jina("JinaBertForSequenceClassification", **LABELS, ss1={"layers": {
        "encoder.layer.0.intermediate.dense": tied(2, "mixed", 16, 80)}}), (9, 4), True, False),
    "jina_words": (jina("JinaBertForMaskedLM"), (12, 12), False, False),
}

DEBERTA_CASES = {
    "deberta": (relative("DebertaV2Model", num_hidden_layers=2, max_position_embeddings=180, position_buckets=32), (177, 40),
                True, False),
    "deberta_classifier": (relative("DebertaV2ForSequenceClassification", **LABELS, ss1={"layers": {
        "encoder.layer.0.attention.self.key": tied(2, "mixed", 16, 32),
        "encoder.layer.0.intermediate.dense": tied(2, "mixed", 16, 48)}}), (14, 4), True, False),
    "deberta_tokens": (relative("DebertaV2ForTokenClassification", **LABELS, share_att_key=False, pos_att_type=["c2p"],
                                norm_rel_ebd="none", position_buckets=-1, max_relative_positions=5, type_vocab_size=2,
                                position_biased_input=True), (9, 13), True, False),
    "deberta_words": (relative("DebertaV2ForMaskedLM", share_att_key=False, pos_att_type="p2c", position_buckets=6), (5, 14),
                      True, False),
    "deberta_lm": (relative("DebertaV2ForMaskedLM", legacy=False, hidden_act="relu"), (14, 3), True, False),
    "deberta_answers": (relative("DebertaV2ForQuestionAnswering", share_att_key=False, position_buckets=-1), (9, 14), True, False),
}

# The names of the other families for the tensors of BertModel.
DISTILBERT_KEYS = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
                   "intermediate_size": "hidden_dim", "hidden_act": "activation"}
ALBERT = r"encoder.albert_layer_groups.\1.albert_layers.0"
NAMES = {
    "bert": [],
    "distilbert": [(r"encoder\.layer\.(\d+)\.attention\.self\.([qkv])[a-z]+", r"transformer.layer.\1.attention.\2_lin"),
                   (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"transformer.layer.\1.attention.out_lin"),
                   (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"transformer.layer.\1.sa_layer_norm"),
                   (r"encoder\.layer\.(\d+)\.intermediate\.dense", r"transformer.layer.\1.ffn.lin1"),
                   (r"encoder\.layer\.(\d+)\.output\.dense", r"transformer.layer.\1.ffn.lin2"),
                   (r"encoder\.layer\.(\d+)\.output\.LayerNorm", r"transformer.layer.\1.output_layer_norm"),
                   (r"cls\.predictions\.transform\.dense", "vocab_transform"),
                   (r"cls\.predictions\.transform\.LayerNorm", "vocab_layer_norm"),
                   (r"cls\.predictions\.bias", "vocab_projector.bias")],
    "roberta": [(r"cls\.predictions\.transform\.dense", "lm_head.dense"),
                (r"cls\.predictions\.transform\.LayerNorm", "lm_head.layer_norm"),
                (r"cls\.predictions\.bias", "lm_head.bias")],
    "electra": [(r"cls\.predictions\.transform\.dense", "generator_predictions.dense"),
                (r"cls\.predictions\.transform\.LayerNorm", "generator_predictions.LayerNorm"),
                (r"cls\.predictions\.bias", "generator_lm_head.bias")],
    "mpnet": [(r"encoder\.layer\.(\d+)\.attention\.self\.([qkv])[a-z]+", r"encoder.layer.\1.attention.attn.\2"),
              (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"encoder.layer.\1.attention.attn.o"),
              (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"encoder.layer.\1.attention.LayerNorm"),
              (r"cls\.predictions\.transform\.dense", "lm_head.dense"),
              (r"cls\.predictions\.transform\.LayerNorm", "lm_head.layer_norm"),
              (r"cls\.predictions\.bias", "lm_head.bias")],
    "albert": [(r"encoder\.layer\.(\d+)\.attention\.self\.", rf"{ALBERT}.attention."),
               (r"encoder\.layer\.(\d+)\.attention\.output\.", rf"{ALBERT}.attention."),
               (r"encoder\.layer\.(\d+)\.intermediate\.dense", rf"{ALBERT}.ffn"),
               (r"encoder\.layer\.(\d+)\.output\.dense", rf"{ALBERT}.ffn_output"),
               (r"encoder\.layer\.(\d+)\.output\.LayerNorm", rf"{ALBERT}.full_layer_layer_norm"),
               (r"embeddings_project", "encoder.embedding_hidden_mapping_in"),
               (r"pooler\.dense", "pooler"),
               (r"cls\.predictions\.transform\.", "predictions."),
               (r"cls\.predictions\.bias", "predictions.bias"),
               (r"cls\.seq_relationship", "sop_classifier.classifier")],
    "deberta": [(r"encoder\.layer\.(\d+)\.attention\.self\.([a-z_]+)", r"encoder.layer.\1.attention.self.\2_proj"),
                (r"pre_classifier", "pooler.dense")],
    "jina": [(r"encoder\.layer\.(\d+)\.intermediate\.dense", r"encoder.layer.\1.mlp.gated_layers"),
             (r"encoder\.layer\.(\d+)\.output\.dense", r"encoder.layer.\1.mlp.wo"),
             (r"encoder\.layer\.(\d+)\.output\.LayerNorm", r"encoder.layer.\1.mlp.layernorm")],
}

ACTIVATIONS = {"gelu": torch.nn.functional.gelu, "relu": torch.relu,
               "gelu_new": lambda x: x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))}
SIX_LAYERS = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
              "intermediate.dense", "output.dense")


def six_layers(config, i):
    """(name, K, N) of the linear layers of encoder layer i."""
    H, I = config["hidden_size"], config["intermediate_size"]
    for name in SIX_LAYERS:
        wide = 2 * I if is_jina(config) else I
        yield f"encoder.layer.{i}.{name}", I if name == "output.dense" else H, wide if name == "intermediate.dense" else H


def is_jina(config):
    return config["position_embedding_type"] == "alibi"


def bert_tensors(config, random):
    """Weights under BertModel's names (no prefix), tied layers as ss1_weight; large enough that no part is negligible."""
    H, family = config["hidden_size"], config["model_type"]
    E = config.get("embedding_size", H)
    tensors = {}

    def normal(name, shape, deviation, mean=0.0):
        tensors[name] = random.normal(mean, deviation, shape).astype(numpy.float32)

    def norm(name, width=H):
        normal(f"{name}.weight", width, 0.1, 1.0)
        normal(f"{name}.bias", width, 0.1)

    def linear(name, K, N):
        entry = config.get("ss1", {}).get("layers", {}).get(name)
        if entry is None:
            normal(f"{name}.weight", (N, K), 1 / math.sqrt(K))
        else:
            normal(f"{name}.ss1_weight", (N, stored_columns(K, entry["c"], entry["block_k"])), 1 / math.sqrt(K))
        if not (is_jina(config) and name.endswith(".intermediate.dense")):
            normal(f"{name}.bias", N, 0.1)

    has_positions = not is_jina(config) and config.get("position_biased_input", True)
    for name, rows in (("word", config["vocab_size"]), ("position", config["max_position_embeddings"] if has_positions else 0),
                       ("token_type", config["type_vocab_size"])):
        if rows:
            normal(f"embeddings.{name}_embeddings.weight", (rows, E), 0.5)
    norm("embeddings.LayerNorm", E)
    if family == "albert" or E != H:
        linear("embeddings_project", E, H)
    if family == "mpnet":
        normal("encoder.relative_attention_bias.weight", (BUCKETS, config["num_attention_heads"]), 1.0)
    if family == "deberta-v2":
        deberta_models.add_tensors(config, linear, normal, norm)
    for i in range(config.get("num_hidden_groups", config["num_hidden_layers"])):
        for name, K, N in six_layers(config, i):
            linear(name, K, N)
        norm(f"encoder.layer.{i}.attention.output.LayerNorm")
        norm(f"encoder.layer.{i}.output.LayerNorm")
    architecture = config["architectures"][0]
    labels = len(config["id2label"]) if "id2label" in config else 2
    if (architecture in (*POOLED_CLASSIFIERS, "BertForPreTraining", "AlbertForPreTraining") or
            architecture.endswith("Model") and family not in ("distilbert", "electra", "deberta-v2")):
        linear("pooler.dense", H, H)
    if architecture.endswith("ForSequenceClassification") and architecture not in POOLED_CLASSIFIERS:
        linear("pre_classifier", H, H)
    if architecture.endswith("Classification"):
        linear("classifier", H, labels)
    if architecture == DISCRIMINATOR:
        linear("discriminator_predictions.dense", H, H)
        linear("discriminator_predictions.dense_prediction", H, 1)
    elif architecture.endswith(("ForMaskedLM", "ForPreTraining")):
        linear("cls.predictions.transform.dense", H, E)
        norm("cls.predictions.transform.LayerNorm", E)
        normal("cls.predictions.bias", config["vocab_size"], 0.1)
        if not config.get("tie_word_embeddings", True):
            normal("cls.predictions.decoder.weight", (config["vocab_size"], H), 1 / math.sqrt(H))
    if architecture in ("BertForPreTraining", "AlbertForPreTraining"):
        linear("cls.seq_relationship", H, 2)
    if architecture.endswith("ForQuestionAnswering"):
        linear("qa_outputs", H, 2)
    return tensors


def expanded(config, tensors):
    """Returns the same weights with every tied layer expanded to its dense `weight`."""
    dense = dict(tensors)
    for name, entry in config.get("ss1", {}).get("layers", {}).items():
        z = dense.pop(f"{name}.ss1_weight")
        K = {layer: K for i in range(config["num_hidden_layers"]) for layer, K, _ in six_layers(config, i)}[name]
        dense[f"{name}.weight"] = ss1.expand(z, K, **{key: value for key, value in entry.items() if key != "kind"})
    return dense


def bert(config, tensors, ids, mask, types):
    """Runs the model and its head in float64; `tensors` are dense."""
    weights = {name: torch.from_numpy(value).double() for name, value in tensors.items()}
    batch, tokens = ids.shape
    heads = config["num_attention_heads"]
    size = config["hidden_size"] // heads

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    def norm(name, x):
        x = x - x.mean(-1, keepdim=True)
        x = x / torch.sqrt(x.square().mean(-1, keepdim=True) + config["layer_norm_eps"])
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def split(x):
        return x.reshape(batch, tokens, heads, size).transpose(1, 2)

    word, position = weights["embeddings.word_embeddings.weight"], weights.get("embeddings.position_embeddings.weight")
    x = word[ids]
    if position is not None:
        x = x + position[positions(config, ids)]
    if config["type_vocab_size"]:
        x = x + weights["embeddings.token_type_embeddings.weight"][types]
    x = norm("embeddings.LayerNorm", x)
    if config["model_type"] == "deberta-v2":
        x = x * mask[:, :, None]
    if "embeddings_project.weight" in weights:
        x = linear("embeddings_project", x)
    bias = position_bias(weights["encoder.relative_attention_bias.weight"], tokens) if config["model_type"] == "mpnet" else 0
    if is_jina(config):
        bias = alibi(heads, tokens)
    for i in range(config["num_hidden_layers"]):
        layers, groups = config["num_hidden_layers"], config.get("num_hidden_groups", config["num_hidden_layers"])
        layer = f"encoder.layer.{int(i / (layers / groups))}"
        query, key, value = (split(linear(f"{layer}.attention.self.{part}", x)) for part in ("query", "key", "value"))
        if config["model_type"] == "deberta-v2":
            scores = deberta_models.scores(config, weights, layer, linear, norm, query, key)
        else:
            scores = query @ key.transpose(2, 3) / math.sqrt(size) + bias
        scores = scores.masked_fill(mask[:, None, None, :] == 0, -math.inf)
        if config["model_type"] == "deberta-v2":  # tokens that the mask hides see all tokens equally
            scores = scores.masked_fill(mask[:, None, :, None] == 0, 0)
        seen = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(batch, tokens, heads * size)
        x = norm(f"{layer}.attention.output.LayerNorm", x + linear(f"{layer}.attention.output.dense", seen))
        inner = linear(f"{layer}.intermediate.dense", x)
        if is_jina(config):
            gate, value = inner.chunk(2, -1)
            inner = ACTIVATIONS["gelu"](gate) * value
        else:
            inner = ACTIVATIONS[config["hidden_act"]](inner)
        x = norm(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", inner))
    outputs = {"last_hidden_state": x}
    if "pooler.dense.weight" in weights:
        outputs["pooled"] = torch.tanh(linear("pooler.dense", x[:, 0]))
    architecture = config["architectures"][0]
    if architecture in POOLED_CLASSIFIERS:
        outputs["logits"] = linear("classifier", outputs["pooled"])
    elif architecture.endswith("ForSequenceClassification"):
        activation = {"distilbert": torch.relu, "electra": ACTIVATIONS["gelu"],
                      "deberta-v2": ACTIVATIONS["gelu"]}.get(config["model_type"], torch.tanh)
        outputs["logits"] = linear("classifier", activation(linear("pre_classifier", x[:, 0])))
    elif architecture.endswith("ForTokenClassification"):
        outputs["logits"] = linear("classifier", x)
    elif architecture == DISCRIMINATOR:
        y = ACTIVATIONS[config["hidden_act"]](linear("discriminator_predictions.dense", x))
        outputs["replaced_logits"] = linear("discriminator_predictions.dense_prediction", y).squeeze(-1)
    elif architecture.endswith(("ForMaskedLM", "ForPreTraining")):
        activation = "gelu" if config["model_type"] in GELU_WORDS else config["hidden_act"]
        y = norm("cls.predictions.transform.LayerNorm", ACTIVATIONS[activation](linear("cls.predictions.transform.dense", x)))
        outputs["logits"] = y @ weights.get("cls.predictions.decoder.weight", word).T + weights["cls.predictions.bias"]
    elif architecture.endswith("ForQuestionAnswering"):
        outputs["start_logits"], outputs["end_logits"] = linear("qa_outputs", x).unbind(-1)
    return outputs


def position_bias(table, tokens):
    """MPNet's bias [1, heads, queries, keys]; the logarithm is PyTorch's in float32, as in transformers."""
    distance = torch.arange(tokens)[None, :] - torch.arange(tokens)[:, None]
    half, exact = BUCKETS // 2, BUCKETS // 4
    far = exact + (torch.log(distance.abs().float() / exact) / math.log(128 / exact) * (half - exact)).long()
    bucket = torch.where(distance.abs() < exact, distance.abs(), far.clamp(max=half - 1)) + half * (distance > 0)
    return table[bucket].permute(2, 0, 1)[None]


def alibi(heads, tokens):
    """-slope * |i - j| [1, heads, queries, keys]; the slopes by the recursion of the ALiBi paper's code."""
    def slopes(n):
        if n & (n - 1) == 0:
            return [2 ** (-8 * (k + 1) / n) for k in range(n)]
        power = 2 ** (n.bit_length() - 1)
        return slopes(power) + slopes(2 * power)[0::2][:n - power]
    distance = (torch.arange(tokens)[None, :] - torch.arange(tokens)[:, None]).abs()
    return -torch.tensor(slopes(heads), dtype=torch.float64)[None, :, None, None] * distance


def positions(config, ids):
    """Returns the position of each token: its number, or RoBERTa's count of non-padding tokens, from pad_token_id + 1."""
    if config["model_type"] not in COUNTED_POSITIONS:
        return torch.arange(ids.shape[1])
    tokens = (ids != config["pad_token_id"]).long()
    return tokens.cumsum(1) * tokens + config["pad_token_id"]


def stored(config, tensors):
    """The tensors under the names that transformers gives to those of this architecture."""
    family, architecture = PREFIXES.get(config["model_type"], config["model_type"]), config["architectures"][0]
    names = NAMES["jina" if is_jina(config) else family]
    if family in ("roberta", "electra", "mpnet") and architecture.endswith("ForSequenceClassification"):
        names = [*names, (r"pre_classifier", "classifier.dense"), (r"classifier(?=\.(weight|bias))", "classifier.out_proj")]
    if not config.get("legacy", True):
        names = [*names, (r"cls\.predictions\.(transform\.)?", "lm_predictions.lm_head.")]
    result = {}
    for name, value in tensors.items():
        base = name.startswith(("embeddings", "encoder.", "pooler."))
        name = next((new for pattern, other in names if (new := re.sub(f"^{pattern}", other, name)) != name), name)
        result[name if architecture.endswith("Model") or not base else f"{family}.{name}"] = value
    return result


def stored_config(config):
    """The configuration with the family's own keys."""
    if config["model_type"] == "mpnet":
        return {key: value for key, value in config.items() if key not in ("type_vocab_size", "position_embedding_type")}
    if config["model_type"] == "deberta-v2":
        return {key: value for key, value in config.items() if key != "position_embedding_type"}
    if config["model_type"] != "distilbert":
        return config
    return {DISTILBERT_KEYS.get(key, key): value for key, value in config.items()
            if key not in ("type_vocab_size", "layer_norm_eps", "position_embedding_type")}


def check_with_transformers(config, tensors, arguments, outputs):
    """Assert that the transformers package computes the same from the same weights."""
    import transformers
    settings = {key: value for key, value in stored_config(config).items() if key not in ("ss1", "model_type")}
    settings = transformers.AutoConfig.for_model(config["model_type"], **settings)
    model = getattr(transformers, config["architectures"][0])(settings)
    state = {name: torch.from_numpy(value) for name, value in stored(config, tensors).items()}
    # A head may tie tensors with two names in either direction, so both are given.
    word = f"{PREFIXES.get(config['model_type'], config['model_type'])}.embeddings.word_embeddings.weight"
    twice = {"cls.predictions.decoder.weight": word, "vocab_projector.weight": word, "lm_head.decoder.weight": word,
             "generator_lm_head.weight": word, "predictions.decoder.weight": word,
             "cls.predictions.decoder.bias": "cls.predictions.bias", "lm_head.decoder.bias": "lm_head.bias",
             "predictions.decoder.bias": "predictions.bias", "lm_predictions.lm_head.weight": word}
    state.update({name: state[same] for name, same in twice.items() if name in model.state_dict() and name not in state})
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing), (missing, unexpected)
    model = model.double().eval()
    inputs = dict(zip(("input_ids", "attention_mask", "token_type_ids"), arguments[:3 if config["type_vocab_size"] else 2]))
    got = model(**inputs, return_dict=True)
    base = model.base_model(**inputs, return_dict=True)
    got = {"last_hidden_state": base.last_hidden_state, "pooled": getattr(base, "pooler_output", None),
           "logits": getattr(got, "prediction_logits", getattr(got, "logits", None)),
           "start_logits": getattr(got, "start_logits", None), "end_logits": getattr(got, "end_logits", None),
           "replaced_logits": getattr(got, "logits", None)}
    for name, value in outputs.items():
        difference = (got[name] - value).abs()
        if of_tokens(name, value):
            difference = difference[arguments[1].bool()]
        difference = difference.max().item()
        assert difference <= TOLERANCE, f"{name}: differs from transformers {transformers.__version__} by {difference}"
    print(f"  equals transformers {transformers.__version__}")


def of_tokens(name, value):
    """Whether an output has a row for each token: [B, T] or [B, T, width]."""
    return name in ("last_hidden_state", "start_logits", "end_logits", "replaced_logits") or name == "logits" and value.ndim == 3


def make_bert(name, random, with_transformers):
    config, lengths, full, legacy = {**BERT_CASES, **RELATIVE_CASES, **FAMILY_CASES, **DEBERTA_CASES}[name]
    tensors = bert_tensors(config, random)
    shape = (len(lengths), max(lengths))
    mask = (numpy.arange(shape[1]) < numpy.array(lengths)[:, None]).astype(numpy.int64)
    ids = numpy.where(mask, random.integers(1, config["vocab_size"], shape), config["pad_token_id"])
    if name == "roberta":
        ids[0, [0, 5]] = ids[1, 11] = config["pad_token_id"]
    if name == "deberta_classifier":
        mask[0, [0, 5]] = 0
    types = mask * (numpy.arange(shape[1]) >= numpy.array(lengths)[:, None] // 2) * full  # second half: second sentence
    types = numpy.minimum(types, max(config["type_vocab_size"], 1) - 1)
    arguments = [torch.from_numpy(array) for array in (ids, mask, types)]
    dense = expanded(config, tensors)
    with torch.no_grad():
        outputs = bert(config, dense, *arguments)
        if with_transformers and not is_jina(config):  # which has no class of its own
            check_with_transformers(config, dense, arguments, outputs)
    outputs = {key: value * arguments[1].reshape(*shape, *[1] * (value.ndim - 2)) if of_tokens(key, value) else value
               for key, value in outputs.items()}
    given = {"attention_mask": mask, **({"token_type_ids": types} if config["type_vocab_size"] else {})}
    vectors = {"input_ids": ids, **(given if full else {}), **{key: value.numpy() for key, value in outputs.items()}}
    if legacy:
        tensors = {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
                   for key, value in tensors.items()}
    return stored_config(config), stored(config, tensors), vectors


# ---------------------------------------------------------------- ModernBERT, NomicBERT and GTE

def check_rotary(config, tensors, arguments, outputs):
    """Assert that the transformers package computes the same, where it has the class."""
    import transformers
    if config["model_type"] == "new" or "n_embd" in config:
        return print("  transformers has no such class")
    settings = {key: value for key, value in config.items() if key != "ss1"}
    if config.get("local_rope_theta", 0) is None:  # transformers 4 took the global one
        settings["local_rope_theta"] = config["global_rope_theta"]
    with tempfile.TemporaryDirectory() as folder:  # reads the names of files, not those of modules
        model_dir.save(pathlib.Path(folder), settings, tensors)
        model, loaded = getattr(transformers, config["architectures"][0]).from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
    assert not any(loaded[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys")), loaded
    model.eval()
    ids, mask, types = map(torch.from_numpy, arguments)
    for row, length in enumerate(mask.sum(1).tolist()):  # alone: windows that hold padding alone give NaN in transformers
        inputs = {"input_ids": ids[row:row + 1, :length]}
        if config.get("type_vocab_size"):
            inputs["token_type_ids"] = types[row:row + 1, :length]
        with torch.no_grad():
            got, base = model(**inputs, return_dict=True), model.base_model(**inputs, return_dict=True)
        for name, value in outputs.items():
            theirs = {"last_hidden_state": base.last_hidden_state, "pooled": getattr(base, "pooler_output", None)}.get(name)
            theirs = (getattr(got, name) if theirs is None else theirs).numpy()[0]
            difference = numpy.abs(theirs - (value[row, :length] if of_tokens(name, value) else value[row])).max()
            # Of 8,192 positions the last bit of a frequency in float32 turns the last ones by 5e-4.
            tolerance = TOLERANCE if ids.shape[1] < 1000 else 5e-4
            assert difference <= tolerance, f"{name}: differs from transformers {transformers.__version__} by {difference}"
    print(f"  equals transformers {transformers.__version__}")


def draw_tied(random):
    def draw(K, N, entry):
        z = random.normal(0, 1 / math.sqrt(K), (N, stored_columns(K, entry["c"], entry["block_k"]))).astype(numpy.float32)
        return z, ss1.expand(z, K, **{key: value for key, value in entry.items() if key != "kind"})
    return draw


def make_rotary(case, random, with_transformers):
    return rotary_models.make(case, random, draw_tied(random), of_tokens, check_rotary if with_transformers else None)


# ---------------------------------------------------------------- example configurations

# The 26 tables of the Criteo data set as MLPerf counts them, capped so that a machine with little memory can hold them.
CRITEO_ROWS = [40000000, 39060, 17295, 7424, 20265, 3, 7122, 1543, 63, 40000000, 3067956, 405282, 10, 2209, 11938, 155, 4,
               976, 14, 40000000, 40000000, 40000000, 590152, 12973, 108, 36]
MOST_ROWS = 10000


def write_configs(directory):
    """config.json alone, for measuring shapes with random weights."""
    base = bert_config("BertModel", 768, 12, 3072, 12, 30522, 512)
    model_dir.save_config(directory / "bert-base", base)
    layers = {name: resolve(K, N, c=4, seed=1) for i in range(12) for name, K, N in six_layers(base, i)}
    model_dir.save_config(directory / "bert-base-ss1", {**base, "ss1": {"layers": layers}})
    model_dir.save_config(directory / "dlrm-mlperf", {
        "model_type": "dlrm", "dense_features": [f"I{i}" for i in range(1, 14)], "embedding_dim": 128,
        "tables": [{"name": f"C{k}", "rows": min(rows, MOST_ROWS)} for k, rows in enumerate(CRITEO_ROWS, 1)],
        "bottom_mlp": [13, 512, 256, 128], "top_mlp": [1024, 1024, 512, 256, 1], "interaction": "dot",
        "interaction_itself": False, "loss_threshold": 0.0})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example:\n  python3 tests/make_model_vectors.py --configs examples/models")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data", help="folder of the cases (default: tests/data)")
    parser.add_argument("--configs", type=pathlib.Path, metavar="DIR",
                        help="also write bert-base, bert-base-ss1 and dlrm-mlperf, configurations without weights, to DIR")
    parser.add_argument("--only", metavar="REGEX", help="make only the cases whose name matches")
    parser.add_argument("--with-transformers", action="store_true",
                        help=f"assert that the transformers package gives the same BERT outputs within {TOLERANCE}")
    options = parser.parse_args()
    cases = [("dlrm", name) for name in DLRM_CASES] + [("bert", name) for name in BERT_CASES]
    cases += [("dlrm", name) for name in CROSS_CASES] + [("bert", name) for name in {**RELATIVE_CASES, **FAMILY_CASES}]
    cases += [("rotary", name) for name in (*rotary_models.CASES, "modernbert_long")]
    cases += [("bert", name) for name in DEBERTA_CASES]
    if options.only:
        cases = [(family, name) if re.search(options.only, name) else None for family, name in cases]  # seeds stay
    for seed, case in enumerate(cases, 1):
        if case is None:
            continue
        family, name = case
        random = numpy.random.default_rng(seed)
        torch.manual_seed(seed)
        if family == "rotary":
            case = rotary_models.CASES.get(name, rotary_models.LONG)
            config, tensors, vectors = make_rotary(case, random, options.with_transformers)
        else:
            config, tensors, vectors = (make_dlrm(name, random) if family == "dlrm" else
                                        make_bert(name, random, options.with_transformers))
        directory = options.out / f"{'dlrm' if family == 'dlrm' else 'bert'}_{name}"
        model_dir.save(directory, config, tensors)
        safetensors_io.write(directory / f"{'long' if name.endswith('_long') else 'vectors'}.safetensors", {
            key: value.astype(numpy.int64 if value.dtype.kind == "i" else numpy.float32) for key, value in vectors.items()})
        print(f"{directory.name}: {sum(file.stat().st_size for file in directory.iterdir())} bytes, " +
              ", ".join(f"{key} {list(value.shape)}" for key, value in vectors.items()))
        if name == "deberta":
            safetensors_io.write(directory / "buckets.safetensors", deberta_models.bucket_vectors())
            if options.with_transformers:
                deberta_models.check_buckets()
    if options.configs:
        write_configs(options.configs)


if __name__ == "__main__":
    main()
