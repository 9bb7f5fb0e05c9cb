#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: tests/fuzz_all.sh [SECONDS [BUILD]]
# Runs every fuzz target of a build with -Dfuzzing=true for SECONDS (60), as many at once as there are CPUs, and prints the
# rows of the table in docs/testing.md. Each target keeps what it learns in BUILD/corpus_TARGET. Fails if a target finds a
# fault: its input is then in BUILD/fuzz_TARGET-*.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60} build=${2:-build/sanitize}

fuzz() {  # fuzz TARGET: its output is in BUILD/fuzz_TARGET.log
    mkdir -p "$build/corpus_$1"
    "$build/tests/fuzz_$1" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$build/fuzz_$1-" \
        "$build/corpus_$1" "tests/data/fuzz/$1" >"$build/fuzz_$1.log" 2>&1
}
row() {  # row TARGET
    awk -v target="$1" -v seconds="$seconds" '
        /^#[0-9]+.* cov: / { for (i = 1; i < NF; ++i) if ($i == "cov:") edges = $(i + 1) }
        /^stat::number_of_executed_units/ { runs = $2 }
        END { printf "| `fuzz_%s` | %d | %s | %d |\n", target, runs, edges, seconds }' "$build/fuzz_$1.log"
}

targets=() failed=() running=()
for source in tests/fuzz_*.cpp; do
    target=${source#tests/fuzz_}
    [ ! -x "$build/tests/fuzz_${target%.cpp}" ] || targets+=("${target%.cpp}")
done
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz target in $build/tests: meson setup $build -Dfuzzing=true needs clang" >&2; exit 2; }

cpus=$(nproc)
for ((first = 0; first < ${#targets[@]}; first += cpus)); do
    running=("${targets[@]:first:cpus}") pids=()
    for target in "${running[@]}"; do fuzz "$target" & pids+=($!); done
    for i in "${!pids[@]}"; do wait "${pids[i]}" || failed+=("${running[i]}"); done
done

echo "| target | executions | edges | seconds |"
echo "|---|---|---|---|"
for target in "${targets[@]}"; do row "$target"; done
for target in "${failed[@]}"; do tail -n 40 "$build/fuzz_$target.log"; done
[ ${#failed[@]} -eq 0 ]
