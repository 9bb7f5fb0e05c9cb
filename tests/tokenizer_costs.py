#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what tokenizers take for texts of the worst kinds, at a sixteenth and at whole size.

usage: SS1_LIBRARY=build/test/src/libss1.so PYTHONPATH=bindings/python tokenizer_costs.py [MIB]

Each of the tokenizers that the tests compare with Hugging Face's cuts each text, which has MIB (0.25) MiB, as one text of one
thread. A row is a text: the nanoseconds of CPU for a byte, of the slowest tokenizer and which one that is, and how many times
the nanoseconds for a byte of a text of a sixteenth of the size they are, at most (linear time: 1, and up to 2 where memory
leaves the caches; quadratic: 16). Times are the least of three; freed memory stays with the process, so that they are not those
of the system's page faults. Fails if that is more than 4. It takes a minute: it is no part of CI.
"""
import ctypes
import json
import pathlib
import random
import sys
import time

import ss1

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "tests/data/tokenizer"
SIZE = int(float(sys.argv[1] if len(sys.argv) > 1 else 0.25) * (1 << 20))
SHARE, ROUNDS, LIMIT = 16, 3, 4


def documents():
    """Name and files of each tokenizer."""
    content = json.loads((DATA / "pipelines.json").read_text())

    def fill(value):
        if isinstance(value, dict):
            if "precompiled_charsmap" in value:
                value["precompiled_charsmap"] = content["charsmap"]
            value = list(value.values())
        for member in value if isinstance(value, list) else []:
            fill(member)

    for name, document in content["tokenizers"].items():
        document["model"] = content["models"][document["model"]]
        fill(document["normalizer"])
        yield name, {"tokenizer.json": json.dumps(document).encode()}
    yield "bert", {"vocab.txt": (DATA / "vocab.txt").read_bytes()}


def prose():
    pages = [path.read_text() for folder in (ROOT, ROOT / "docs") for path in sorted(folder.glob("*.md"))]
    return "".join(pages)


def letters(first, last, blank_each=0, seed=1):
    """Random letters of a range, in one word, or in words of some length."""
    draw = random.Random(seed)
    text = [chr(draw.randint(first, last)) for _ in range(10007)]
    for i in range(blank_each, len(text), blank_each or len(text)):
        text[i] = " "
    return "".join(text)


TEXTS = {
    "English": prose(),
    "one letter": "a",
    "random letters": letters(97, 122),
    "random words": letters(97, 122, 6),
    "capitals": letters(65, 90),
    "blanks": " ",
    "line feeds": "\n",
    "blanks and line feeds": " \n",
    "digits": "1234567890",
    "punctuation": letters(33, 47),
    "apostrophes": "'",
    "contractions": "'s't're've'm'll'd",
    "control characters": "\x01\x02",
    "accents": "\u00e9\u00fc\u0151",
    "one letter with marks": "\u0301\u0323",  # marks of two classes, in the wrong order: a normalizer sorts them
    "letters with marks": "e\u0323\u0301",
    "Korean": letters(0xac00, 0xd7a3),
    "Korean letters": "\u1100\u1161\u11a8",
    "Chinese": letters(0x4e00, 0x9fff),
    "Arabic": letters(0x621, 0x64a, 5),
    "Thai": letters(0xe01, 0xe3a),
    "ligatures": "\ufdfa\ufb03\u3300",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "skin tones": "\U0001f44d\U0001f3fd",
    "marks of spaces": "\u2581",
    "other planes": letters(0x10000, 0x10fff),
    "added tokens": "[MASK]",
    "nearly added tokens": "[MAS",
    "added tokens in blanks": " [MASK]  ",
    "brackets": "[",
    "angles": "<s><",
}


def seconds(tokenizer, text):
    start = time.process_time()
    tokenizer([text], max_tokens=len(text) + 64)
    return time.process_time() - start


def of_size(piece, size):
    """As many whole characters of repeated pieces as fit into so many bytes, which are nearly all."""
    data = piece.encode()
    return (data * (size // len(data) + 1))[:size].decode(errors="ignore").encode()


def keep_freed_memory():
    libc = ctypes.CDLL(None)
    for parameter in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        libc.mallopt(parameter, 1 << 30)


def main():
    keep_freed_memory()
    tokenizers = {}
    with ss1.Context(num_threads=1) as context:
        for name, files in documents():
            tokenizers[name] = ss1.Tokenizer(context, files)
        print("| text | ns a byte | slowest | over those of a sixteenth | of |\n|---|---|---|---|---|")
        worst = 0
        for kind, piece in TEXTS.items():
            part, whole = of_size(piece, SIZE // SHARE), of_size(piece, SIZE)
            times = {}
            for name, tokenizer in tokenizers.items():
                pairs = [(seconds(tokenizer, whole), seconds(tokenizer, part), seconds(tokenizer, whole)) for _ in range(ROUNDS)]
                times[name] = [min(column) for column in zip(*pairs)][1:]
            slowest = max(times, key=lambda name: times[name][1])
            ratios = {name: b / a / SHARE for name, (a, b) in times.items()}
            bent = max(ratios, key=ratios.get)
            worst = max(worst, ratios[bent])
            print(f"| {kind} | {times[slowest][1] / len(whole) * 1e9:.0f} | {slowest} | {ratios[bent]:.2f} | {bent} |", flush=True)
        for tokenizer in tokenizers.values():
            tokenizer.close()
    sys.exit(worst > LIMIT)


main()
