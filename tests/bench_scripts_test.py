# SPDX-License-Identifier: Apache-2.0
"""bench/grid.py and bench/report.py: a small grid measured, resumed and reported; the report of a sample file; and
bench/latency_curve.py: the plot of a small open-loop measurement.

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
        for name in ("grid.py", "report.py", "latency_curve.py"):
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


class LatencyCurve(Case):
    def test_measured_and_drawn(self):
        data, svg = SAMPLE.parent, self.directory / "load.svg"
        files = {"json": self.directory / "load.json", "jsonl": self.directory / "load.jsonl"}
        for form, path in files.items():
            path.write_bytes(subprocess.run([os.environ["SS1_EXE"], "bench", "model", data / "dlrm_dot", "--rate", "50-200*2", "--batch",
                                             "1,9", "--threads", "1", "--duration", "0.1", "-o", form], check=True, capture_output=True,
                                            timeout=240).stdout)
        self.ok("latency_curve.py", *files.values(), "--out", svg)
        drawn = xml.etree.ElementTree.parse(svg).getroot().iter("{http://www.w3.org/2000/svg}text")
        words = [element.text for element in drawn]
        self.assertEqual([word for word in words if word.startswith(("dlrm", "batch"))],
                         ["dlrm_dot", "batch 1, 1 × 1 threads", "dlrm_dot", "batch 9, 1 × 1 threads"])
        self.assertIn("p50", words)

    def test_lines_end_where_requests_are_lost(self):
        row = {"model": "a/<b>", "dtype": None, "batch": 8, "least_batch": 2, "tokens": 4, "threads": 1, "workers": 2,
               "deadline_ms": 2.5, "rate": 100, "answered_per_s": 100, "goodput_per_s": 100, "ns_p50": 1e6, "ns_p90": 2e6,
               "ns_p99": 4e6, "ns_p999": 8e6}
        lost = {**row, "rate": 200, "answered_per_s": 150, "ns_p99": None, "ns_p999": None}
        path, svg = self.directory / "load.json", self.directory / "load.svg"
        path.write_text(json.dumps({"results": [lost, row]}, indent=1))
        self.ok("latency_curve.py", path, "--out", svg)
        root = xml.etree.ElementTree.parse(svg).getroot()
        lines = [element.get("points").split() for element in root.iter("{http://www.w3.org/2000/svg}polyline")]
        self.assertEqual([len(points) for points in lines], [2, 2, 1, 1])
        words = [element.text for element in root.iter()]
        self.assertIn("<b>", words)
        self.assertIn("batch 2 to 8, 4 tokens, 2 × 1 threads, deadline 2.5 ms", words)

    def test_mistakes(self):
        path = self.directory / "x.json"
        for text, message in (("{}", "has no row measured with --rate"), ("nonsense", "is not what")):
            path.write_text(text)
            self.assertIn(message, script("latency_curve.py", path, "--out", self.directory / "x.svg").stderr)


if __name__ == "__main__":
    unittest.main()
