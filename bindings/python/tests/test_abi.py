# SPDX-License-Identifier: Apache-2.0
"""The mirror of the C API in ss1/_capi.py against tests/abi.json.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_abi.py
"""
import ctypes
import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import ss1
from ss1 import _capi

ABI = json.loads((HERE.parents[2] / "tests/abi.json").read_text())
PUBLIC = {name: entry for name, entry in ABI["structs"].items() if entry["header"] != "backend.h"}
SCALARS = {"int": ctypes.c_int, "int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64,
           "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t, "double": ctypes.c_double, "float": ctypes.c_float}
ENUMS = {"ss1_status": _capi.STATUS, "ss1_dtype": _capi.DTYPE, "ss1_table_dtype": _capi.TABLE_DTYPE,
         "ss1_log_level": _capi.LOG_LEVEL, "ss1_scheme": _capi.SCHEME, "ss1_activation": _capi.ACTIVATION,
         "ss1_pooling": _capi.POOLING, "ss1_convert_from": _capi.CONVERT_FROM}


def mirror(name):
    """ss1_linear_desc -> LinearDesc"""
    return getattr(_capi, "".join(part.capitalize() for part in name.removeprefix("ss1_").split("_")), None)


def ctypes_of(c_type):
    """The ctypes that may stand for a C type. Pointers to elements and handles may be void pointers."""
    c_type = c_type.removeprefix("const ")
    if c_type in SCALARS:
        return [SCALARS[c_type]]
    if c_type in ENUMS:
        return [ctypes.c_int]
    if c_type in ABI["callbacks"]:
        return [ctypes.c_void_p, _capi.LogFunction]
    if c_type in PUBLIC:
        return [mirror(c_type)]
    if c_type == "char *":
        return [ctypes.c_char_p]
    if c_type.endswith("[4]"):
        return [ctypes_of(c_type[:-3])[0] * 4]
    if c_type.endswith("*"):
        target = c_type[:-1].removesuffix("const ").strip()
        if target in PUBLIC:
            return [ctypes.POINTER(mirror(target))]
        if target in ABI["handles"] or target in ("void", "float"):
            return [ctypes.c_void_p]
        if target.endswith("*"):
            return [ctypes.POINTER(inner) for inner in ctypes_of(target)]
        return [ctypes.c_void_p, *(ctypes.POINTER(inner) for inner in ctypes_of(target))]
    raise AssertionError(f"no ctypes for {c_type}")


class Mirror(unittest.TestCase):
    maxDiff = None

    def test_versions(self):
        self.assertEqual(_capi.ABI_VERSION, ABI["abi_version"])

    def test_structs(self):
        self.assertGreater(len(PUBLIC), 15)
        for name, entry in PUBLIC.items():
            with self.subTest(name):
                struct = mirror(name)
                self.assertIsNotNone(struct, f"_capi.py has no {name}")
                self.assertEqual([(field, getattr(struct, field).offset, getattr(struct, field).size)
                                  for field, _ in struct._fields_],
                                 [(field["name"], field["offset"], field["size"]) for field in entry["fields"]])
                self.assertEqual(ctypes.sizeof(struct), entry["size"])
                for (field, kind), described in zip(struct._fields_, entry["fields"]):
                    self.assertIn(kind, ctypes_of(described["type"]), f"{field} is {described['type']}")
                self.assertEqual(issubclass(struct, _capi.Struct), "init" in entry)
                if "init" in entry:
                    self.assertEqual(struct().struct_size, entry["size"])

    def test_functions(self):
        functions = {name: entry for name, entry in ABI["functions"].items() if name != "ss1_backend_entry"}
        self.assertGreater(len(functions), 40)
        for name, entry in functions.items():
            with self.subTest(name):
                function = getattr(_capi.lib, name)
                self.assertIsNotNone(function.argtypes, f"_capi.py does not declare {name}")
                self.assertEqual(len(function.argtypes), len(entry["arguments"]))
                for given, described in zip(function.argtypes, entry["arguments"]):
                    self.assertIn(given, ctypes_of(described))
                wanted = None if entry["returns"] == "void" else ctypes_of(entry["returns"])[0]
                self.assertEqual(function.restype, wanted)

    def test_enums(self):
        self.assertEqual(set(ENUMS), set(ABI["enums"]))
        for name, entry in ABI["enums"].items():
            with self.subTest(name):
                values = list(entry["values"].items())
                for (constant, number), (own, known) in zip(values, ENUMS[name].items(), strict=True):
                    self.assertTrue(constant.lower().endswith("_" + own), (constant, own))
                    self.assertEqual(number, known, constant)
        self.assertEqual({f"SS1_ERROR_{status.name}": status.value for status in ss1.Status} | {"SS1_OK": 0},
                         ABI["enums"]["ss1_status"]["values"])


if __name__ == "__main__":
    unittest.main()
