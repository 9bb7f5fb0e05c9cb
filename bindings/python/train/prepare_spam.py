# SPDX-License-Identifier: Apache-2.0
"""Make the WordPiece vocabulary and the token ids that pretrain_bert.py and finetune_spam.py train on (needs tokenizers).

The mails are split first: vocabulary and pre-training use only the training mails and the collected text. The command
writes to --out: vocab.txt, the tokenizer's configuration, tokens.npz and the lines of the test mails.
"""
import argparse
import json
import pathlib
import time

import numpy
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

import mails
from results import write
from ss1._output import output

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0..4
PAD, CLS, SEP = 0, 2, 3
HELD_OUT = 200  # one of this many paragraphs measures the pre-training
ALPHABET = 200  # characters with a token of their own; rarer ones are [UNK]


def tokenizer_of(model):
    """Returns a tokenizer equal to Hugging Face's BertTokenizer in lower case."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def train_vocabulary(texts, size):
    """Returns the tokens in the order of their ids."""
    tokenizer = tokenizer_of(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(vocab_size=size, min_frequency=2, special_tokens=SPECIAL, limit_alphabet=ALPHABET,
                                        continuing_subword_prefix="##", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.get)


def encode(tokenizer, texts):
    """Returns a list of token ids for each text, without special tokens."""
    for begin in range(0, len(texts), 20000):
        for encoding in tokenizer.encode_batch(texts[begin:begin + 20000], add_special_tokens=False):
            yield encoding.ids


def stream(tokenizer, texts):
    """Concatenates all ids, with [SEP] after each text."""
    return numpy.concatenate([numpy.array([*ids, SEP], numpy.uint16) for ids in encode(tokenizer, texts)])


def rows(tokenizer, lines, length):
    """Returns [lines, length]: [CLS], the first tokens, [SEP], padding."""
    result = numpy.full((len(lines), length), PAD, numpy.uint16)
    for row, ids in zip(result, encode(tokenizer, lines)):
        row[:min(len(ids), length - 2) + 2] = [CLS, *ids[:length - 2], SEP]
    return result


def save_tokenizer(directory, vocabulary, length):
    """Writes vocab.txt and Hugging Face's two configuration files."""
    write(directory / "vocab.txt", "\n".join(vocabulary) + "\n")
    special = {f"{name.lower()[1:-1]}_token": name for name in SPECIAL}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None,
                "tokenize_chinese_chars": True, "model_max_length": length, **special}
    for name, content in (("tokenizer_config", settings), ("special_tokens_map", special)):
        write(directory / f"{name}.json", json.dumps(content, indent=2) + "\n")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 prepare_spam.py --mails spam_assassin.jsonl.gz --text corpus.txt.xz --out build/spam/data")
    parser.add_argument("--mails", type=pathlib.Path, required=True,
                        help="JSON lines with subject, text and label (1 = spam), gzipped")
    parser.add_argument("--text", type=pathlib.Path, required=True,
                        help="text for pre-training, one paragraph per line (collect_text.py), plain, .gz or .xz")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to write")
    parser.add_argument("--vocabulary", type=int, default=8000, help="tokens (default: %(default)s)")
    parser.add_argument("--length", type=int, default=256, help="maximum tokens of a mail (default: %(default)s)")
    parser.add_argument("--mail-copies", type=int, default=3,
                        help="how often a training mail counts in the pre-training (default: %(default)s)")
    return parser.parse_args()


def main():
    options, begun = arguments(), time.monotonic()

    def log(line):
        print(f"{time.monotonic() - begun:5.1f} s  {line}", flush=True)

    options.out.mkdir(parents=True, exist_ok=True)
    if (options.out / "tokens.npz").exists():
        log(f"{options.out / 'tokens.npz'} already exists")
        return
    parts = mails.split(mails.read(options.mails))
    lines = {name: [line for line, _ in part] for name, part in parts.items()}
    with mails.open_text(options.text) as file:
        text = [line.strip() for line in file]
    held_out, text = text[::HELD_OUT], [line for number, line in enumerate(text) if number % HELD_OUT]
    log(f"{len(text)} paragraphs, {', '.join(f'{len(part)} {name} mails' for name, part in parts.items())}")
    seen = text + lines["train"] * options.mail_copies
    vocabulary = train_vocabulary(seen, options.vocabulary)
    save_tokenizer(options.out, vocabulary, options.length)
    log(f"a vocabulary of {len(vocabulary)} tokens")
    tokenizer = tokenizer_of(models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    arrays = {"stream": stream(tokenizer, seen), "held_out": stream(tokenizer, held_out + lines["valid"])}
    for name, part in parts.items():
        arrays[f"{name}_ids"] = rows(tokenizer, lines[name], options.length)
        arrays[f"{name}_labels"] = numpy.array([label for _, label in part], numpy.uint8)
    log(f"{len(arrays['stream'])} tokens for pre-training, {(arrays['stream'] == 1).mean():.3%} of them unknown")
    write(options.out / "test.tsv", "".join(f"{mails.LABELS[str(label)]}\t{line}\n" for line, label in parts["test"]))
    with output(options.out / "tokens.npz") as file:
        numpy.savez(file, **arrays)


if __name__ == "__main__":
    main()
