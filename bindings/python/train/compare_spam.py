# SPDX-License-Identifier: Apache-2.0
"""Print how converted spam classifiers differ from their original, on mails of the SpamAssassin corpus that it was not trained on.

The mails are the parts "valid" and "test" of mails.split(). Columns: right answers, answers that agree with the original's, and
the mean of KL(original || model) of the probabilities of ham and spam, in nats. No training; needs numpy and libss1.
"""
import argparse
import pathlib
import sys

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import mails
import ss1


def log_probabilities(context, directory, texts):
    """float64 [n, 2]."""
    with ss1.Model(context, directory) as model:
        logits = model.predict(texts, raw=True).astype(numpy.float64)
    return logits - numpy.logaddexp.reduce(logits, axis=1, keepdims=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 bindings/python/train/compare_spam.py spam_assassin.jsonl.gz examples/models/spam-bert-dense quarter")
    parser.add_argument("mails", help="the corpus, as mails.read() takes it")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model directories, the original first")
    options = parser.parse_args()
    parts = mails.split(mails.read(options.mails))
    texts, labels = zip(*parts["valid"], *parts["test"])
    print(f"{len(texts)} mails, {100 * numpy.mean(labels):.1f} % spam\n")
    print("| model | right | agrees | KL |\n|---|---:|---:|---:|")
    original = None
    with ss1.Context() as context:
        for directory in options.models:
            found = log_probabilities(context, directory, list(texts))
            original = found if original is None else original
            answers = found.argmax(1)
            divergence = (numpy.exp(original) * (original - found)).sum(1).mean()
            print(f"| {directory} | {100 * numpy.mean(answers == labels):.2f} % | "
                  f"{100 * numpy.mean(answers == original.argmax(1)):.2f} % | {divergence:.4f} |", flush=True)


if __name__ == "__main__":
    main()
