#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches ONNX Runtime's library out of its npm package (114 MB) into bench/peers/onnxruntime, which git ignores.
# Nothing of the package runs. Needs npm.
set -eu
version=${1:-1.30.0}
folder=$(cd "$(dirname "$0")" && pwd)/onnxruntime
case $(uname -m) in
    x86_64) machine=x64 ;;
    aarch64) machine=arm64 ;;
    *) echo "no ONNX Runtime for $(uname -m) in the package" >&2; exit 2 ;;
esac
mkdir -p "$folder"
cd "$folder"
archive=$(npm pack --silent "onnxruntime-node@$version")
tar -xzf "$archive" --strip-components=5 --wildcards "package/bin/napi-v*/linux/$machine/libonnxruntime.so.1"
rm "$archive"
ls -l "$folder/libonnxruntime.so.1"
