# SPDX-License-Identifier: Apache-2.0
"""Train a small sentence embedder: mean of the last hidden states of a BERT, learnt by InfoNCE with in-batch negatives.

A pair is the subject and the body of a mail, or a few words of a text and the rest of that text (the inverse cloze task of
Lee et al., ACL 2019): of the mails' bodies and, with --text, of paragraphs of prose. The model starts as the encoder of --start,
whose tokenizer it keeps. The test: find the body of a held-out mail by its subject, among the bodies of all held-out mails,
through ss1, beside BM25 and beside the start. Held out are the mails of mails.split()'s test whose topic no other mail has that
is used. Each seed is trained in a folder OUT/seedN, a directory of sentence-transformers; the one with the best recall@10 on
the validation mails is copied to --export. Needs PyTorch and ss1 with its tokenizer ($SS1_LIBRARY, or installed).
"""
import argparse
import collections
import json
import pathlib
import re
import shutil
import time

import numpy
import torch

import bert
import mails
import ss1
from finetune_spam import TOKENIZER_FILES
from pretrain_bert import CLS, SEP, autocast, learning_rate, optimizer_of
from results import copy, table, write
from ss1 import model_dir

PAD = 0
QUERY, DOCUMENT = 34, 256  # tokens with [CLS] and [SEP]; subjects are rarely longer than 32
CUTTING = 4, 17  # tokens of a cutting: from, to
KEPT = 0.3  # share of the texts that keep their cutting: words that query and text share tell much
CANDIDATES = 10
MODULES = [{"idx": i, "name": str(i), "path": f"{i}_{name}", "type": f"sentence_transformers.models.{name}"}
           for i, name in enumerate(("Transformer", "Pooling", "Normalize"))]


def tokenised(tokenizer, texts, device):
    """The Texts of a list of str."""
    parts, sizes = [], []
    for first in range(0, len(texts), 5000):
        found = tokenizer(texts[first:first + 5000], max_tokens=DOCUMENT)
        ids, size = found["input_ids"], found["attention_mask"].sum(1) - 2
        place = numpy.arange(ids.shape[1])
        parts.append(ids[(place >= 1) & (place <= size[:, None])].astype(numpy.int32))
        sizes.append(size)
    return Texts(*(torch.from_numpy(numpy.concatenate(arrays)).to(device) for arrays in (parts, sizes)))


