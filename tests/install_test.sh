#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs into an empty folder, runs the program and the Python package from there, and builds consumers with pkg-config and
# with CMake against the shared library and against the static one alone.
set -eu
build=$1 source=$2 python=${3:-} looks_there=${4:-false}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
meson install -C "$build" --no-rebuild --quiet --destdir "$tree/root" >"$tree/install.log" 2>&1 || { cat "$tree/install.log"; exit 1; }
pc=$(find "$tree/root" -name ss1.pc)
lib=$(dirname "$(find "$tree/root" -name libss1.so)")
program=$(find "$tree/root" -name ss1 -type f -perm -u+x)
[ -z "$program" ] || env -u LD_LIBRARY_PATH "$program" info >"$tree/info.log"  # finds the library by itself
bench=$(find "$tree/root" -name ss1-bench -type f -perm -u+x)
[ -z "$bench" ] || [ "$(dirname "$bench")" = "$(dirname "$program")" ]
[ -z "$bench" ] || env -u LD_LIBRARY_PATH "$bench" --version >"$tree/bench.log"

export PKG_CONFIG_PATH="$(dirname "$pc")" LD_LIBRARY_PATH="$lib"

echo "pkg-config: $(pkg-config --modversion ss1)"
${CC:-cc} -std=c99 "$source/consumer/main.c" -o "$tree/consumer_pc" $(pkg-config --cflags --libs ss1)
"$tree/consumer_pc"

config=$(dirname "$(find "$tree/root" -name ss1Config.cmake)")
cmake -G Ninja -S "$source/consumer" -B "$tree/cmake" -Dss1_DIR="$config" >"$tree/cmake.log" 2>&1 ||
    { cat "$tree/cmake.log"; exit 1; }
cmake --build "$tree/cmake" >"$tree/cmake.log" 2>&1 || { cat "$tree/cmake.log"; exit 1; }
"$tree/cmake/consumer"
if cmake -G Ninja -S "$source/consumer" -B "$tree/components" -Dss1_DIR="$config" -DCOMPONENTS=nonsense >"$tree/cmake.log" 2>&1; then
    echo "CMake found a component 'nonsense'"
    exit 1
fi
grep -q "without its component nonsense" "$tree/cmake.log"
# Component cuda is there if its plugin is.
if cmake -G Ninja -S "$source/consumer" -B "$tree/components" -Dss1_DIR="$config" -DCOMPONENTS=cuda >"$tree/cmake.log" 2>&1; then
    [ -e "$lib/ss1/libss1-cuda.so" ]
else
    [ ! -e "$lib/ss1/libss1-cuda.so" ]
fi

if [ -e "$lib/libss1.a" ]; then
    cp -r "$tree/root" "$tree/static"
    static=$tree/static${lib#"$tree/root"}
    rm "$static"/libss1.so*
    export PKG_CONFIG_PATH="$static/pkgconfig" LD_LIBRARY_PATH=
    ${CC:-cc} -std=c99 "$source/consumer/main.c" -o "$tree/consumer_static" $(pkg-config --static --cflags --libs ss1)
    "$tree/consumer_static"
    cmake -G Ninja -S "$source/consumer" -B "$tree/cmake_static" -Dss1_DIR="$static/cmake/ss1" -DTARGET=ss1::static >"$tree/cmake.log" 2>&1 &&
        cmake --build "$tree/cmake_static" >"$tree/cmake.log" 2>&1 || { cat "$tree/cmake.log"; exit 1; }
    "$tree/cmake_static/consumer"
    if ldd "$tree/cmake_static/consumer" "$tree/consumer_static" | grep libss1; then
        echo "a program that was linked with libss1.a needs libss1.so"
        exit 1
    fi
    echo "static library: linked by pkg-config and CMake"
fi

[ -n "$python" ] || exit 0
packages=$(dirname "$(dirname "$(find "$tree/root" -name _capi.py)")")
# The package finds its library in any prefix, also if the whole tree has moved.
mv "$tree/root" "$tree/moved"
env -u LD_LIBRARY_PATH -u SS1_LIBRARY PYTHONPATH="$tree/moved${packages#"$tree/root"}" "$python" -B -c '
import os, ss1, sys
library = next(line.split()[-1] for line in open("/proc/self/maps") if "libss1.so" in line)
if not os.path.realpath(library).startswith(os.path.realpath(sys.argv[1])):
    sys.exit(f"Python loaded {library}, which is not below {sys.argv[1]}")
import importlib.util
if importlib.util.find_spec("torch"):
    import ss1.torch
print("Python:", ss1.__version__)' "$tree/moved"
[ "$looks_there" = true ] || exit 0
"$python" -c 'import sys; sys.exit(sys.argv[1] not in sys.path)' "${packages#"$tree/root"}" ||
    { echo "Python does not look in ${packages#"$tree/root"}"; exit 1; }
