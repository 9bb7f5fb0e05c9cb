#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds ss1 and runs its main job: a trained recommendation model on held-out rows, dense and as SS1, a BERT on mails,
# a search by a small embedder, then a BERT-base-shaped encoder. Ends with a page of the results. Installs missing Debian
# packages first. Takes a few minutes the first time.
cd "$(dirname "$0")"
. .ci/prepare

install_packages "${packages[@]}"
configure build/test --buildtype=release
build build/test src/cli/ss1 bench/driver/ss1-bench
ss1=build/test/src/cli/ss1
ss1_bench=build/test/bench/driver/ss1-bench
models=examples/models
rows=examples/data/insteval-test.csv
results=build/test/demo
mkdir -p "$results"

# keep NAME COMMAND...: runs the command, and notes it for the page.
keep() {
    printf '%s\n' "${*:2}" >"$results/$1.cmd"
    "${@:2}"
}

say "This machine"
"$ss1" info
"$ss1" info -o json >"$results/info.json"

say "Lecture ratings (InstEval): will a student rate a lecture 4 or 5? Held-out rows, dense against SS1 at c = 4"
for model in dense ss1; do
    printf '%s: ' "$model"
    keep quality-$model "$ss1" run "$models/insteval-$model" --input "$rows" --label label --output /dev/null \
        --summary "$results/quality-$model.json" 2>&1
done

say "Latency of both, interleaved in one run"
keep latency-dlrm "$ss1_bench" model "$models/insteval-dense" "$models/insteval-ss1" --batch 1,64,1024 --input "$rows" -o json \
    >"$results/latency-dlrm.json"
python3 bench/demo_page.py --table "$results/latency-dlrm.json"

say "Mails: spam or ham? A small BERT with all its encoder's layers tied 4-fold, text in, answers out (5 of 20)"
"$ss1" run "$models/spam-bert-ss1" --text examples/data/spam-test.txt --label examples/data/spam-test.labels | sed -n 1,5p

say "Search: lines about commands, the nearest to 'compression' by the cosine of their embeddings, from an embedder trained on mails"
keep search env SS1_LIBRARY=build/test/src/libss1.so PYTHONPATH=bindings/python /usr/bin/python3 examples/search.py "$models/mail-embed" \
    examples/data/documents.txt compression >"$results/search.txt"
cat "$results/search.txt"

say "An encoder of BERT-base's shape (random weights), sequence 128, dense against SS1 at c = 4"
keep latency-encoder "$ss1_bench" model "$models/bert-base" "$models/bert-base-ss1" --random-weights 1 --tokens 128 --batch 1 -o json \
    >"$results/latency-encoder.json"
python3 bench/demo_page.py --table "$results/latency-encoder.json"

python3 bench/demo_page.py "$results"
say "The same as a page: $PWD/$results/demo.html"
