# SPDX-License-Identifier: Apache-2.0
"""Loops from texts to embeddings, tokenizer included: sentence-transformers' encode() and ss1's (spec["mode"])."""
import pathlib

import numpy

import encoder_files


def sentence_transformers(spec):
    import sentence_transformers
    import torch
    torch.set_num_threads(spec["threads"])
    kinds = {"dtype": torch.bfloat16} if spec["dtype"] == "bf16" else {}
    model = sentence_transformers.SentenceTransformer(str(spec["directory"]), device="cpu", model_kwargs=kinds)

    def encode(texts):
        return model.encode(texts, batch_size=encoder_files.BATCH, show_progress_bar=False).astype(numpy.float32)
    return f"sentence-transformers {sentence_transformers.__version__}", encode


def ss1_encode(spec):
    import ss1
    from ss1_contender import WEIGHT_DTYPES
    model = ss1.Model(ss1.Context(num_threads=spec["threads"]), spec["directory"], weight_dtype=WEIGHT_DTYPES[spec["dtype"]])
    model.encode(["a"])  # refuses here if the library has no tokenizer
    return f"ss1 {ss1.version()}", model.encode


class Loop:
    def __init__(self, spec):
        library, self.encode = {"sentence-transformers": sentence_transformers, "ss1": ss1_encode}[spec["mode"]](spec)
        self.info = {"library": library}
        self.words = (pathlib.Path(spec["directory"]) / "vocab.txt").read_text().split("\n")

    def prepare(self, sets):
        batches, = sets
        rows = [row[1:int(mask.sum()) - 1] for batch in batches for row, mask in zip(batch["input_ids"], batch["attention_mask"])]
        texts = [" ".join(self.words[i] for i in row) for row in rows]
        return [lambda: self.encode(texts)]


make = Loop
