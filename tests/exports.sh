#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks that libss1.so exports exactly the functions of the public headers and needs no libraries but the C++ run time
# and, for the tokenizer, ICU.
set -eu
library=$1
headers=$(ls "$(dirname "$0")"/../include/ss1/*.h | grep -v backend.h)
nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | sort -u >"$library.exported"
grep -v '^ss1_' "$library.exported" && { echo "the symbols above are exported but are not ss1_*"; exit 1; }
# shellcheck disable=SC2086
for symbol in $(cat $headers | sed -n 's/^SS1_API.*[ *]\(ss1_[a-z_0-9]*\)(.*/\1/p'); do
    grep -qx "$symbol" "$library.exported" || { echo "$symbol is in a header but not exported"; exit 1; }
done
# A run time with threads of its own, such as libgomp, would change what fork(), limits and dlclose() mean.
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ -n "$needed" ] || { echo "readelf finds no libraries that $library needs"; exit 1; }
for name in $needed; do
    case $name in
    libstdc++.so.6 | libgcc_s.so.1 | libm.so.6 | libc.so.6 | libdl.so.2 | libpthread.so.0 | ld-linux*.so.*) ;;
    libicuuc.so.*) ;;                                # of the tokenizer
    libasan.so.* | libubsan.so.* | libtsan.so.*) ;;  # in an instrumented build
    *) echo "$library needs $name, which is not on this list"; exit 1 ;;
    esac
done
echo "$(wc -l <"$library.exported") symbols, all ss1_*"
