# SPDX-License-Identifier: Apache-2.0
"""Compares ss1's reader of safetensors with the reference reader (the Python package safetensors) on many files.

    python3 tests/compare_safetensors.py --program build/test/tests/safetensors_views --files 1000000 --jobs 16

Makes random files, most of them damaged: bytes, lengths, offsets, names, types, numbers and the grammar of the header. What ss1 accepts,
the reference must accept too, with the same names, types, shapes and bytes. The reverse need not hold, because ss1 is stricter: these
files are counted by the rule that ss1 names. Prints a summary as JSON and fails if the readers disagree; such files are kept in --keep.
Without the package, --reader json compares with a lenient reader of ten lines over Python's json.
"""
import argparse
import collections
import json
import multiprocessing
import pathlib
import random
import re
import struct
import subprocess
import sys

BATCH = 1000
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64,
        "F64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "C64": 64, "F4": 4}
NAMES = ["a", "b", "weight", "bert.layer.0.bias", "é", "中文", "\U0001f600", " ", "a b", "a/b", "..", "\"", "\\", "\x7f", "x" * 512,
         "x" * 513, "", "\n", "\x00", "__metadata__ ", "__metadata"]


def product(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def make_members(rng):
    """The members of a good header and the number of bytes of its data; `members` are pairs so that a name may repeat."""
    members, end = [], 0
    names = rng.sample(NAMES[:10], rng.randrange(0, 5))
    for name in names:
        dtype = rng.choice(list(BITS) if rng.random() < 0.05 else ["F32", "BF16", "U8", "I64", "BOOL", "F16"])
        shape = [rng.choice([0, 1, 1, 2, 3, 4, 7]) for _ in range(rng.randrange(0, 4))]
        bytes_ = product(shape) * BITS[dtype] // 8
        members.append([name, {"dtype": dtype, "shape": shape, "data_offsets": [end, end + bytes_]}])
        end += bytes_
    rng.shuffle(members)
    if rng.random() < 0.3:
        members.insert(rng.randrange(len(members) + 1), ["__metadata__", {"format": "pt", "é": "\n", "": ""}])
    return members, end


def odd_number(rng, value):
    return rng.choice([value + 1, value - 1, -value, float(value), value + 0.5, str(value), None, True, [value], {}, 2**31, 2**32, 2**53 + 1,
                       2**63, 2**64 - 1, 2**64, 2**64 + value, -1, 1e300, 0])


def damage_members(rng, members, end):
    """Breaks one rule (or none) about what the header says. @return the bytes of data."""
    entries = [entry for name, entry in members if name != "__metadata__"]
    kind = rng.randrange(14)
    if kind == 0:
        members.append(["__metadata__", rng.choice([None, {}, [], "x", {"a": 1}, {"a": None}, {"a": {"b": "c"}}])])
    if kind == 1:
        return max(0, end + rng.choice([-1, 1, -4, 4, 100]))
    if not entries or kind > 11:
        return end
    entry = rng.choice(entries)
    if kind == 2:
        index = rng.randrange(2)
        entry["data_offsets"][index] = odd_number(rng, entry["data_offsets"][index])
    elif kind == 3 and entry["shape"]:
        index = rng.randrange(len(entry["shape"]))
        entry["shape"][index] = odd_number(rng, entry["shape"][index])
    elif kind == 4:
        entry["dtype"] = rng.choice(list(BITS) + ["f32", "F32 ", "", "F8", "U4", None, 1, ["F32"]])
    elif kind == 5:
        del entry[rng.choice(list(entry))]
    elif kind == 6:
        entry[rng.choice(["extra", "Dtype", "", "shape2"])] = rng.choice([1, None, "x", [], {}])
    elif kind == 7:
        rng.choice(members)[0] = rng.choice(NAMES)
    elif kind == 8:
        members.append([rng.choice(members)[0], dict(entry)])  # a name, or __metadata__, a second time
    elif kind == 9:
        entry["data_offsets"] = rng.choice([entry["data_offsets"][::-1], entry["data_offsets"] + [0], [], [end], None, "0", [0, end]])
    elif kind == 10:
        other = rng.choice(entries)
        entry["data_offsets"], other["data_offsets"] = other["data_offsets"], entry["data_offsets"]
    elif kind == 11:
        entry["shape"] = rng.choice([entry["shape"] + [1], [1] * 40, [2**32, 2**32], [2**63, 2, 0], [0, 2**64 - 1], entry["shape"][::-1], None])
    return end


def text_of(rng, members):
    """The header as JSON, at times with other white space, escapes or members in other places."""
    separators = rng.choice([(",", ":"), (",", ":"), (", ", ": "), (" ,\n", "\t:\r")])
    ascii_only = rng.random() < 0.5
    parts = [json.dumps(name, ensure_ascii=ascii_only) + separators[1] + json.dumps(entry, ensure_ascii=ascii_only, separators=separators)
             for name, entry in members]
    return ("{" + separators[0].join(parts) + "}").encode("utf-8", "surrogatepass")


SNIPPETS = [b"{", b"}", b"[", b"]", b",", b":", b"\"", b"\\", b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", b"\\/", b"/", b"//x\n", b"0", b"00", b"-0",
            b"1e0", b"1.0", b"1E+2", b"e9", b"+1", b"0x1", b"NaN", b"null", b"true", b" ", b"\t", b"\n", b"\x00", b"\xff", b"\xc0\x80",
            b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", b"[[[[[[[[", b"{\"a\":", b"\"dtype\":\"F32\",", b"\"shape\":[],"]


def damage_text(rng, text):
    """Changes, adds or removes some bytes of the header."""
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 4])):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:at] + rng.choice(SNIPPETS) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + rng.choice([1, 1, 2, 8]):]
        elif kind == 2:
            text = text[:at] + bytes([rng.randrange(256)]) + text[at + 1:]
        else:
            text = text[:at] + rng.choice(SNIPPETS) + text[at + rng.choice([1, 2, 4]):]
    return text


def make_file(rng):
    members, end = make_members(rng)
    if rng.random() < 0.6:
        end = damage_members(rng, members, end)
    text = text_of(rng, members)
    if rng.random() < 0.5:
        text = damage_text(rng, text)
    text += rng.choice([b"", b" ", b" " * (-len(text) % 8)] * 20 + [b"\n", b"\0", b"\t", b" \n "])
    length = len(text)
    if rng.random() < 0.05:
        length = rng.choice([length - 1, length + 1, 0, 1, 2, length + end, length + end + 1, 10**8, 10**8 + 1, 2**31, 2**32 + length, 2**63,
                             2**64 - 1, 2**64 - 8]) % 2**64
    file = struct.pack("<Q", length) + text + rng.randbytes(end)
    if rng.random() < 0.03:
        file = file[:rng.randrange(len(file) + 1)]
    return file


def answers_of_ss1(program, files):
    given = b"".join(struct.pack("<Q", len(file)) + file for file in files)
    lines = subprocess.run([program], input=given, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    assert len(lines) == len(files), f"{len(lines)} answers to {len(files)} files"
    return [json.loads(line) for line in lines]


def read_by_reference(file):
    """The views in the form of ss1's answer, or None if the reference refuses the file."""
    import safetensors
    try:
        views = safetensors.deserialize(file)
    except safetensors.SafetensorError:
        return None
    return {name: [view["dtype"], list(view["shape"]), bytes(view["data"]).hex()] for name, view in views}


def read_by_json(file):
    try:
        length, = struct.unpack("<Q", file[:8])
        header, data = json.loads(file[8:8 + length].decode()), file[8 + length:]
        header.pop("__metadata__", None)
        return {name: [entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])].hex()] for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, struct.error):
        return None


READERS = {"safetensors": read_by_reference, "json": read_by_json}


def rule_of(answer):
    """The rule that ss1 names: its message without names, values and places."""
    message = re.sub(r"tensor '.*?'(?=: )", "tensor", answer["error"], flags=re.DOTALL)
    message = re.sub(r"invalid JSON at byte .*", "invalid JSON", message, flags=re.DOTALL)
    message = re.sub(r"'.*?'", "'...'", message, flags=re.DOTALL)
    message = re.sub(r"\[[^\]]*\]", "[...]", message)
    message = re.sub(r"\b[A-Z]+\d\w*|\bBOOL\b", "DTYPE", message)
    return answer["status"] + ": " + re.sub(r"-?\d[\d.e+]*", "N", message)[:120]


def compare_batch(task):
    options, batch = task
    rng = random.Random(f"{options.seed}:{batch}")
    files = [make_file(rng) for _ in range(min(BATCH, options.files - batch * BATCH))]
    counts = collections.Counter()
    stricter = collections.Counter()
    wrong = []
    for file, ours in zip(files, answers_of_ss1(options.program, files)):
        accepted = "tensors" in ours
        theirs = READERS[options.reader](file)
        if accepted and theirs == ours["tensors"]:
            counts["accepted by both, same views"] += 1
        elif accepted:
            counts["accepted by both, other views" if theirs is not None else "accepted by ss1 alone"] += 1
            wrong.append((file, ours, theirs))
        elif theirs is None:
            counts["refused by both"] += 1
        else:
            counts["accepted by the reference alone"] += 1
            stricter[rule_of(ours)] += 1
    return counts, stricter, wrong


def keep(folder, wrong):
    folder.mkdir(parents=True, exist_ok=True)
    for i, (file, ours, theirs) in enumerate(wrong[:100]):
        (folder / f"{i}.safetensors").write_bytes(file)
        (folder / f"{i}.json").write_text(json.dumps({"ss1": ours, "reference": theirs}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default="build/test/tests/safetensors_views", help="default: %(default)s")
    parser.add_argument("--files", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes; default: %(default)s")
    parser.add_argument("--keep", type=pathlib.Path, default="build/safetensors_differences", help="default: %(default)s")
    parser.add_argument("--reader", choices=READERS, default="safetensors", help="to compare with; default: %(default)s")
    options = parser.parse_args()
    options.program = options.program.resolve()  # a path drops the ./ without which a program is looked for in PATH
    reader = __import__(options.reader)
    counts, stricter, wrong = collections.Counter(), collections.Counter(), []
    tasks = [(options, batch) for batch in range((options.files + BATCH - 1) // BATCH)]
    with multiprocessing.Pool(options.jobs) as pool:
        for c, s, w in pool.imap_unordered(compare_batch, tasks):
            counts += c
            stricter += s
            wrong += w
    print(json.dumps({"reference": f"{options.reader} {reader.__version__}", "files": options.files, "seed": options.seed, "counts": dict(counts.most_common()),
                      "accepted by the reference alone, by ss1's rule": dict(stricter.most_common())}, indent=1))
    if wrong:
        keep(options.keep, wrong)
        sys.exit(f"{len(wrong)} files are accepted by ss1 alone or read otherwise: see {options.keep}")


if __name__ == "__main__":
    main()
