# SPDX-License-Identifier: Apache-2.0
"""Read and write safetensors files with only numpy.

    write("model.safetensors", {"weight": numpy.zeros((2, 3), numpy.float32)})
    read("model.safetensors")["weight"].shape    # (2, 3)

A file is a little-endian u64 header length, a JSON header and the tensors' bytes without holes between them.
"""
import json
import struct

import numpy

from ._output import output

# The types that numpy has; safetensors' BF16 and its 8-bit floats have no numpy counterpart.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
NAMES = {numpy.dtype(code): name for name, code in DTYPES.items()}
MAX_HEADER = 100_000_000  # bytes, the format's own limit


def write(path, tensors, metadata=None):
    """Write {name: array} to `path`; `metadata` is an optional {string: string}. Replaces the file atomically."""
    with output(path) as file:
        _write_to(file, tensors, metadata)


def _write_to(file, tensors, metadata=None):
    header, arrays, begin = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    # Sorts by width, widest first, then by name, as the format's own writer does, so that each tensor is aligned.
    for name, array in sorted(tensors.items(), key=lambda item: (-numpy.asarray(item[1]).itemsize, item[0])):
        array = numpy.asarray(array)
        array = numpy.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        if array.dtype not in NAMES:
            raise ValueError(f"tensor {name!r}: safetensors has no type for numpy's {array.dtype}")
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [begin, begin + array.nbytes]}
        arrays.append(array)
        begin += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays:
        file.write(array.tobytes())


def read(path):
    """Read every tensor of `path` as {name: array}. Raises ValueError, naming the rule, if types, sizes or offsets are wrong."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack_from("<Q", data)[0] if len(data) >= 8 else None
    if size is None or size > min(MAX_HEADER, len(data) - 8):
        raise ValueError(f"{path}: the header is longer than the file or its limit of {MAX_HEADER} bytes")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors, expected = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{path}: tensor {name!r} has type {entry['dtype']}, which numpy lacks")
        begin, end = entry["data_offsets"]
        dtype, shape = numpy.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
        count = int(numpy.prod(shape, dtype=object))
        if begin != expected or end - begin != count * dtype.itemsize or 8 + size + end > len(data):
            raise ValueError(f"{path}: tensor {name!r} has offsets {begin}..{end} that do not fit its shape {shape}, "
                             "its neighbours or the file")
        tensors[name] = numpy.frombuffer(data, dtype, count, 8 + size + begin).reshape(shape)
        expected = end
    if 8 + size + expected != len(data):
        raise ValueError(f"{path}: {len(data) - 8 - size - expected} bytes follow the last tensor")
    return tensors
