#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Find the lines of a file that are nearest to a query, with a directory of sentence-transformers.

    python3 search.py DIRECTORY FILE QUERY
"""
import sys

import ss1


def main(directory, file, query):
    documents = open(file, encoding="utf-8").read().splitlines()
    with ss1.Context() as context, ss1.Model(context, directory) as model:
        vectors = model.encode(documents, prompt="document")    # float32 [documents, size]
        wanted = model.encode([query], prompt="query")[0]
    scores = vectors @ wanted                                   # cosines: this model normalises
    for i in (-scores).argsort(kind="stable")[:5]:
        print(f"{scores[i]:.4f} {documents[i]}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY FILE QUERY")
    main(*sys.argv[1:])
