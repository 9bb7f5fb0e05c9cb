# SPDX-License-Identifier: Apache-2.0
"""Sentence embedders of known shapes with random weights, as directories of sentence-transformers; and texts for them.

A text's tokens are words of the directory's own vocabulary, so that tokenizers give exactly the ids that others start from.
"""
import itertools
import json
import shutil
import string

import numpy

import bert_files
from ss1 import model_dir, safetensors_io

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, CLS, SEP = 0, 2, 3
WORDS = 30522  # ids of texts are below; ModernBERT's other rows are never read
MODULES = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
BATCH = 32  # texts, sentence-transformers' default


def modernbert_config(width=768, layers=22, heads=12, inner=1152):
    rope = {kind: {"rope_type": "default", "rope_theta": theta}
            for kind, theta in (("full_attention", 160000.0), ("sliding_attention", 10000.0))}
    return {"model_type": "modernbert", "architectures": ["ModernBertModel"], "vocab_size": 50368, "hidden_size": width,
            "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": inner, "hidden_activation": "gelu",
            "max_position_embeddings": 8192, "norm_eps": 1e-5, "norm_bias": False, "attention_bias": False, "mlp_bias": False,
            "layer_types": ["sliding_attention" if i % 3 else "full_attention" for i in range(layers)], "local_attention": 128,
            "rope_parameters": rope, "pad_token_id": PAD, "bos_token_id": CLS, "eos_token_id": SEP, "cls_token_id": CLS, "sep_token_id": SEP,
            "attention_dropout": 0.0, "embedding_dropout": 0.0, "mlp_dropout": 0.0}


def config_of(name):
    return modernbert_config() if name == "modernbert-base" else bert_files.config_of(name, None)


def modernbert_tensors(config, random):
    width, inner = config["hidden_size"], config["intermediate_size"]

    def normal(*shape):
        return random.standard_normal(shape, numpy.float32) * numpy.float32(0.02)

    tensors = {"embeddings.tok_embeddings.weight": normal(config["vocab_size"], width)}
    norms = ["embeddings.norm", "final_norm"]
    for i in range(config["num_hidden_layers"]):
        layer = f"layers.{i}"
        norms += [f"{layer}.mlp_norm"] + ([f"{layer}.attn_norm"] if i else [])
        tensors.update({f"{layer}.attn.Wqkv.weight": normal(3 * width, width), f"{layer}.attn.Wo.weight": normal(width, width),
                        f"{layer}.mlp.Wi.weight": normal(2 * inner, width), f"{layer}.mlp.Wo.weight": normal(width, inner)})
    return {**tensors, **{f"{norm}.weight": 1 + normal(width) for norm in norms}}


def vocabulary():
    words = ("".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=4))
    return [*SPECIAL, *itertools.islice(words, WORDS - len(SPECIAL))]


def make(folder, name):
    """The directory of a model, made if it is not there."""
    directory, config = folder / name, config_of(name)
    if not (directory / "complete").exists():
        shutil.rmtree(directory, ignore_errors=True)
        model_dir.save_config(directory, config)
        made_by = modernbert_tensors if config["model_type"] == "modernbert" else bert_files.random_tensors
        tensors = made_by(config, numpy.random.default_rng(1))
        safetensors_io.write(directory / "model.safetensors", tensors, {"format": "pt"})
        (directory / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
        tokens = {f"{token.lower()[1:-1]}_token": token for token in SPECIAL}
        limit = min(config["max_position_embeddings"], 512)
        modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                   for i, (path, kind) in enumerate(MODULES)]
        rules = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": limit, **tokens}
        for path, content in (("tokenizer_config", rules),
                              ("special_tokens_map", tokens), ("modules", modules), ("sentence_bert_config", {"max_seq_length": limit}),
                              ("1_Pooling/config", {"word_embedding_dimension": config["hidden_size"], "pooling_mode_mean_tokens": True})):
            (directory / f"{path}.json").parent.mkdir(exist_ok=True)
            (directory / f"{path}.json").write_text(json.dumps(content, indent=1) + "\n")
        (directory / "complete").touch()
    return directory


def lengths(kind, count, random):
    """Tokens of `count` texts, [CLS] and [SEP] included."""
    if kind == bert_files.MAILS:
        return bert_files.mail_lengths(count, random)
    return random.integers(*{"queries": (8, 33), "passages": (128, 513)}[kind], count)


def batches_of(rows):
    """Batches as an encode loop makes them: the longest texts first, 32 at a time, each padded to its longest."""
    rows = sorted(rows, key=len, reverse=True)
    batches = []
    for first in range(0, len(rows), BATCH):
        part = rows[first:first + BATCH]
        mask = (numpy.arange(len(part[0])) < numpy.array([len(row) for row in part])[:, None]).astype(numpy.int64)
        ids = numpy.full(mask.shape, PAD)
        ids[mask == 1] = numpy.concatenate(part)
        batches.append({"input_ids": ids, "attention_mask": mask})
    return batches


def texts(kind, count, seed=7):
    """Batches of random texts of this kind."""
    random = numpy.random.default_rng([seed, count])
    return batches_of([numpy.array([CLS, *random.integers(len(SPECIAL), WORDS, n - 2), SEP]) for n in lengths(kind, count, random)])
