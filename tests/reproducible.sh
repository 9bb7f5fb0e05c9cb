#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: tests/reproducible.sh [meson options]
# Builds the committed sources twice, in folders of different names and depths, at different times and with different
# languages, time zones and numbers of jobs, and compares libss1.so and ss1 bit by bit. Takes minutes: it is no part of CI.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$(mktemp -d)
commit=$(git rev-parse HEAD)  # that of both builds, whatever is committed meanwhile
trap 'rm -rf "$tree"' EXIT

build() {  # build FOLDER BUILD JOBS [meson options]
    local source=$1 folder=$2 jobs=$3
    shift 3
    mkdir -p "$source"
    git archive "$commit" | tar -x -m -C "$source"
    meson setup "$folder" "$source" --buildtype=release -Dtests=false -Dbench=false -Dexamples=false -Dbindings=[] "$@" >/dev/null
    ninja -C "$folder" -j "$jobs" --quiet src/cli/ss1
}
export CCACHE_DISABLE=1
LC_ALL=C TZ=UTC build "$tree/a" "$tree/a/build" "$(nproc)" "$@"
LC_ALL=C.UTF-8 TZ=Asia/Tokyo build "$tree/a longer/path/to/b" "$tree/out" 1 "$@"

different=0
library=$(basename "$(readlink -f "$tree/a/build/src/libss1.so")")
for file in "src/$library" src/cli/ss1; do
    if cmp "$tree/a/build/$file" "$tree/out/$file"; then
        sha256sum <"$tree/out/$file" | sed "s|-|$file|"
    else
        different=1
    fi
done
exit $different
