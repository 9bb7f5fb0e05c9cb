#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Measures the parts of serving and writes FOLDER/SERVING.md with FOLDER/plots/latency.svg: a DLRM's embedding bags, towers and
# requests under open-loop load, and a BERT operator by operator. Takes about 5 minutes.
#   bench/serving.sh [BUILD [FOLDER]]          e.g. bench/serving.sh build/test bench
set -eu
case "${1:-}" in -h | --help) sed -n '3,5s/^# *//p' "$0"; exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(realpath "${1:-$root/build/test}") out=$(realpath "${2:-$root/bench}")
ss1=$build/src/cli/ss1 bench=$build/bench/driver/ss1-bench
cd "$root"
load=$(mktemp) rows=$(mktemp)
trap 'rm -f "$load" "$rows"' EXIT

# Prints the command as a reader types it; progress goes to a terminal.
tell() {
    echo "ss1-bench $*" >&2
    printf '\n```sh\nss1-bench %s\n```\n\n' "$*"
}
measure() {
    tell "$@"
    "$bench" "$@"
}
# Keeps the columns of Markdown tables that have these titles ("A|B|C"), in this order; other lines pass.
columns() {
    awk -F ' *[|] *' -v wanted="$1" '
        !/^[|]/ { known = 0; print; next }
        !known { known = 1; n = split(wanted, titles, "|"); for (i = 2; i < NF; ++i) place[$i] = i }
        { line = "|"; for (i = 1; i <= n; ++i) line = line " " $place[titles[i]] " |"; print line }'
}
mkdir -p "$out/plots"
{
    printf '# Serving\n\nWritten by `bench/serving.sh` on %s (%s CPUs), %s, at commit %s.\n' "$("$ss1" info | sed -n 's/^CPU *//p')" \
        "$(nproc)" "$(date +%F)" "$(git describe --always --dirty 2>/dev/null || echo unknown)"
    printf '\n## Embedding bags\n\nBeside a plain prefetched gather of the same rows, without checks, which adds them up in registers.\n*gather* is its rate in GB/s, *share* is the rate of the bags over it. *checks* is the share of time that the checks of indices and\noffsets add.\n'
    measure bag --rows 1000000 -d 16,64,128 --pooling 1,20,80 >"$rows"
    columns 'dtype|d|pooling|bags us|GB/s|gather|share|checks' <"$rows"
    printf '\n## Towers\n\nThe layers of an MLP run row block by row block, with activations in L2, beside the same layers one by one.\n'
    measure tower -m 16,256,2048 -c 1,4 --dtype f32,bf16 >"$rows"
    columns 'dtype|m|c|tower us|layers us|ratio|GFLOP/s|tower KiB|layers KiB' <"$rows"
    printf '\n## Load\n\nRequests of 128 rows arrive at random times; two run at once.\n'
    set -- model examples/models/dlrm-mlperf --random-weights 1 --dtype f32,bf16,int8 --batch 128 --threads 1 --workers 2 \
        --rate 50-1600*2 --duration 3 --deadline-ms 20 -o json
    tell "$@"
    "$bench" "$@" >"$load"
    printf '![throughput against latency](plots/latency.svg)\n'
    printf '\n## BERT, operator by operator\n\nTime of each operator, then its rate as percentage of a loop of the matrix or vector unit on registers.\n'
    measure model examples/models/bert-base examples/models/bert-base-ss1 --random-weights 1 --dtype f32,bf16,int8 \
        --tokens 128 --batch 1,8 --threads 1 --repetitions 5 --stages >"$rows"
    columns 'model|dtype|batch|p50 us|QKV us|attention us|att. output us|intermediate us|output us' <"$rows"
    sed -n '/^|/p' "$rows" | { echo; columns 'model|dtype|batch|QKV %|attention %|att. output %|intermediate %|output %'; }
} >"$out/SERVING.md"
python3 bench/latency_curve.py "$load" --out "$out/plots/latency.svg"
