#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The ABI is that of tests/abi.json, every header compiles alone, and make_abi.py sees breaks of its rules."""
import copy
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import make_abi


class Abi(unittest.TestCase):
    def test_is_the_recorded_one(self):
        result = subprocess.run([sys.executable, "-B", HERE / "make_abi.py"], capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_every_header_compiles_alone_and_covers_its_macros(self):
        for path in sorted((make_abi.INCLUDE / "ss1").glob("*.h")):
            for compiler, standard in (("cc", "c99"), ("c++", "c++17")):
                result = subprocess.run(
                    [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                     f"-I{make_abi.INCLUDE}", "-x", "c" if compiler == "cc" else "c++", "-"],
                    input=f'#include "ss1/{path.name}"\n#include "ss1/ss1.h"\nss1_status check;\n', capture_output=True, text=True)
                self.assertEqual((result.returncode, result.stderr), (0, ""), (path.name, standard))
        macros = [make_abi.init_of(name, entry) for header in make_abi.HEADERS
                  for name, entry in make_abi.Header(header).structs.items() if make_abi.is_sized(entry)]
        self.assertGreater(len(macros), 15)
        for test in ("header_test.c", "header_test.cpp"):
            text = (HERE / test).read_text()
            self.assertEqual([macro for macro in macros if macro not in text], [], test)

    def test_ss1_h_stays_readable(self):
        self.assertLess(len((make_abi.INCLUDE / "ss1/ss1.h").read_text().splitlines()), 700)


class Rules(unittest.TestCase):
    """A changed copy of the headers, and what make_abi.py says about it."""

    @classmethod
    def setUpClass(cls):
        cls.before, problems = make_abi.describe()
        assert not problems, problems

    def changed(self, header, old, new):
        """(problems of the headers alone, breaks of the ABI) after replacing `old` by `new`."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(make_abi.INCLUDE / "ss1", pathlib.Path(folder, "ss1"))
            path = pathlib.Path(folder, "ss1", header)
            text = path.read_text()
            self.assertEqual(text.count(old), 1, old)
            path.write_text(text.replace(old, new))
            with mock.patch.object(make_abi, "INCLUDE", pathlib.Path(folder)):
                after, problems = make_abi.describe()
        return problems, make_abi.breaks(self.before, after)

    LAST = "    size_t bytes;     /**< size of data */\n"
    INIT = "{0, 0, 0, 0}, 0, 0 }"

    def test_a_later_field_at_the_end_is_no_break(self):
        self.assertEqual(self.changed("ss1.h", self.LAST, self.LAST + "    size_t more; /**< @since 9.1 */\n"), ([], []))

    def test_a_nested_last_struct_may_grow(self):
        old = "    size_t rank; /**< @since 0.2 */\n"
        new = old + "    uint64_t more; /**< @since 9.1 */\n"
        self.assertEqual(self.changed("ss1.h", old, new), ([], []))

    def test_a_plugin_was_built_with_the_size(self):
        grown = copy.deepcopy(self.before)
        grown["structs"]["ss1_linear_desc"]["size"] += 8
        self.assertEqual(make_abi.plugin_breaks(self.before, grown), ["ss1_linear_desc: another size"])
        grown["backend_abi"] += 1
        self.assertEqual(make_abi.plugin_breaks(self.before, grown), [])

    def test_a_field_without_since_changes_the_first_size(self):
        _, breaks = self.changed("ss1.h", self.LAST, self.LAST + "    size_t more;\n")
        self.assertEqual(breaks, ["ss1_tensor: the size of its first version changed"])

    def test_a_field_in_the_middle(self):
        problems, breaks = self.changed("ss1.h", self.LAST, "    size_t more; /**< @since 9.1 */\n" + self.LAST)
        self.assertIn("ss1_tensor: a field with a later @since lies before the fields of the first version", problems)
        self.assertEqual(breaks, ["ss1_tensor: the size of its first version changed"])

    def test_padding(self):
        problems, breaks = self.changed("ss1.h", self.LAST, self.LAST + "    uint32_t more; /**< @since 9.1 */\n")
        self.assertEqual((problems, breaks), (["ss1_tensor: ends with padding; move a field or add a reserved one"], []))

    def test_a_swapped_type_or_field(self):
        _, breaks = self.changed("bags.h", "    ss1_table_dtype dtype;\n    ss1_pooling pooling;\n",
                                 "    ss1_pooling pooling;\n    ss1_table_dtype dtype;\n")
        self.assertEqual(breaks, ["ss1_table: fields changed or moved"])

    def test_an_enum_value_and_a_function(self):
        self.assertEqual(self.changed("ss1.h", "SS1_DTYPE_I64 = 7", "SS1_DTYPE_I64 = 8")[1], ["SS1_DTYPE_I64 changed"])
        _, breaks = self.changed("ss1.h", "ss1_session_set_deadline(ss1_session *session, double seconds)",
                                 "ss1_session_set_deadline(ss1_session *session, float seconds)")
        self.assertEqual(breaks, ["ss1_session_set_deadline: removed, or another signature"])

    def test_a_missing_since(self):
        problems, _ = self.changed("ss1.h", "Static storage. @since 0.1 */", "Static storage. */")
        self.assertEqual(problems, ["ss1.h: ss1_version has no @since"])

    def test_a_struct_without_size(self):
        problems, _ = self.changed("text.h", "#define SS1_TEXT_INIT",
                                   "/** @since 9.1 */\ntypedef struct ss1_new {\n    int a;\n} ss1_new;\n#define SS1_TEXT_INIT")
        self.assertEqual(problems, ["ss1_new does not begin with struct_size"])

    def test_differences_name_the_place(self):
        other = copy.deepcopy(self.before)
        other["structs"]["ss1_text"]["size"] = 32
        self.assertEqual(make_abi.differences(self.before, other),
                         ["/structs/ss1_text/size: abi.json has 24, the headers 32"])


if __name__ == "__main__":
    unittest.main()
