# SPDX-License-Identifier: Apache-2.0
"""bench/grid.py and bench/report.py: a small grid measured, resumed and reported; the report of a sample file; bench/RESULTS.md
against the measured files; bench/demo_page.py; bench/latency_curve.py: the plot of a small open-loop measurement; and bench/models.py: contenders that
take turns, the report of whole models; bench/encoders.py: its texts and tables.

    SS1_EXE=build/src/cli/ss1 SS1_BENCH_EXE=build/bench/driver/ss1-bench SS1_TEST_DATA=tests/data \\
        python3 tests/bench_scripts_test.py
"""
import importlib.util
import itertools
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

    def assert_whole_tables(self, text):
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        self.assertTrue(tables)
        for lines in tables:
            self.assertEqual(len({line.count("|") for line in lines.splitlines()}), 1, lines)


class Grid(Case):
    def measure(self, out, *more):
        peers = self.directory / "no peers"
        peers.mkdir(exist_ok=True)
        return self.ok("grid.py", "--program", os.environ["SS1_BENCH_EXE"], "--out", out, "--shapes", "128x16,13x8", "--m", "1,3", "--c", "1,2",
                       "--threads", "1", "--weights", "warm", "--scheme", "reference", "--repetitions", "1", "--min-time", "0",
                       "--peers", peers, *more)

    def test_help_has_an_example(self):
        for name in ("grid.py", "report.py", "latency_curve.py"):
            self.assertIn(f"bench/{name} ", self.ok(name, "--help").stdout)
        help_text = subprocess.run(["sh", BENCH / "serving.sh", "--help"], capture_output=True, text=True, check=True).stdout
        self.assertIn("bench/serving.sh ", help_text)

    def test_measures_resumes_and_reports(self):
        out = self.directory / "grid.json.gz"
        self.measure(out, "--dtype", "f32", "--budget", "0")  # nothing fits: the file is there all the same
        self.assertIn("no peer was found", self.measure(out, "--dtype", "f32,f23").stderr)
        text = self.ok("report.py", out).stdout
        self.assertIn("### f32, 1 thread, warm: 8 cells", text)
        self.assertRegex(text, r"\| f23 \| 1 \| warm \| 8 \| \(128,16\) \(13,8\) \|.*'f23' is none of f32, bf16, int8")
        again = self.measure(out, "--dtype", "f32")
        self.assertIn("[0/0]", again.stderr)

    def test_wrong_program(self):
        result = script("grid.py", "--program", "/no/such/ss1-bench", "--out", self.directory / "x.json")
        self.assertIn("--program /no/such/ss1-bench", result.stderr)


class Report(Case):
    def test_sample(self):
        text = self.ok("report.py", SAMPLE, "--plots", self.directory).stdout
        for title in ("## Goals", "## Missing cells", "## Machines", "## Every cell"):
            self.assertIn(title, text)
        self.assertRegex(text, r"\| bf16 \| 1 \| warm \| 8 \|.*failed: ss1: --dtype")  # the missing cells are named
        self.assertRegex(text, r"\(13,512\) \| 64 \|.* d \|")  # a cell that ran as a dense layer
        self.assert_whole_tables(text)
        drawn = list(self.directory.glob("*.svg"))
        self.assertEqual(len(drawn), 2)
        for path in drawn:
            xml.etree.ElementTree.parse(path)

    def test_geometric_mean_against_its_goal(self):
        document = json.loads(SAMPLE.read_text())
        for run in document["runs"]:
            for row in run["rows"]:
                row["speedup"] = 3.8 if row["c"] == 4 else 1.0
        changed = self.directory / "changed.json"
        changed.write_text(json.dumps(document))
        lines = [line for line in self.ok("report.py", changed).stdout.splitlines() if "SS1: f32 BERT warm, M >= 64" in line]
        self.assertIn("| mean | 1.90 / 3.80 / 7.60 | – / 3.80 / – | – / 100 / – % | 3.80: 1024×1024, M=64, c=4, 1T warm |", lines[0])

    def test_kinds_of_cpu_are_not_mixed(self):
        document = json.loads(SAMPLE.read_text())
        document["machine"]["model"] = "1"
        other = self.directory / "other.json"
        other.write_text(json.dumps(document))
        self.assertIn("layers of 2 kinds of CPU are not one grid", script("report.py", SAMPLE, other).stderr)


