#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: weak_symbols.sh ARCHIVE...
# Archives compiled with instruction-set flags may define weak functions only if the name says for which instruction set: the
# linker keeps one copy of a weak function for everyone, and another CPU must never run this one. (Weak data, nm's V, is
# harmless.)
found=0
for archive in "$@"; do
    weak=$(nm -C --defined-only "$archive" | grep -E '^[0-9a-f]+ W ' | grep -Ev 'sse4|avx|fma3')
    if [ -n "$weak" ]; then
        echo "$archive: weak functions without an instruction set in their name:"
        echo "$weak"
        found=1
    fi
done
exit $found
