#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare ss1 with the transformers package on models of real shapes and random weights.

BertModel as bert-tiny (2 layers x 128), mini (4 x 256), base (12 x 768) and large (24 x 1024), and on tiny and mini every
head of BERT, DistilBERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, MPNet, ALBERT, ModernBERT, NomicBERT and DeBERTa-v3: made with
transformers' own initial weights (those of one dimension moved by N(0, 0.02), so that no bias is 0), saved by
save_pretrained, loaded with the Python binding and run on a batch of different lengths. Prints the largest absolute
difference of each output as a Markdown table: padding tokens are not compared, ss1 uses f32, bf16 and int8 weights,
transformers runs in f32. Exit status 1 if f32 differs by more than --tolerance, or if labels do.

Needs torch and transformers, and libss1.so: $SS1_LIBRARY, or the one that the system's linker finds.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bindings/python"))
import ss1

SIZES = {"tiny": (2, 128, 2), "mini": (4, 256, 4), "base": (12, 768, 12), "large": (24, 1024, 16)}  # layers, width, heads
ALL_HEADS = ("tiny", "mini")
HEADS = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "ForQuestionAnswering")
FAMILIES = ("Bert", "DistilBert", "Roberta", "XLMRoberta", "Camembert", "Electra", "MPNet", "Albert", "ModernBert", "NomicBert",
            "DebertaV2")
PRETRAINED = ["BertForPreTraining", "ElectraForPreTraining", "AlbertForPreTraining"]
WEIGHT_DTYPES = {"f32": "f32", "bf16": "bf16", "int8": "i8"}
LABELS = 5


def architectures(size):
    """Returns the names of the classes to compare in one size."""
    if size not in ALL_HEADS:
        return ["BertModel"]
    names = [family + head for family in FAMILIES for head in HEADS] + PRETRAINED
    return [name for name in names if hasattr(transformers, name)]  # NomicBERT's class came with transformers 5


def make_model(architecture, size, seed):
    """Returns a transformers model in eval mode."""
    layers, width, heads = SIZES[size]
    family = next(name for name in sorted(FAMILIES, key=len, reverse=True) if architecture.startswith(name))
    if family == "DistilBert":
        sizes = {"n_layers": layers, "dim": width, "n_heads": heads, "hidden_dim": 4 * width}
    else:
        sizes = {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
                 "intermediate_size": 4 * width}
    if family in ("Roberta", "XLMRoberta", "Camembert"):
        sizes.update(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    if family == "MPNet":
        sizes.update(max_position_embeddings=514, layer_norm_eps=1e-5)
    if family == "Albert":
        sizes.update(num_hidden_groups=2)
    if family == "NomicBert":
        sizes.update(hidden_act="silu", rope_parameters={"rope_type": "default", "rope_theta": 1000.0})
    if family == "DebertaV2":
        sizes.update(relative_attention=True, position_buckets=256, pos_att_type=["p2c", "c2p"], share_att_key=True,
                     norm_rel_ebd="layer_norm", position_biased_input=False, pooler_hidden_size=width)
    if architecture.endswith("Classification"):
        sizes["num_labels"] = LABELS
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**sizes)
    if family == "ModernBert":  # other ways may make NaN of windows that hold padding alone
        config._attn_implementation = "eager"
    model = getattr(transformers, architecture)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model.eval()


def make_inputs(config, batch, tokens, seed):
    """Returns sequences of different lengths, the first of `tokens` tokens, padded with pad_token_id."""
    random = numpy.random.default_rng(seed)
    lengths = [tokens, *random.integers(1, tokens + 1, batch - 1)]
    mask = (numpy.arange(tokens) < numpy.array(lengths)[:, None]).astype(numpy.int64)
    ids = numpy.where(mask, random.integers(5, config.vocab_size, mask.shape), config.pad_token_id)
    inputs = {"input_ids": ids, "attention_mask": mask}
    types = getattr(config, "type_vocab_size", 0)
    if types and config.model_type != "mpnet":
        second = numpy.arange(tokens) >= numpy.array(lengths)[:, None] // 2
        inputs["token_type_ids"] = numpy.minimum(mask * second, types - 1)
    return inputs