class Page(Case):
    def test_the_page_is_what_the_files_give(self):
        page = self.directory / "RESULTS.md"
        text = (BENCH / "RESULTS.md").read_text()
        emptied = re.sub(r"(<!-- table: [^>]*-->)(?:(?!<!--).)*", r"\1\n", text, flags=re.DOTALL)
        self.assertLess(len(emptied), len(text) / 2)
        page.write_text(emptied)
        self.ok("report.py", "--page", page)
        self.assertEqual(page.read_text(), text)
        self.assertLess(len(text.encode()), 60000)
        self.assert_whole_tables(text)
        links = re.findall(r"!\[[^]]*\]\((.*)\)", text)
        self.assertGreater(len(links), 3)
        for link in links:
            self.assertEqual((self.directory / link).read_text(), (BENCH / link).read_text(), link)

    def test_plots_of_the_repository_are_shown(self):
        shown = "".join((BENCH / name).read_text() for name in ("RESULTS.md", "SERVING.md"))
        for path in (BENCH / "plots").iterdir():
            self.assertIn(f"(plots/{path.name})", shown)


class Texts(unittest.TestCase):
    def test_ratios_of_the_readme_are_those_of_the_report(self):
        def rows_of(path, title):
            lines = path.read_text().splitlines()
            return list(itertools.takewhile(lambda line: line.startswith("|"), lines[lines.index(title):]))

        title = "| peer's time over ours | f32, 1T | f32, 16T | bf16, 1T | bf16, 16T | int8, 1T | int8, 16T |"
        rows = rows_of(BENCH.parent / "README.md", title)
        self.assertEqual(len(rows), 8)
        self.assertEqual(rows_of(BENCH / "RESULTS.md", title), rows)

    def test_links_lead_somewhere(self):
        for path in [*BENCH.parent.glob("*.md"), *BENCH.rglob("*.md"), *(BENCH.parent / "docs").glob("*.md"),
                     *(BENCH.parent / "src").rglob("*.md"), *(BENCH.parent / "bindings").rglob("*.md")]:
            for link, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", path.read_text()):
                if not link.startswith(("http:", "https:")):
                    target = path.parent / link if link else path
                    self.assertTrue(target.exists(), f"{path}: {link}")
                    if anchor:
                        self.assertIn(anchor, self.anchors(target), f"{path}: {link}#{anchor}")

    @staticmethod
    def anchors(path):
        """As GitHub makes them of the titles."""
        titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
        return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


