#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Measures what serving is made of and writes it as FOLDER/SERVING.md with FOLDER/plots/latency.svg: a DLRM's embedding bags,
# towers and requests under open-loop load, a BERT operator by operator. About 5 minutes.
#   bench/serving.sh [ss1 [FOLDER]]          e.g. bench/serving.sh build/test/src/cli/ss1 bench
set -eu
case "${1:-}" in -h | --help) sed -n '3,5s/^# *//p' "$0"; exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
ss1=$(realpath "${1:-$root/build/test/src/cli/ss1}") out=$(realpath "${2:-$root/bench}")
cd "$root"
load=$(mktemp)
trap 'rm -f "$load"' EXIT

# As a reader types it; progress on a terminal.
tell() {
    echo "ss1 $*" >&2
    printf '\n```sh\nss1 %s\n```\n\n' "$*"
}
measure() {
    tell "$@"
    "$ss1" "$@"
}
mkdir -p "$out/plots"
{
    printf '# Serving\n\nWritten by `bench/serving.sh` on %s (%s CPUs), %s, at commit %s.\n' "$("$ss1" info | sed -n 's/^CPU *//p')" \
        "$(nproc)" "$(date +%F)" "$(git describe --always --dirty 2>/dev/null || echo unknown)"
    printf '\n## Embedding bags\n\nBeside a plain prefetched gather of the same rows, without checks, which adds them up in registers:\n*share* of its rate, and what the *checks* of indices and offsets add to unchecked bags.\n'
    measure bench bag --rows 1000000 -d 16,64,128 --pooling 1,20,80
    printf '\n## Towers\n\nRow blocks with their activations in L2, beside the same layers one by one.\n'
    measure bench tower -m 16,256,2048 -c 1,4 --dtype f32,bf16
    printf '\n## Load\n\nRequests of 128 rows at random times, two at once.\n'
    set -- bench model examples/models/dlrm-mlperf --random-weights 1 --dtype f32,bf16,int8 --batch 128 --threads 1 --workers 2 \
        --rate 50-1600*2 --duration 3 --deadline-ms 20 -o json
    tell "$@"
    "$ss1" "$@" >"$load"
    printf '![throughput against latency](plots/latency.svg)\n'
    printf '\n## BERT, operator by operator\n\nPercentages are of what a loop of the matrix or vector unit reaches from registers.\n'
    measure bench model examples/models/bert-base examples/models/bert-base-ss1 --random-weights 1 --dtype f32,bf16,int8 \
        --tokens 128 --batch 1,8 --threads 1 --repetitions 5 --stages
} >"$out/SERVING.md"
python3 bench/latency_curve.py "$load" --out "$out/plots/latency.svg"