def reference(model, inputs):
    """Runs transformers; returns {name in ss1: array}."""
    with torch.no_grad():
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        result = model(**tensors, return_dict=True)
        last = getattr(model, model.base_model_prefix, model)(**tensors, return_dict=True).last_hidden_state
    outputs = {"last_hidden_state": last}
    for name, theirs in (("pooled", "pooler_output"), ("logits", "logits"), ("logits", "prediction_logits"),
                         ("start_logits", "start_logits"), ("end_logits", "end_logits")):
        if getattr(result, theirs, None) is not None:
            outputs[name] = getattr(result, theirs)
    if type(model).__name__ == "ElectraForPreTraining":
        outputs["replaced_logits"] = outputs.pop("logits")
    return {name: value.numpy() for name, value in outputs.items()}


def worst_difference(name, got, want, mask):
    """Selects the rows of non-padding tokens if an output has a row per token."""
    assert got.shape == want.shape, f"{name}: shape {got.shape} is not {want.shape}"
    difference = numpy.abs(got.astype(numpy.float64) - want)
    of_tokens = want.ndim == 3 or name in ("start_logits", "end_logits", "replaced_logits")
    return float((difference[mask.astype(bool)] if of_tokens else difference).max())


def compare(context, architecture, size, options):
    """Returns (the rows of the table, whether f32 is within the tolerance)."""
    model = make_model(architecture, size, options.seed)
    inputs = make_inputs(model.config, options.batch, options.tokens, options.seed)
    want = reference(model, inputs)
    differences, good = {}, True
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory, max_shard_size="300MB")
        for name, weight_dtype in WEIGHT_DTYPES.items():
            with ss1.Model(context, directory, weight_dtype=weight_dtype) as loaded:
                outputs = ss1.Session(loaded, max_batch=options.batch, max_tokens=options.tokens).run(inputs)
                if architecture.endswith("Classification"):
                    good &= loaded.labels == [model.config.id2label[i] for i in range(LABELS)]
            for output, value in want.items():
                difference = worst_difference(output, outputs[output], value, inputs["attention_mask"])
                differences.setdefault(output, {})[name] = difference
    layers, width, _ = SIZES[size]
    rows = [f"| {architecture} | {layers} x {width} | {output} | {numpy.abs(want[output]).max():.3g} | " +
            " | ".join(f"{by_dtype[name]:.2e}" for name in WEIGHT_DTYPES) + " |" for output, by_dtype in differences.items()]
    return rows, good and all(by_dtype["f32"] <= options.tolerance for by_dtype in differences.values())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  SS1_LIBRARY=build/test/src/libss1.so python3 tests/compare_transformers.py --sizes tiny,mini")
    parser.add_argument("--sizes", default=",".join(SIZES), help="of tiny, mini, base, large (default: all)")
    parser.add_argument("--batch", type=int, default=4, help="sequences of the batch (default: 4)")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of the longest sequence (default: 128)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tolerance", type=float, default=2e-4, help="largest difference in f32 (default: 2e-4)")
    options = parser.parse_args()
    print(f"ss1 {ss1.version()}, transformers {transformers.__version__}, torch {torch.__version__}; "
          f"{options.batch} sequences of up to {options.tokens} tokens\n")
    print("| model | layers x width | output | largest value | f32 | bf16 | int8 |\n|---|---|---|---|---|---|---|")
    failed = []
    with ss1.Context() as context:
        for size in options.sizes.split(","):
            for architecture in architectures(size):
                rows, good = compare(context, architecture, size, options)
                print("\n".join(rows), flush=True)
                if not good:
                    failed.append(f"{architecture} {size}")
    if failed:
        sys.exit(f"f32 differs by more than {options.tolerance:g}, or labels do: {', '.join(failed)}")


if __name__ == "__main__":
    main()
