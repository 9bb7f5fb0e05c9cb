#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks that libss1.so exports exactly the functions of ss1.h and needs no libraries but the C++ and OpenMP run times.
set -eu
library=$1
header=$(dirname "$0")/../include/ss1/ss1.h
nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | sort -u >"$library.exported"
grep -v '^ss1_' "$library.exported" && { echo "the symbols above are exported but are not ss1_*"; exit 1; }
for symbol in $(grep -o 'ss1_[a-z_0-9]*(' "$header" | tr -d '(' | sort -u); do
    grep -q "SS1_API.*[ *]$symbol(" "$header" || continue
    grep -qx "$symbol" "$library.exported" || { echo "$symbol is in ss1.h but not exported"; exit 1; }
done
echo "$(wc -l <"$library.exported") symbols, all ss1_*"
