#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds ss1 and runs all tests; arguments are options for meson. Installs missing Debian packages first.
cd "$(dirname "$0")"
. .ci/prepare

install_packages "${packages[@]}"
configure build/test --buildtype=release ${CI:+--werror} "$@"
build build/test
say "Testing"
result=0
meson test -C build/test --print-errorlogs || result=$?
awk '/^Ok:/ {ok = $2} /^(Fail|Timeout|Unexpected Pass):/ {bad += $NF} END {printf "%d passed, %d failed\n", ok, bad}' \
    build/test/meson-logs/testlog.txt
exit $result
