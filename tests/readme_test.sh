#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles and runs every C block of README.md as it stands there, runs every `ss1 ...` line of its shell blocks, and every
# Python block of it and of the Python package's.
set -eu
readme=$1 library=$(realpath "$2") include=$3 examples=$4 ss1=${5:+$(realpath "$5")} python=$6 package=$7
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH="$(dirname "$library")"

awk -v out="$work/block" '/^```c$/ {n++; inside = 1; next} /^```/ {inside = 0} inside {print > (out n ".c")}' "$readme"
count=0
for file in "$work"/block*.c; do
    ${CC:-cc} -std=c99 -Wall -Wextra -Wpedantic -Werror -I"$include" "$file" -o "$work/program" "$library"
    "$work/program"
    count=$((count + 1))
done
[ "$count" -ge 1 ]
echo "$count block(s) of C compiled and run"

ln -s "$examples" "$work/examples"
cd "$work"
if [ -n "$python" ]; then
    for text in "$readme" "$package/README.md"; do
        awk '/^```python$/ {inside = 1; next} /^```/ {inside = 0} inside' "$text" >block.py
        [ -s block.py ]
        SS1_LIBRARY=$library PYTHONPATH=$package "$python" -B block.py
    done
fi

[ -n "$ss1" ] || exit 0
awk '/^```sh$/ {inside = 1; next} /^```/ {inside = 0} inside && /^ss1 /' "$readme" >commands
[ -s commands ]
PATH="$(dirname "$ss1"):$PATH" sh -eux commands
[ -s scores.csv ]
