#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles and runs every C block of README.md and docs/*.md, compares what it prints with its comment "prints: ...", and runs
# their Python blocks, those of the Python package's README.md, and the lines of their shell blocks that begin with "ss1" or, if
# that program is given, "ss1-bench".
#   readme_test.sh README.md LIBRARY INCLUDE EXAMPLES SS1 SS1_BENCH PYTHON PACKAGE; an empty argument: not built
set -eu
readme=$1 library=$(realpath "$2") include=$3 examples=$4 ss1=${5:+$(realpath "$5")} bench=${6:+$(realpath "$6")} python=$7 package=$8
root=$(dirname "$readme")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH="$(dirname "$library")"
ln -s "$examples" "$work/examples"

# blocks LANGUAGE FILE...: writes the N-th block of that language of each file to page-N.LANGUAGE, prints these names.
blocks() {
    language=$1
    shift
    for text in "$@"; do
        awk -v begin="^\`\`\`$language\$" -v out="$(basename "$text" .md)" -v end=".$language" \
            '$0 ~ begin {n++; inside = 1; print out "-" n end; next} /^```/ {inside = 0} inside {print > (out "-" n end)}' "$text"
    done
}

cd "$work"
openmp=-fopenmp
echo 'int main(void) { return 0; }' | ${CC:-cc} $openmp -x c - -o program 2>/dev/null || openmp=-Wno-unknown-pragmas
count=0
for file in $(blocks c "$root"/README.md "$root"/docs/*.md); do
    ${CC:-cc} -std=c99 -Wall -Wextra -Wpedantic -Werror -I"$include" "$file" -o program "$library" -lm $openmp
    ./program >printed
    sed -n 's|.*/\* prints: \(.*\) \*/.*|\1|p' "$file" >promised
    diff promised printed || { echo "$file prints something else than its comment says" >&2; exit 1; }
    count=$((count + 1))
done
[ "$count" -ge 2 ]
echo "$count blocks of C compiled and run"

if [ -n "$python" ]; then
    cp "$package/README.md" package.md
    count=0
    for file in $(blocks python "$root"/README.md "$root"/docs/*.md "$work"/package.md); do
        SS1_LIBRARY=$library PYTHONPATH=$package "$python" -B "$file"
        count=$((count + 1))
    done
    [ "$count" -ge 3 ]
    echo "$count blocks of Python run"
fi

[ -n "$ss1" ] || exit 0
grep -hE "^ss1${bench:+(-bench)?} " $(blocks sh "$root"/README.md "$root"/docs/*.md) >commands
[ "$(wc -l <commands)" -ge 8 ]
PATH="$(dirname "$ss1")${bench:+:$(dirname "$bench")}:$PATH" sh -eux commands
[ -s scores.csv ]
