#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares ids and offsets with Hugging Face's tokenizers for random tokenizer.json files and texts.

    added   files with random added tokens (lstrip, rstrip, single_word, normalized)
    trim    files with trim_offsets, random normalizers, pre-tokenizers, models and an added token
    words   "a" + c + "a" for every code point c, cut into words by Split and by Whitespace

Each kind prints the texts that it compared and those that differ. Files that ss1 refuses are counted; so are texts for
which tokenizers itself stops with an error. Needs node with the package tokenizers where NODE_PATH finds it, and
libss1 ($SS1_LIBRARY, or ss1 installed).

  NODE_PATH=node_modules SS1_LIBRARY=build/test/src/libss1.so tests/compare_tokenizers.py --seed 1
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bindings/python"))
import ss1

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
# Reads [{document, texts}] and writes for each an error, or the ids and offsets of each text.
NODE = """
const {Tokenizer} = require('tokenizers');
(async () => {
  const results = [];
  for (const {document, texts} of JSON.parse(require('fs').readFileSync(0, 'utf8'))) {
    try {
      const rows = await Tokenizer.fromString(JSON.stringify(document)).encodeBatch(texts);
      results.push({rows: rows.map(row => [row.getIds(), row.getOffsets()])});
    } catch (error) {
      results.push({error: String(error.message || error)});
    }
  }
  process.stdout.write(JSON.stringify(results));
})();
"""
PIECES = ["a", "b", "a ", " a", " b", "  ", " ", "a b", "\u2581a", "\u2581", "\t", "\u0120a", "\u0120", " \u0120b", "\u00a0", "b\u3000",
          "\u3000\u3000b", "\u2003"]


def document(model, added=(), normalizer=None, pre_tokenizer=None, post_processor=None):
    plain = dict.fromkeys(FLAGS, False)
    tokens = [{"id": i, "content": token, "special": True, **plain} for i, token in enumerate(SPECIAL)]
    tokens += [{"special": False, **plain, **token} for token in added]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": None, "model": model}


def numbered(tokens):
    return {token: i for i, token in enumerate(tokens)}


def random_texts(pick, parts, n):
    return ["".join(pick.choice(parts) for _ in range(pick.randint(0, 9))) for _ in range(n)]


def added_case(pick):
    """(a file with one to four added tokens, texts); a token of white space alone has lstrip only with rstrip."""
    model = {"type": "WordLevel", "vocab": numbered([*SPECIAL, "a", "b"]), "unk_token": "[UNK]"}
    ids, added = dict(model["vocab"]), []
    for content in pick.sample(["<x>", "<y>", "  ", "a", ".", " b", "b ", "   ", " ", "\u00e9"], pick.randint(1, 4)):
        flags = {flag: pick.random() < 0.4 for flag in FLAGS}
        flags["rstrip"] |= flags["lstrip"] and not content.strip()
        added.append({"id": ids.setdefault(content, len(ids)), "content": content, **flags})
    parts = ["a", "b", " ", " ", " ", "  ", "\t", "<x>", "<y>", ".", "\u00e9", "<x"]
    return document(model, added, pre_tokenizer=pick.choice([None, {"type": "WhitespaceSplit"}])), random_texts(pick, parts, 60)


