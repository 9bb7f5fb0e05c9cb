# SPDX-License-Identifier: Apache-2.0
"""What the scripts that measure quality share: scores of answers, files of finished runs, tables, lists of options. Needs no PyTorch."""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import sys

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ss1._output import output

DTYPES = {"f32": "f32", "bf16": "bf16", "i8": "int8"}  # names in the library, names in tables


def log_loss(probability, label):
    p = numpy.clip(probability.astype(numpy.float64), 1e-7, 1 - 1e-7)
    return float(-(label * numpy.log(p) + (1 - label) * numpy.log1p(-p)).mean())


def auc(probability, label):
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order; ties count half."""
    values, inverse, counts = numpy.unique(probability, return_inverse=True, return_counts=True)
    rank = (numpy.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = label.sum()
    return float((rank[label == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))


def log_softmax(logits):
    """float64 [n, classes]: the logarithms of the probabilities that these logits stand for."""
    logits = numpy.asarray(logits, numpy.float64)
    return logits - numpy.logaddexp.reduce(logits, axis=1, keepdims=True)


def beside(original, found):
    """Compares log probabilities [n, classes] with those of the original model.

    Returns {"agrees": share of equal answers, "kl": mean of KL(original || found) in nats}.
    """
    return {"agrees": float((found.argmax(1) == original.argmax(1)).mean()),
            "kl": float((numpy.exp(original) * (original - found)).sum(1).mean())}


def stored(path, settings):
    """Returns the finished run in this file, or None."""
    if not path.exists():
        return None
    result = json.loads(path.read_text())
    different = {key for key in settings if result["settings"].get(key) != settings[key]}
    if different:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {path} was made with another {', '.join(sorted(different))}: choose another --out")
    return result


def write(path, text):
    """Replaces the file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with output(path) as file:
        file.write(text.encode())


def copy(source, target):
    """Replaces the file `target` atomically by a copy."""
    with open(source, "rb") as whole, output(target) as file:
        shutil.copyfileobj(whole, file)


def cell(values, form=".3f"):
    """Mean and half of the range of these values, without those that are None."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    spread = f" ± {(max(values) - min(values)) / 2:{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


def table(titles, rows):
    return "\n".join(["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1),
                      *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def filled(page, made):
    """Returns the text of the page with what stands between its markers replaced; its sentences stay.

    made: {marker: a function that makes its text}.
    """
    def replace(found):
        if found[2] not in made:
            sys.exit(f"{pathlib.Path(sys.argv[0]).name}: the marker {found[2]!r} is none of {', '.join(made)}")
        return f"{found[1]}\n\n{made[found[2]]()}\n{found[3]}"

    return re.sub(r"(<!-- table: ([\w -]+) -->)(?:(?!<!--).)*(<!-- end -->)", replace, page, flags=re.DOTALL)


def chosen(known):
    """Returns a parser of lists "a,b,..." of these names."""
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return names
    return parse
