#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds ss1 and runs its main job: a trained recommendation model on held-out rows, dense and as SS1, a BERT on mails,
# then a BERT-base-shaped encoder. Installs missing Debian packages first. Takes a few minutes the first time.
cd "$(dirname "$0")"
. .ci/prepare

install_packages "${packages[@]}"
configure build/test --buildtype=release
build build/test src/cli/ss1 bench/driver/ss1-bench
ss1=build/test/src/cli/ss1
ss1_bench=build/test/bench/driver/ss1-bench
models=examples/models
rows=examples/data/insteval-test.csv

say "This machine"
"$ss1" info

say "Lecture ratings (InstEval): will a student rate a lecture 4 or 5? Held-out rows, dense against SS1 at c = 4"
for model in insteval-dense insteval-ss1; do
    printf '%s: ' "$model"
    "$ss1" run "$models/$model" --input "$rows" --label label --output /dev/null 2>&1
done

say "Latency of both, interleaved in one run"
"$ss1_bench" model "$models/insteval-dense" "$models/insteval-ss1" --batch 1,64,1024 --input "$rows"

say "Mails: spam or ham? A small BERT with all its encoder's layers tied 4-fold, text in, answers out (5 of 20)"
"$ss1" run "$models/spam-bert-ss1" --text examples/data/spam-test.txt | sed -n 1,5p

say "An encoder of BERT-base's shape (random weights), sequence 128, dense against SS1 at c = 4"
"$ss1_bench" model "$models/bert-base" "$models/bert-base-ss1" --random-weights 1 --tokens 128 --batch 1
