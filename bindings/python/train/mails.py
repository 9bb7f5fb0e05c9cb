# SPDX-License-Identifier: Apache-2.0
"""The SpamAssassin corpus as lines of text with labels, without near-duplicates, in three fixed parts.

    parts = split(read("spam_assassin.jsonl.gz"))
    parts["test"][0]        # ("Re: your order Dear friend, ...", 1)
    split(read_pairs("spam_assassin.jsonl.gz"))["test"][0]      # ("Re: your order", "Dear friend, ..."): the same mail

Lines have the format of `ss1 run --text`: the subject, a space, the body, all runs of white space as one space.
"""
import collections
import gzip
import json
import lzma
import re

import numpy

LABELS = {"0": "ham", "1": "spam"}
SPLIT_SEED = 1
SHINGLE = 6  # words
BOILERPLATE = 20  # ignores shingles in more mails than this, such as the footer of a mailing list


def open_text(path):
    return {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)(path, "rt", encoding="utf-8")


def line_of(subject, body):
    return re.sub(r"\s+", " ", f"{subject} {body}").strip()


def shingles(line):
    words = re.findall(r"[a-z]+", line.lower())
    return {hash(tuple(words[i:i + SHINGLE])) for i in range(max(1, len(words) - SHINGLE + 1))}


def distinct(lines):
    """Returns the numbers of the lines that share less than half of their shingles with any kept line before them."""
    sets = [shingles(line) for line in lines]
    frequency = collections.Counter(shingle for found in sets for shingle in found)
    owners, kept = collections.defaultdict(list), []
    for number, found in enumerate(sets):
        telling = [shingle for shingle in found if frequency[shingle] <= BOILERPLATE]
        shared = collections.Counter(owner for shingle in telling for owner in owners[shingle])
        if telling and (not shared or 2 * max(shared.values()) < len(telling)):
            kept.append(number)
            for shingle in telling:
                owners[shingle].append(number)
    return kept


def read_distinct(path):
    """Returns the distinct mails, each a dict with subject, text and label."""
    with gzip.open(path, "rt") as file:
        mails = [json.loads(line) for line in file]
    return [mails[i] for i in distinct([line_of(mail["subject"], mail["text"]) for mail in mails])]


def read(path):
    """Returns [(line, label)], label 1 = spam, of the distinct mails."""
    return [(line_of(mail["subject"], mail["text"]), mail["label"]) for mail in read_distinct(path)]


def read_pairs(path):
    """Returns [(subject, body)] of the distinct mails, in the order of read()."""
    return [(mail["subject"], line_of("", mail["text"])) for mail in read_distinct(path)]


def topic(subject):
    """Returns the subject without the marks of replies, forwards and mailing lists at its front."""
    return re.sub(r"\s+", " ", re.sub(r"(?i)^(\s|(re|fw|fwd|aw)(\[\d+\])?:|\[[^]]*\])+", "", subject)).strip()


def split(mails):
    """{"train": 70 %, "valid": 10 %, "test": 20 %} of the mails, always the same split."""
    order = numpy.random.RandomState(SPLIT_SEED).permutation(len(mails))
    cuts = numpy.split(order, [len(mails) * 7 // 10, len(mails) * 8 // 10])
    return {name: [mails[i] for i in part] for name, part in zip(("train", "valid", "test"), cuts)}