class Texts:
    """The tokens of texts, without special tokens, one text after the other, and the number of tokens of each."""

    def __init__(self, stream, size):
        self.stream, self.size, self.begin = stream, size, size.cumsum(0) - size

    def __len__(self):
        return len(self.size)

    def rows(self, begin, size, length, cut=None, cut_size=None):
        """ids [n, T <= length]: [CLS], the tokens of each row but `cut_size` ones from `cut`, [SEP], padding."""
        cut = torch.zeros_like(begin) if cut is None else cut
        cut_size = torch.zeros_like(begin) if cut_size is None else cut_size
        kept = (size - cut_size).clamp(max=length - 2)
        place = torch.arange(int(kept.max()), device=begin.device)
        source = begin[:, None] + place + (place >= cut[:, None]) * cut_size[:, None]
        ids = self.stream[source.clamp(max=len(self.stream) - 1)].long().masked_fill(place >= kept[:, None], PAD)
        ids = torch.nn.functional.pad(torch.nn.functional.pad(ids, (1, 0), value=CLS), (0, 1), value=PAD)
        return ids.scatter(1, kept[:, None] + 1, SEP)

    def whole(self, rows, length):
        return self.rows(self.begin[rows], self.size[rows], length)

    def cuttings(self, rows):
        """(the cuttings, the texts, most without them)"""
        size, begin = self.size[rows], self.begin[rows]
        n = torch.minimum(torch.randint(*CUTTING, size.shape, device=size.device), size // 2).clamp(min=1)
        cut = (torch.rand(size.shape, device=size.device) * (size - n + 1)).long()
        gone = n * (torch.rand(size.shape, device=size.device) >= KEPT)
        return self.rows(begin + cut, n, QUERY), self.rows(begin, size, DOCUMENT, cut, gone)


def embed(model, ids):
    """f32 [n, H] of length 1."""
    mask = ids != PAD
    pooled = (model(ids, mask.long()).float() * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    return torch.nn.functional.normalize(pooled, dim=1)


def loss_of(queries, documents, topics, temperature):
    """InfoNCE in both directions; pairs with the same topic are no negatives of each other."""
    logits = queries @ documents.T / temperature
    same = (topics[:, None] == topics) & ~torch.eye(len(topics), dtype=torch.bool, device=topics.device)
    logits = logits.masked_fill(same, float("-inf"))
    wanted = torch.arange(len(topics), device=topics.device)
    return (torch.nn.functional.cross_entropy(logits, wanted) + torch.nn.functional.cross_entropy(logits.T, wanted)) / 2


class Pairs:
    """The training pairs: batch() draws some of each kind."""

    def __init__(self, tokenizer, parts, paragraphs, options):
        topics = [mails.topic(subject).lower() for subject, _ in parts["train"]]
        number = {topic: i for i, topic in enumerate(dict.fromkeys(topics))}
        self.subjects = tokenised(tokenizer, [mails.topic(subject) or "-" for subject, _ in parts["train"]], options.device)
        self.bodies = tokenised(tokenizer, [body.strip() or "-" for _, body in parts["train"]], options.device)
        self.topics = torch.tensor([number[topic] for topic in topics], device=options.device)
        self.prose = tokenised(tokenizer, paragraphs, options.device) if paragraphs else None
        self.counts = options.subjects, options.cuttings, options.paragraphs if paragraphs else 0

    def batch(self):
        """[(queries, documents, topics)] of each kind."""
        drawn = [torch.randint(len(texts), (n,), device=self.topics.device) if n else None
                 for texts, n in zip((self.bodies, self.bodies, self.prose), self.counts)]
        subjects, cuttings, paragraphs = drawn
        found = []
        if subjects is not None:
            found.append((self.subjects.whole(subjects, QUERY), self.bodies.whole(subjects, DOCUMENT), self.topics[subjects]))
        if cuttings is not None:
            found.append((*self.bodies.cuttings(cuttings), self.topics[cuttings]))
        if paragraphs is not None:
            found.append((*self.prose.cuttings(paragraphs), -1 - paragraphs))
        return found


def recalls(scores):
    """(recall@1, recall@10) where row i is to find column i; a tie counts as lost."""
    rank = (scores >= scores.diagonal()[:, None]).sum(1) - 1
    return float((rank < 1).mean()), float((rank < CANDIDATES).mean())


def bm25(queries, documents, k1=1.2, b=0.75):
    """Scores [queries, documents] of Robertson and Zaragoza's BM25 over lower-case words."""
    def words(text):
        return re.findall(r"[a-z0-9]+", text.lower())

    counts = [collections.Counter(words(document)) for document in documents]
    length = numpy.array([sum(count.values()) for count in counts])
    length = k1 * (1 - b + b * length / length.mean())
    scores = numpy.zeros((len(queries), len(documents)))
    for row, query in zip(scores, queries):
        for word in set(words(query)):
            found = numpy.array([count[word] for count in counts])
            n = (found > 0).sum()
            row += numpy.log(1 + (len(documents) - n + 0.5) / (n + 0.5)) * found * (k1 + 1) / (found + length)
    return scores


def held_out(part, others):
    """([subject], [body]) of the mails of a part whose topic neither the others nor an earlier one of the part has."""
    seen, kept = {mails.topic(subject).lower() for subject, _ in others}, []
    for subject, body in part:
        topic = mails.topic(subject)
        if topic and topic.lower() not in seen:
            seen.add(topic.lower())
            kept.append((topic, body))
    return tuple(map(list, zip(*kept)))


def measure(directory, pairs, dtypes=("f32",)):
    """{dtype: (recall@1, recall@10)} of the written model, through ss1."""
    found = {}
    for dtype in dtypes:
        with ss1.Context() as context, ss1.Model(context, directory, weight_dtype=dtype) as model:
            subjects, bodies = (model.encode(texts) for texts in pairs)
        found[dtype] = recalls(subjects @ bodies.T)
    return found


def train(model, pairs, options, log):
    """Trains in place."""
    device = torch.device(options.device).type
    optimizer = optimizer_of(model, options.lr, options.decay)
    begun, shown = time.monotonic(), 0.0
    model.train()
    for step in range(1, options.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * learning_rate((step - 1) / options.steps, options.warmup)
        batch = pairs.batch()
        with autocast(device, options.bf16):
            queries, documents = (torch.cat([embed(model, kind[side]) for kind in batch]) for side in (0, 1))
        loss = loss_of(queries, documents, torch.cat([kind[2] for kind in batch]), options.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            log(f"step {step}  loss {loss.item():.3f}  {shown - begun:.0f} s")
    model.eval()
    log(f"{options.steps} steps of {sum(pairs.counts)} pairs in {time.monotonic() - begun:.0f} s")


def start_of(directory, dropout):
    """The encoder of a Hugging Face BERT as our PyTorch module; its pooler and heads are left out."""
    config, tensors = model_dir.load(directory)
    model = bert.Encoder({**config, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}, with_pooler=False)
    tensors = {name.removeprefix("bert."): torch.tensor(array.astype(numpy.float32)) for name, array in tensors.items()}
    model.load_state_dict({name: tensors[name] for name in model.state_dict()})
    return model


def save(directory, model, start):
    """Writes a directory of sentence-transformers, weights in f16."""
    keep = {name: value for name, value in model.config.items() if name not in ("id2label", "label2id")}
    transformer = directory / MODULES[0]["path"]
    model_dir.save(transformer, {**keep, "architectures": ["BertModel"]},
                   {name: value.cpu() for name, value in model.state_dict().items()}, numpy.float16)
    for name in TOKENIZER_FILES:
        copy(start / name, transformer / name)
    pooling = {"word_embedding_dimension": keep["hidden_size"], "pooling_mode_mean_tokens": True}
    write(directory / MODULES[1]["path"] / "config.json", json.dumps(pooling) + "\n")
    write(directory / "modules.json", model_dir.config_text(MODULES))


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 train_embedder.py --mails spam_assassin.jsonl.gz --text corpus.txt.xz --out build/embedder "
               "--device cuda --bf16 --export examples/models/mail-embed")
    parser.add_argument("--mails", type=pathlib.Path, required=True, help="the corpus, as mails.read_pairs() takes it")
    parser.add_argument("--text", type=pathlib.Path, help="one paragraph per line (collect_text.py), plain, .gz or .xz")
    parser.add_argument("--start", type=pathlib.Path, default=pathlib.Path(__file__).parents[3] / "examples/models/spam-bert-dense",
                        help="a BERT with vocab.txt (default: examples/models/spam-bert-dense)")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the runs")
    parser.add_argument("--export", type=pathlib.Path, help="folder for the best one")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1], metavar="LIST",
                        help="of batches and dropout (default: 1)")

    def option(name, default, text):
        parser.add_argument(name, type=type(default), default=default, help=f"{text} (default: %(default)s)")
    option("--steps", 264, "steps of training")
    option("--subjects", 128, "pairs of subject and body in a step")
    option("--cuttings", 384, "cuttings of mails in a step")
    option("--paragraphs", 1536, "cuttings of paragraphs in a step")
    option("--temperature", 0.05, "of the cosines in the loss")
    option("--lr", 1e-3, "AdamW's largest step")
    option("--decay", 0.01, "AdamW's weight decay")
    option("--warmup", 0.1, "share of the training in which the step grows")
    option("--dropout", 0.1, "of hidden states and attention")
    option("--device", "cpu", "PyTorch's device")
    parser.add_argument("--bf16", action="store_true", help="use bf16 by autocast")
    options = parser.parse_args()
    words = (options.start / "vocab.txt").read_text(encoding="utf-8").splitlines()
    if words[PAD] != "[PAD]" or words[CLS:SEP + 1] != ["[CLS]", "[SEP]"]:
        parser.error(f"--start {options.start}: [PAD], [CLS] and [SEP] must be the words {PAD}, {CLS} and {SEP} of vocab.txt")
    return options


def main():
    options, begun = arguments(), time.monotonic()

    def log(line):
        print(f"{time.monotonic() - begun:6.1f} s  {line}", flush=True)

    parts = mails.split(mails.read_pairs(options.mails))
    valid = held_out(parts["valid"], parts["train"])
    test = held_out(parts["test"], parts["train"] + parts["valid"])
    paragraphs = [line.strip() for line in mails.open_text(options.text) if line.strip()] if options.text else []
    log(f"{len(parts['train'])} mails and {len(paragraphs)} paragraphs to train, "
        f"{len(valid[0])} mails to validate, {len(test[0])} to test")
    with ss1.Context() as context, ss1.Tokenizer(context, options.start) as tokenizer:
        pairs = Pairs(tokenizer, parts, paragraphs, options)
    results = {}
    for seed in options.seeds:
        torch.manual_seed(seed)
        model, directory = start_of(options.start, options.dropout).to(options.device), options.out / f"seed{seed}"
        if not results:
            save(options.out / "start", model, options.start)
        train(model, pairs, options, lambda line: log(f"seed {seed}: {line}"))
        save(directory, model, options.start)
        results[seed] = measure(directory, valid)["f32"], measure(directory, test, ("f32", "bf16", "i8"))
        log(f"seed {seed}: validation {results[seed][0]}, test {results[seed][1]}")
    report(results, test, options)


def report(results, test, options):
    """Prints the table of recalls; exports the best seed."""
    best = max(results, key=lambda seed: results[seed][0][1])
    rows = {"BM25": recalls(bm25(*test)), "the start": measure(options.out / "start", test)["f32"]}
    rows.update({f"seed {seed}, {dtype}": found for seed, (_, tested) in results.items() for dtype, found in tested.items()})
    print(table(["model", "recall@1", "recall@10"],
                [[name, f"{100 * first:.1f} %", f"{100 * ten:.1f} %"] for name, (first, ten) in rows.items()]), end="")
    if options.export:
        shutil.copytree(options.out / f"seed{best}", options.export, copy_function=copy, dirs_exist_ok=True)
        print(f"{options.export}: seed {best}")


if __name__ == "__main__":
    main()
