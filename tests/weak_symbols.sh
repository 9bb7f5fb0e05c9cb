#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: weak_symbols.sh ARCHIVE...
# Archives compiled with instruction-set flags may define weak functions only if the name contains the instruction set: the
# linker keeps one copy of a weak function for all callers, and other CPUs must never run a copy from here. (Weak data, nm's
# V, is harmless.)
found=0
for archive in "$@"; do
    symbols=$(nm -C --defined-only "$archive") || exit 2
    case $symbols in
        *" T "*) ;;
        *) echo "$archive: nm finds no functions"; exit 2 ;;
    esac
    weak=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-f]+ W ' | grep -Eiv 'sse4|avx|fma3|neon')
    if [ -n "$weak" ]; then
        echo "$archive: weak functions without an instruction set in their name:"
        echo "$weak"
        found=1
    fi
done
exit $found