class LatencyCurve(Case):
    def test_measured_and_drawn(self):
        data, svg = SAMPLE.parent, self.directory / "load.svg"
        files = {"json": self.directory / "load.json", "jsonl": self.directory / "load.jsonl"}
        for form, path in files.items():
            path.write_bytes(subprocess.run([os.environ["SS1_BENCH_EXE"], "model", data / "dlrm_dot", "--rate", "50-200*2", "--batch",
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
        for text, message in (("{}", "has no row measured with --rate"), ("nonsense", "is not output of")):
            path.write_text(text)
            self.assertIn(message, script("latency_curve.py", path, "--out", self.directory / "x.svg").stderr)


class DemoPage(Case):
    def test_page_of_a_small_measurement(self):
        models = BENCH.parent / "examples/models"
        write = lambda name, value: (self.directory / name).write_text(value if isinstance(value, str) else json.dumps(value))
        for name, auc in ("quality-dense", 0.7), ("quality-ss1", 0.69):
            write(f"{name}.json", {"n": 1234, "auc": auc, "log_loss": 0.6})
        write("info.json", {"cpu": "A <CPU>", "threads": 2, "ss1": "9.9"})
        for name, pair, more in (("latency-dlrm", ("insteval-dense", "insteval-ss1"), ["--batch", "1,4"]),
                                 ("latency-encoder", ("spam-bert-dense", "spam-bert-ss1"), ["--batch", "1", "--tokens", "8"])):
            bench = subprocess.run([os.environ["SS1_BENCH_EXE"], "model", *(models / model for model in pair), *more, "-o", "json",
                                    "--repetitions", "5", "--min-time", "0"], check=True, capture_output=True, text=True)
            write(f"{name}.json", bench.stdout)
        write("search.txt", "0.5 gzip <compresses>\n")
        commands = {name: f"the command of {name}" for name in ("quality-dense", "quality-ss1", "latency-dlrm", "latency-encoder", "search")}
        for name, command in commands.items():
            write(f"{name}.cmd", command + "\n")
        table = self.ok("demo_page.py", "--table", self.directory / "latency-dlrm.json").stdout
        self.assertEqual([line.split()[0] for line in table.splitlines()], ["batch", "1", "4"])
        self.ok("demo_page.py", self.directory)
        page = (self.directory / "demo.html").read_text()
        for text in [*commands.values(), "A &lt;CPU&gt;", "AUC 0.7000", "AUC 0.6900", "1,234 held-out rows", "\u22120.0100", "gzip &lt;compresses&gt;"]:
            self.assertIn(text, page)
        for picture in re.findall(r"<svg.*?</svg>", page):
            for bar in xml.etree.ElementTree.fromstring(picture).iter("rect"):
                self.assertLessEqual(float(bar.get("x")) + float(bar.get("width")), 421)
                self.assertGreaterEqual(float(bar.get("height")), 0)
        self.assertEqual(page.count("<svg"), 4)
        histogram = next(picture for picture in re.findall(r"<svg.*?</svg>", page) if "latency histogram" in picture)
        axis = re.findall(r">([\d.]+ [µm]?s)<", histogram)
        self.assertGreaterEqual(len(axis), 2, "both ends of the axis have a time")


class Turns(Case):
    """The harness of bench/models.py with contenders that are no models."""

    FAKE = '''
import os, pathlib, time

class make:
    def __init__(self, spec):
        self.spec, self.runs, self.info = spec, 0, {"library": spec["name"]}
        if spec["mode"] == "refuses":
            raise ValueError("needs more")
        if spec["mode"] == "dies":
            os._exit(3)

    def prepare(self, sets):
        self.info["cpus"] = sorted(os.sched_getaffinity(0))
        return [lambda x=x: self.call(x) for x in sets]

    def call(self, x):
        self.runs += 1
        if self.spec["mode"] == "fails later" and self.runs > 8:
            raise RuntimeError("no more")
        with open(self.spec["diary"], "a") as file:
            file.write(self.spec["name"])
        return [x, x + 1]
'''

    def setUp(self):
        super().setUp()
        sys.path.insert(0, str(BENCH / "models"))
        self.addCleanup(sys.path.remove, str(BENCH / "models"))
        import harness
        self.harness = harness
        (self.directory / "fake.py").write_text(self.FAKE)
        os.environ["PYTHONPATH"] = str(self.directory)
        self.addCleanup(os.environ.pop, "PYTHONPATH")
        self.diary = self.directory / "diary"

    def worker(self, name, mode=""):
        worker = self.harness.Worker({"name": name, "module": "fake", "mode": mode, "threads": 1, "diary": self.diary,
                                      "cpus": sorted(os.sched_getaffinity(0))[:1]})
        self.addCleanup(worker.close)
        return worker

    def test_turns_and_failures(self):
        a, b = self.worker("A"), self.worker("B", "fails later")
        for worker in (a, b):
            worker.ready(60)
            worker.ask("inputs", [3, 4])
        self.assertEqual(a.ask("info")["cpus"], sorted(os.sched_getaffinity(0))[:1])
        self.assertEqual(a.ask("result", 1)[0], [3])
        samples, failed = self.harness.measure([(a, 2e6), (b, 2e6)], rounds=4, limit_s=60)
        self.assertEqual([*samples], ["A"])
        self.assertEqual(len(samples["A"]), 4)
        self.assertEqual(failed, {"B": "RuntimeError: no more"})
        self.assertEqual(self.diary.read_text(), "A" + "AAABBB" * 2 + "AAABB" + "AAA")  # one run to wake up, two that count

    def test_who_waits_is_stopped(self):
        a = self.worker("A")
        a.ready(60)
        a.ask("inputs", [0])
        _, state = os.waitpid(a.process.pid, os.WUNTRACED)  # returns once it is stopped, or has ended
        self.assertTrue(os.WIFSTOPPED(state))
        self.assertEqual(a.ask("result", 1)[0], [0])

    @unittest.skipUnless(importlib.util.find_spec("numpy"), "batches.py needs numpy")
    def test_a_run_of_many_batches(self):
        worker = self.harness.Worker({"name": "A", "module": "batches", "inner": "fake", "mode": "", "threads": 1, "diary": self.diary,
                                      "cpus": sorted(os.sched_getaffinity(0))[:1]})
        self.addCleanup(worker.close)
        worker.ready(60)
        worker.ask("inputs", [[3, 5]])
        self.assertEqual(worker.ask("result", None)[0].tolist(), [3, 4, 5, 6])
        self.assertEqual(self.diary.read_text(), "AA")

    def test_time_limit_leaves_the_least_rounds(self):
        a = self.worker("A")
        a.ready(60)
        a.ask("inputs", [0])
        samples, _ = self.harness.measure([(a, 1e9)], rounds=100, limit_s=0)
        self.assertEqual(len(samples["A"]), self.harness.LEAST_ROUNDS)

    def test_contenders_that_are_not_there(self):
        for mode, message in (("refuses", "ValueError: needs more"), ("dies", "ended with 3")):
            with self.assertRaisesRegex(self.harness.Failed, message):
                self.worker("C", mode).ready(60)


class Models(Case):
    def document(self, **more):
        def contender(ms, stages=None):
            return {"ns": [ms * 1e6, ms * 1.1e6, ms * 0.9e6], "difference": {"max": 1e-6, "mean": 1e-7}, "stages": stages}

        def cell(dtype, threads, batch, dense, peer, **others):
            stages = {"whole": dense / 1e3, "stages": {"lookup": dense / 4e3, "top MLP": dense / 1.5e3}}  # together 11/12
            contenders = {"ss1 dense": contender(dense, stages), "ss1 c=4": contender(dense / 2), "PyTorch": contender(peer)}
            return {"model": "dlrm-v1", "dtype": dtype, "threads": threads, "batch": batch, "tokens": 0, "seconds": 1.5,
                    "contenders": {**contenders, **others}, "missing": {"ONNX Runtime": "ModuleNotFoundError: a | b"}}

        cells = [cell("f32", 1, 1, 1.0, 3.0, faster=contender(2.5)), cell("f32", 1, 128, 8.0, 12.0), cell("int8", 1, 700, 20.0, 50.0)]
        wanted = [["dlrm-v1", dtype, 1, batch, 0] for dtype in ("f32", "int8") for batch in (1, 128, 700)]
        machine = {"cpu": "a CPU", "family": "6", "model": "7", "cpus": 1, "memory_gib": 4, "system": "Linux"}
        return {"cells": cells, "wanted": wanted, "machine": machine, "python": "3.11", "environment": {"A": "1"}, "commands": ["models.py"],
                "contenders": {"dlrm-v1 f32 PyTorch": {"library": "PyTorch 9"}}, "configs": {"dlrm-v1": {"tables": [{"rows": 1234}]}}, **more}

    def report(self, document):
        path = self.directory / "models.json"
        path.write_text(json.dumps(document))
        return self.ok("report.py", path, "--plots", self.directory).stdout

    def test_goals_against_the_fastest_peer(self):
        text = self.report(self.document())
        self.assertIn("| f32 DLRM, batch <= 128: dense over peer | 2.00 | 1.94 | 1 of 2 | 1.50: f32, 1T, batch 128 |", text)
        self.assertIn("| int8 DLRM: SS1, c = 4, over peer | 3.00 | 5.00 | **met** | 5.00: int8, 1T, batch 700 |", text)
        self.assertIn("| stages of a DLRM: their share of the run | 0.970 | 0.917 | 0 of 3 |", text)
        self.assertIn("| f32 | 1 | 1 | faster | 2.50 | 1.00 | 2.50 (2.50–2.50) | 5.00 (5.00–5.00) |", text)
        self.assertIn("| f32 | 1 | 700 | not measured |", text)
        self.assertIn("| dlrm-v1 | ONNX Runtime | ModuleNotFoundError: a / b | 3: f32 1T 1, f32 1T 128, int8 1T 700 |", text)

    def test_ratios_of_the_page(self):
        sys.path.insert(0, str(BENCH))
        self.addCleanup(sys.path.remove, str(BENCH))
        import models_report
        lines = models_report.ratios_table(models_report.collect([self.document()]), "dlrm-v1").splitlines()
        self.assertEqual(lines[0], "| dense · c = 4 | batch 1 | batch 128 | batch 700 |")
        self.assertEqual(lines[2:], ["| f32, 1T | 2.50 · 5.00 | 1.50 · 3.00 | – · – |", "| int8, 1T | – · – | – · – | 2.50 · 5.00 |"])

    def test_tables_and_plots_are_whole(self):
        text = self.report(self.document())
        self.assert_whole_tables(text)
        self.assertEqual([path.name for path in self.directory.glob("*.svg")], ["stages-dlrm-v1-1-of-1.svg"])
        root = xml.etree.ElementTree.parse(self.directory / "stages-dlrm-v1-1-of-1.svg").getroot()
        words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        for word in ("lookup", "top MLP", "rest of the run", "f32, batch 1", "20 ms"):
            self.assertIn(word, words)

    def test_layers_and_models_of_two_machines(self):
        documents = [self.document(), self.document()]
        documents[1]["machine"] = {**documents[0]["machine"], "cpus": 2}
        paths = [self.directory / "one.json", self.directory / "two.json"]
        for path, document in zip(paths, documents):
            path.write_text(json.dumps(document))
        text = self.ok("report.py", SAMPLE, *paths, "--plots", self.directory).stdout
        titles = ("# Linear layers", "# Whole models: 1 CPUs: a CPU, family 6, model 7", "# Whole models: 2 CPUs: a CPU")
        places = [text.index(title) for title in titles]
        self.assertEqual(places, sorted(places))
        self.assertEqual(len(list(self.directory.glob("*.svg"))), 4)

    @unittest.skipUnless(importlib.util.find_spec("numpy"), "models.py needs numpy")
    def test_help_and_mistakes(self):
        self.assertIn("bench/models.py ", self.ok("models.py", "--help").stdout)
        for arguments, message in ((("--models", "gpt"), "--models gpt: is none of dlrm-v1"), (("--ss1", "/no/ss1"), "--ss1 /no/ss1"),
                                   (("--ss1", os.environ["SS1_EXE"], "--threads", "100000"), "this process may use 1 to")):
            self.assertIn(message, script("models.py", "--out", self.directory / "x.json", *arguments).stderr)


@unittest.skipUnless(importlib.util.find_spec("numpy"), "encoders.py needs numpy")
class Encoders(Case):
    def test_texts_and_their_batches(self):
        sys.path[:0] = [str(BENCH / "models")]
        self.addCleanup(sys.path.remove, str(BENCH / "models"))
        import encoder_files
        vocabulary = encoder_files.vocabulary()
        self.assertEqual(len(set(vocabulary)), encoder_files.WORDS)
        batches = encoder_files.texts("queries", 70)
        self.assertEqual([len(batch["input_ids"]) for batch in batches], [32, 32, 6])
        lengths = [int(n) for batch in batches for n in batch["attention_mask"].sum(1)]
        self.assertEqual(lengths, sorted(lengths, reverse=True))
        self.assertTrue(8 <= lengths[-1] < lengths[0] <= 32)
        for batch in batches:
            ids, mask = batch["input_ids"], batch["attention_mask"]
            self.assertEqual(ids.shape[1], mask.sum(1).max())
            self.assertTrue((ids[mask == 0] == 0).all() and (ids[:, 0] == encoder_files.CLS).all())
            self.assertTrue(((ids == encoder_files.SEP).sum(1) == 1).all())

    def test_tables(self):
        def cell(dtype, **ms):
            contenders = {name: {"ns": [value * 1e6] * 4, "cosine": 1.0} for name, value in ms.items()}
            return {"model": "minilm-l6", "texts": "queries", "threads": 1, "dtype": dtype, "count": 32, "tokens": 640,
                    "contenders": contenders, "missing": {"ONNX Runtime": "ModuleNotFoundError: a | b"}}

        cells = [cell("f32", ss1=10, PyTorch=18, compiled=16, **{"ss1, from text": 5}), cell("bf16", ss1=8, PyTorch=12), cell("int8", ss1=4)]
        path = self.directory / "encoders.json"
        path.write_text(json.dumps({"cells": cells}))
        text = self.ok("encoders.py", "--table", path).stdout
        self.assert_whole_tables(text)
        self.assertIn("| f32 | 1.5 | 1.60 | 1.60–1.60 | 1 of 1 |", text)
        self.assertIn("| bf16 | 2.5 | 1.50 | 1.50–1.50 | 0 of 1 |", text)
        self.assertIn("| minilm-l6 | queries | 1 | f32 | 3200 (3200–3200) | compiled | 2000 (2000–2000) | 1.60 | met |", text)
        self.assertIn("| minilm-l6 | queries | 1 | f32 | 1.80 | 1.60 |", text)
        self.assertIn("| minilm-l6 | ONNX Runtime | ModuleNotFoundError: a / b |", text)

    def test_the_page_has_the_tables_of_its_file(self):
        page = (BENCH.parent / "docs/encoders.md").read_text()
        text = self.ok("encoders.py", "--table", BENCH / "results/encoders-xeon-16.json.gz").stdout
        tables = text.strip().split("\n\n")
        self.assertGreaterEqual(len(tables), 3)
        for table in tables:
            self.assertIn(table, page)
        self.assert_whole_tables(page)

    def test_help_and_mistakes(self):
        self.assertIn("bench/encoders.py ", self.ok("encoders.py", "--help").stdout)
        for arguments, message in ((("--models", "gpt"), "--models gpt: is none of bert-base"), (("--dtype", "f8"), "--dtype f8: is none of"),
                                   (("--table", "x"), "give either --out FILE or --table FILE")):
            self.assertIn(message, script("encoders.py", "--out", self.directory / "x.json", *arguments).stderr)


if __name__ == "__main__":
    unittest.main()
