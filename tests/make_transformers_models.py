#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make small models of every family and head with the transformers package, and its outputs, for the tests.

Each is a folder OUT/bert_hf_<class>/ like those in tests/data: what save_pretrained() writes (random weights) and
vectors.safetensors with inputs and the outputs of transformers in float64. A test reads them beside tests/data:

    python3 tests/make_transformers_models.py models && tar czf models.tar.gz models     # about 2 MB
    SS1_TEST_MODELS=models meson test -C build/test models

Needs torch, transformers and libss1.so: $SS1_LIBRARY, or the one that the system's linker finds.
"""
import argparse
import math
import pathlib
import sys

import numpy
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bindings/python"))
from ss1 import safetensors_io

HEADS = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "ForQuestionAnswering")
SIZES = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
         "max_position_embeddings": 26}
DISTIL = {"vocab_size": 40, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 26}
# name: (sizes, has a class ForPreTraining)
FAMILIES = {
    "Bert": (SIZES, True),
    "DistilBert": (DISTIL, False),
    "Roberta": ({**SIZES, "type_vocab_size": 1}, False),
    "XLMRoberta": ({**SIZES, "type_vocab_size": 1}, False),
    "Camembert": ({**SIZES, "type_vocab_size": 1}, False),
    "Electra": ({**SIZES, "embedding_size": 24}, True),
    "MPNet": ({**SIZES, "max_position_embeddings": 180}, False),
    "Albert": ({**SIZES, "embedding_size": 24, "num_hidden_layers": 4, "num_hidden_groups": 2}, True),
    "DebertaV2": ({**SIZES, "max_position_embeddings": 180, "relative_attention": True, "position_buckets": 32,
                   "pos_att_type": "p2c|c2p", "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False},
                  False),
    "ModernBert": ({**SIZES, "num_hidden_layers": 4, "max_position_embeddings": 180, "local_attention": 16,
                    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}, False),
    "NomicBert": ({**SIZES, "hidden_act": "silu", "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}, False),
}
OUTPUTS = {"pooled": "pooler_output", "logits": "logits", "start_logits": "start_logits", "end_logits": "end_logits"}


def make_model(family, head):
    sizes = dict(FAMILIES[family][0])
    if head.endswith("Classification"):
        sizes["num_labels"] = 3
    config = getattr(transformers, f"{family}Config")(**sizes)
    model = getattr(transformers, family + head)(config)
    with torch.no_grad():  # wide enough that no part is negligible
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
            else:
                parameter.normal_(0, 1 / math.sqrt(parameter.shape[1]))
    return model.eval()


def make_inputs(config, random):
    lengths = numpy.array([config.max_position_embeddings - 3, 5])
    mask = (numpy.arange(lengths.max()) < lengths[:, None]).astype(numpy.int64)
    ids = numpy.where(mask, random.integers(3, config.vocab_size, mask.shape), config.pad_token_id)
    inputs = {"input_ids": ids, "attention_mask": mask}
    types = getattr(config, "type_vocab_size", 0)
    if types and config.model_type != "mpnet":
        inputs["token_type_ids"] = numpy.minimum(mask * (numpy.arange(lengths.max()) >= 3), types - 1)
    return inputs


@torch.no_grad()
def outputs_of_one(model, head, inputs):
    """{name: output} of one sequence without padding."""
    result = model(**inputs, return_dict=True)
    base = getattr(model, model.base_model_prefix, model)
    states = base(**inputs, return_dict=True)  # heads do not return what they read
    outputs = {"last_hidden_state": states.last_hidden_state}
    for name, theirs in OUTPUTS.items():
        if getattr(result, theirs, None) is not None:
            outputs[name] = getattr(result, theirs)
    if getattr(states, "pooler_output", None) is not None:
        outputs.setdefault("pooled", states.pooler_output)
    if head == "ForPreTraining":
        replaces = model.config.model_type == "electra"
        outputs["replaced_logits" if replaces else "logits"] = result.logits if replaces else result.prediction_logits
        if replaces:
            del outputs["logits"]
    return outputs


def outputs_of(model, head, inputs):
    """Each sequence runs alone: attention whose window holds padding alone gives NaN in transformers. Padding gives zeros."""
    model.double()
    lengths, longest = inputs["attention_mask"].sum(1), inputs["attention_mask"].shape[1]
    rows = [outputs_of_one(model, head, {name: torch.from_numpy(value[i:i + 1, :n]) for name, value in inputs.items()})
            for i, n in enumerate(lengths)]

    def padded(value, n):
        of_tokens = value.ndim > 1 and value.shape[1] == n
        return numpy.pad(value.numpy(), [(0, longest - n if of_tokens and axis == 1 else 0) for axis in range(value.ndim)])
    return {name: numpy.concatenate([padded(row[name], n) for row, n in zip(rows, lengths)]).astype(numpy.float32) for name in rows[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder of the models")
    options = parser.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    for family, (_, pretrains) in FAMILIES.items():
        if not hasattr(transformers, f"{family}Model"):
            print(f"{family}: this transformers has no such class")
            continue
        for head in (*HEADS, *(["ForPreTraining"] if pretrains else [])):
            if not hasattr(transformers, family + head):
                print(f"{family}{head}: this transformers has no such class")
                continue
            torch.manual_seed(1)
            model = make_model(family, head)
            directory = options.out / f"bert_hf_{family}{head}"
            model.save_pretrained(directory)
            inputs = make_inputs(model.config, numpy.random.default_rng(1))
            outputs = outputs_of(model, head, inputs)
            safetensors_io.write(directory / "vectors.safetensors", {**inputs, **outputs})
            print(f"{directory.name}: " + ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items()))


if __name__ == "__main__":
    main()
