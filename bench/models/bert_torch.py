# SPDX-License-Identifier: Apache-2.0
"""BERT in PyTorch as a contender: transformers' model with its sdpa attention; and, to compare all with, the plain formulas,
which stand in for it in f32 where there is no transformers (Debian). ModernBERT is there with transformers alone."""
import importlib.util
import warnings

import torch

import bert_files
import files
from torch_int8 import quantise_linears

warnings.filterwarnings("ignore")


class Plain:
    """BERT as its paper writes it, in f32, for dense and tied layers."""
    name = "the plain formulas"

    def __init__(self, directory):
        self.config, tensors = files.dense_tensors(directory, bert_files.widths)
        self.tensors = {name: torch.tensor(array).float() for name, array in tensors.items()}

    def linear(self, name, x):
        return torch.nn.functional.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, name, x):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"],
                                              self.config["layer_norm_eps"])

    def attention(self, name, x, mask):
        batch, tokens, width = x.shape
        heads = self.config["num_attention_heads"]
        q, k, v = (self.linear(f"{name}.{part}", x).view(batch, tokens, heads, width // heads).transpose(1, 2)
                   for part in ("query", "key", "value"))
        scores = q @ k.transpose(2, 3) / (width // heads)**0.5
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, None, :] == 0, float("-inf"))
        return (scores.softmax(3) @ v).transpose(1, 2).reshape(batch, tokens, width)

    def __call__(self, input_ids, attention_mask=None):
        word, position, kind = (self.tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
        x = self.norm("embeddings.LayerNorm", word[input_ids] + position[:input_ids.shape[1]] + kind[0])
        for i in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            attended = self.attention(f"{layer}.attention.self", x, attention_mask)
            x = self.norm(f"{layer}.attention.output.LayerNorm", x + self.linear(f"{layer}.attention.output.dense", attended))
            inner = torch.nn.functional.gelu(self.linear(f"{layer}.intermediate.dense", x))
            x = self.norm(f"{layer}.output.LayerNorm", x + self.linear(f"{layer}.output.dense", inner))
        return x


class Transformers:
    def __init__(self, directory, mode):
        import transformers
        transformers.logging.set_verbosity_error()
        self.name = f"transformers {transformers.__version__}"
        bert = transformers.AutoConfig.from_pretrained(directory).model_type == "bert"
        without = {"add_pooling_layer": False} if bert else {}
        self.model = transformers.AutoModel.from_pretrained(directory, attn_implementation="sdpa", **without,
                                                            dtype=torch.bfloat16 if "bfloat16" in mode else torch.float32).eval()
        if mode == "int8":
            quantise_linears(self.model)
        if "compiled" in mode:
            self.model = torch.compile(self.model, dynamic=True)

    def __call__(self, **inputs):
        return self.model(**inputs).last_hidden_state


def pooled(hidden, mask):
    """The sentence embedding: the mean of each text's tokens, of length 1."""
    mask = mask[:, :, None].to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


class Contender:
    """spec["mode"]: f32, bfloat16 (the model converted), autocast, int8 (dynamic quantisation), compiled, compiled bfloat16; or
    plain f32. spec["output"] "sentence_embedding": pooled. spec["warm"]: inputs that are run once before it counts as ready."""

    def __init__(self, spec):
        torch.set_num_threads(spec["threads"])
        self.autocast = spec["mode"] == "autocast"
        plain = spec["mode"] == "plain f32" or spec["mode"] == "f32" and not importlib.util.find_spec("transformers")
        self.model = Plain(spec["directory"]) if plain else Transformers(spec["directory"], spec["mode"])
        self.pooled = spec.get("output") == "sentence_embedding"
        self.info = {"library": f"PyTorch {torch.__version__.split('+')[0]}, {self.model.name}"}
        for call in self.prepare(spec.get("warm", [])):
            call()

    def prepare(self, sets):
        return [self._call({name: torch.from_numpy(array) for name, array in inputs.items()}) for inputs in sets]

    def _call(self, inputs):
        def call():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                hidden = self.model(**inputs)
                return (pooled(hidden, inputs["attention_mask"]) if self.pooled else hidden).float().numpy()
        return call


make = Contender
