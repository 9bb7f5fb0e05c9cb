#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: hardening.sh LIBRARY|PROGRAM...
# Checks in each file what makes an overflow hard to use: addresses that the loader chooses, tables of functions that are
# read-only before the first instruction, no memory that is both writable and executable, canaries on the stack, checked
# calls of the C library, and on x86-64 landing pads for indirect calls.
set -u
command -v readelf >/dev/null && command -v objdump >/dev/null || { echo "no readelf or objdump"; exit 77; }
bad=0
expect() {  # expect TEXT PATTERN: a line of $text matches
    printf '%s\n' "$text" | grep -Eq "$2" || { echo "$file: $1"; bad=1; }
}
refuse() {  # refuse TEXT PATTERN: no line of $text matches
    printf '%s\n' "$text" | grep -E "$2" && { echo "$file: $1: the lines above"; bad=1; }
}

for file in "$@"; do
    text=$(readelf -hldW "$file") || exit 77
    expect "is not position independent" '^ +Type: +DYN'
    expect "has no GNU_RELRO segment" '^ +GNU_RELRO '
    expect "does not bind all functions when it is loaded" 'BIND_NOW|Flags: .*NOW'
    expect "has no mark that the stack is not executable" '^ +GNU_STACK '
    refuse "has a segment that is writable and executable" '^ +[A-Z_]+ +(0x[0-9a-f]+ +)+RWE '
    refuse "relocates its code" 'TEXTREL'
    refuse "looks for libraries in a fixed folder" '(RUNPATH|RPATH).*\[/'
    machine=$(printf '%s\n' "$text" | sed -n 's/^ *Machine: *//p')
    text=$(readelf -W --dyn-syms "$file")
    expect "has no canaries on the stack" ' __stack_chk_fail'
    expect "has no checked calls of the C library" ' __[a-z]+_chk(@|$)'
    case $machine in
        *X86-64*)
            # Each function that other files can call begins with endbr64.
            text=$(objdump -d --no-show-raw-insn "$file" | grep -A1 -E '^[0-9a-f]+ <(ss1_[a-z_0-9]+|main)(@@[A-Za-z_0-9.]+)?>:$')
            [ -z "$text" ] || expect "has no landing pads for indirect calls" 'endbr64'
            missing=$(printf '%s\n' "$text" | awk '/>:$/ {name = $2; next} /^--$/ {next} !/endbr64/ {print name}')
            [ -z "$missing" ] || { echo "$file: functions without a landing pad:" $missing; bad=1; } ;;
    esac
done
[ $bad -ne 0 ] || echo "$# files are hardened"
exit $bad
