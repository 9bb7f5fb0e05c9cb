# SPDX-License-Identifier: Apache-2.0
"""bench/grid.py and bench/report.py: a small grid measured, resumed and reported; the report of a sample file.

    SS1_EXE=build/src/cli/ss1 SS1_TEST_DATA=tests/data python3 tests/bench_scripts_test.py
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
SAMPLE = pathlib.Path(os.environ["SS1_TEST_DATA"]) / "grid_sample.json"


def script(name, *arguments):
    return subprocess.run([sys.executable, "-B", BENCH / name, *map(str, arguments)], capture_output=True, text=True, timeout=240)


class Case(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def ok(self, *arguments):
        result = script(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result


class Grid(Case):
    def measure(self, out, *more):
        peers = self.directory / "no peers"
        peers.mkdir(exist_ok=True)
        return self.ok("grid.py", "--ss1", os.environ["SS1_EXE"], "--out", out, "--shapes", "128x16,13x8", "--m", "1,3", "--c", "1,2",
                       "--threads", "1", "--weights", "warm", "--scheme", "reference", "--repetitions", "1", "--min-time", "0",
                       "--peers", peers, *more)

    def test_help_has_an_example(self):
        for name in ("grid.py", "report.py"):
            self.assertIn(f"bench/{name} ", self.ok(name, "--help").stdout)

    def test_measures_resumes_and_reports(self):
        out = self.directory / "grid.json.gz"
        self.measure(out, "--dtype", "f32", "--budget", "0")  # nothing fits: the file is there all the same
        self.measure(out, "--dtype", "f32,f23")
        report = self.ok("report.py", out, "--out", self.directory)
        self.assertIn("8 cells, 8 missing", report.stdout)
        text = (self.directory / "RESULTS.md").read_text()
        self.assertIn("'f23' is none of f32, bf16, int8", text)
        again = self.measure(out, "--dtype", "f32")
        self.assertIn("[0/0]", again.stderr)

    def test_wrong_program(self):
        result = script("grid.py", "--ss1", "/no/such/ss1", "--out", self.directory / "x.json")
        self.assertIn("--ss1 /no/such/ss1", result.stderr)


class Report(Case):
    def test_sample(self):
        self.ok("report.py", SAMPLE, "--out", self.directory)
        text = (self.directory / "RESULTS.md").read_text()
        for title in ("## Goals", "## Cells that are missing", "## Machine", "## Every cell"):
            self.assertIn(title, text)
        self.assertRegex(text, r"\| bf16 \| 1 \| warm \| 8 \|.*unsupported")  # the missing cells are named
        self.assertRegex(text, r"\(13,512\) \| 64 \|.* d \|")  # a cell that ran as a dense layer
        for lines in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            self.assertEqual(len({line.count("|") for line in lines.splitlines()}), 1, lines)
        for name in re.findall(r"!\[\w+\]\((.*)\)", text):
            xml.etree.ElementTree.parse(self.directory / name)
        self.assertEqual(len(list((self.directory / "plots").glob("*.svg"))), 2)

    def test_geometric_mean_against_its_goal(self):
        document = json.loads(SAMPLE.read_text())
        for run in document["runs"]:
            for row in run["rows"]:
                row["speedup"] = 3.8 if row["c"] == 4 else 1.0
        changed = self.directory / "changed.json"
        changed.write_text(json.dumps(document))
        self.ok("report.py", changed, "--out", self.directory)
        lines = [line for line in (self.directory / "RESULTS.md").read_text().splitlines() if "f32 BERT warm M >= 64" in line]
        self.assertIn("| 1.90 / 3.80 / 7.60 | **– / 3.80 / –** | 1 of 3 met | 1 |", lines[0])


if __name__ == "__main__":
    unittest.main()