def random_model(pick):
    words = numbered([*SPECIAL, *PIECES])
    kind = pick.choice(["WordLevel", "WordPiece", "Unigram", "BPE"])
    if kind == "Unigram":
        vocab = [[token, 0] for token in SPECIAL] + [[piece, -1.0 - i / 10] for i, piece in enumerate(PIECES)]
        falls_back = pick.random() < 0.5
        return {"type": kind, "unk_id": 1, "byte_fallback": falls_back,
                "vocab": vocab + [[f"<0x{byte:02X}>", 0] for byte in range(256) if falls_back]}
    if kind == "BPE":
        merges = [["a", " "], [" ", "b"], [" ", " "], ["\u2581", "a"], ["\u0120", "a"]]
        return {"type": kind, "vocab": {**words, "c": len(words)}, "merges": merges, "unk_token": pick.choice(["[UNK]", None]),
                "fuse_unk": pick.random() < 0.3}
    if kind == "WordPiece":
        inner = numbered(["##a", "## ", "##b", "## b", "##a "])
        return {"type": kind, "vocab": {**words, **{token: len(words) + i for token, i in inner.items()}}, "unk_token": "[UNK]",
                "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    return {"type": kind, "vocab": words, "unk_token": "[UNK]"}


def trim_case(pick):
    """(a file whose post-processor trims offsets, texts)"""
    model = random_model(pick)
    added = [{"id": len(model["vocab"]), "content": pick.choice(["<x>", " <x>", "<x> "]),
              **{flag: pick.random() < 0.5 for flag in FLAGS if flag != "single_word"}}] if pick.random() < 0.5 else []
    split = {"type": "Split", "invert": False}
    pre_tokenizer = pick.choice([
        None, {**split, "pattern": {"Regex": "\\s+"}, "behavior": "MergedWithNext"},
        {**split, "pattern": {"Regex": "\\s"}, "behavior": "MergedWithPrevious"}, {"type": "Digits", "individual_digits": True},
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}, {"type": "WhitespaceSplit"},
        {"type": "Metaspace", "replacement": "\u0120", "prepend_scheme": "always"}, {"type": "BertPreTokenizer"}])
    normalizer = pick.choice([None, None, {"type": "Prepend", "prepend": " "}, {"type": "NFKC"},
                              {"type": "Replace", "pattern": {"String": "x"}, "content": "  "}])
    trims = {"trim_offsets": True, "add_prefix_space": pick.random() < 0.5}
    post_processor = pick.choice([{"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], **trims},
                                  {"type": "ByteLevel", "use_regex": True, **trims}])
    parts = ["a", "b", "a", "b", " ", " ", "  ", "\t", "c", "x", "xx", "\u00e9", "\u00a0", "\u3000", "1", "<x>", "[MASK]"]
    return document(model, added, normalizer, pre_tokenizer, post_processor), random_texts(pick, parts, 40)


def word_cases():
    model = {"type": "WordLevel", "vocab": numbered([*SPECIAL, "a"]), "unk_token": "[UNK]"}
    texts = [f"a{chr(c)}a" for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    for pattern in (r"\w+|[^\w\s]+", r"\s+", r"\s"):
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        yield document(model, pre_tokenizer=split), texts
    yield document(model, pre_tokenizer={"type": "Whitespace"}), texts


def of_tokenizers(cases):
    text = json.dumps([{"document": file, "texts": texts} for file, texts in cases])
    result = subprocess.run(["node", "-e", NODE], input=text, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"compare_tokenizers.py: node failed: {result.stderr[-500:]}")
    return json.loads(result.stdout)


def bytes_of(text, offsets):
    """Offsets in characters, as offsets in bytes of UTF-8."""
    at = [0]
    for character in text:
        at.append(at[-1] + len(character.encode()))
    return [[at[begin], at[end]] for begin, end in offsets]


def compare(context, kind, cases, shown):
    """Prints what differs. @return whether something does"""
    compared = different = refused = errors = 0
    for (file, texts), expected in zip(cases, of_tokenizers(cases)):
        if "error" in expected:
            errors += 1
            continue
        rules = json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}).encode()
        try:
            tokenizer = ss1.Tokenizer(context, {"tokenizer.json": json.dumps(file).encode(), "tokenizer_config.json": rules})
        except ss1.Error:
            refused += 1
            continue
        rows, places = tokenizer.with_offsets(texts, max_tokens=128)
        given = zip(texts, rows["input_ids"], rows["attention_mask"], places, expected["rows"])
        for text, ids, mask, place, (want_ids, want_places) in given:
            n = int(mask.sum())
            found, wanted = [ids[:n].tolist(), place[:n].tolist()], [want_ids, bytes_of(text, want_places)]
            compared += 1
            different += found != wanted
            if found != wanted and different <= shown:
                print(f"{text!r}: tokenizers {wanted}, ss1 {found}, file {json.dumps(file)}")
    print(f"{kind}: {compared} texts, {different} differ; {refused} files refused, {errors} on which tokenizers stopped", flush=True)
    return different > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="added,trim,words", help="default: %(default)s")
    parser.add_argument("--files", type=int, default=120, help="random files of a kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--show", type=int, default=5, help="most differences to print of a kind (default: %(default)s)")
    options = parser.parse_args()
    makers = {"added": added_case, "trim": trim_case, "words": None}
    differ = False
    with ss1.Context() as context:
        for kind in options.kinds.split(","):
            if kind not in makers:
                parser.error(f"--kinds {kind}: is none of {', '.join(makers)}")
            pick = random.Random(options.seed)
            cases = [makers[kind](pick) for _ in range(options.files)] if makers[kind] else list(word_cases())
            differ |= compare(context, kind, cases, options.show)
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
