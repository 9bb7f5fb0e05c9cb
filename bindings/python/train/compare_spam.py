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
from results import beside, log_softmax


def unseen(path):
    """Returns (mails, labels 0 or 1) of this corpus that no example model was trained on: a list of str and an int64 array."""
    parts = mails.split(mails.read(path))
    texts, labels = zip(*parts["valid"], *parts["test"])
    return list(texts), numpy.array(labels)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 bindings/python/train/compare_spam.py spam_assassin.jsonl.gz examples/models/spam-bert-dense quarter")
    parser.add_argument("mails", help="the corpus, as mails.read() takes it")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model directories, the original first")
    options = parser.parse_args()
    texts, labels = unseen(options.mails)
    print(f"{len(texts)} mails, {100 * labels.mean():.1f} % spam\n")
    print("| model | right | agrees | KL |\n|---|---:|---:|---:|")
    original = None
    with ss1.Context() as context:
        for directory in options.models:
            with ss1.Model(context, directory) as model:
                found = log_softmax(model.predict(texts, raw=True))
            original = found if original is None else original
            got = beside(original, found)
            print(f"| {directory} | {100 * (found.argmax(1) == labels).mean():.2f} % | {100 * got['agrees']:.2f} % | {got['kl']:.4f} |",
                  flush=True)


if __name__ == "__main__":
    main()
