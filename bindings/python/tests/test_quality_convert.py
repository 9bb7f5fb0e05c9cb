# SPDX-License-Identifier: Apache-2.0
"""quality_convert.py: its conversions, scores, timed runs and tables, a tiny run of the command, and docs/quality-convert.md.

    SS1_LIBRARY=build/src/libss1.so SS1_EXE=build/src/cli/ss1 python3 bindings/python/tests/test_quality_convert.py
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
import quality_convert
import results
import ss1


def measured(kl, time, error=0.0, size=1024):
    return {"bytes": size, "right": 0.5, "auc": 0.5, "log_loss": 0.7, "error": error, "agrees": 1.0, "kl": kl, "ms": 2 * time,
            "to_f32": time, "to_same": 1.0}


def rows(text):
    """The cells of a table's rows, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:] if line.startswith("|")]


class Scores(unittest.TestCase):
    def test_auc_is_the_share_of_ordered_pairs(self):
        random = numpy.random.RandomState(1)
        score, label = random.randint(0, 9, 60) / 10, random.randint(0, 2, 60)
        pairs = [(a > b) + (a == b) / 2 for a in score[label == 1] for b in score[label == 0]]
        self.assertAlmostEqual(results.auc(score, label), numpy.mean(pairs))

    def test_comparison_with_the_original(self):
        original, found = numpy.log([[0.5, 0.5], [0.9, 0.1]]), numpy.log([[0.25, 0.75], [0.9, 0.1]])
        got = results.beside(original, found)
        self.assertAlmostEqual(got["kl"], (0.5 * numpy.log(2) + 0.5 * numpy.log(2 / 3)) / 2)
        self.assertEqual(got["agrees"], 0.5)
        self.assertEqual(results.beside(original, original), {"agrees": 1.0, "kl": 0.0})

    def test_error_is_a_share_of_the_variance_of_the_log_odds(self):
        original = results.log_softmax([[0, 1], [0, 3], [0, -4]])
        moved = results.log_softmax([[0, 2], [0, 4], [0, -3]])
        got = quality_convert.score(original, moved, numpy.array([1, 0, 0]))
        self.assertAlmostEqual(got["error"], 1 / numpy.var([1, 3, -4]))
        self.assertAlmostEqual(got["right"], 2 / 3)


class Conversions(unittest.TestCase):
    def test_options(self):
        self.assertEqual(quality_convert.form("spam", "mean-4"), ["-c", "4", "--block-k", "64"])
        self.assertEqual(quality_convert.form("spam", "both-8"),
                         ["-c", "16", "--block-k", "16", "--rank", "12.5%", "--calibrate", "examples/data/spam-calibrate.txt"])
        self.assertEqual(quality_convert.form("insteval", "choice-2"),
                         ["--budget", "0.5", "--min-rows", "900", "--calibrate", "examples/data/insteval-calibrate.csv"])

    def test_all_but_the_mean_are_calibrated_with_files_that_are_there(self):
        for task, details in quality_convert.TASKS.items():
            self.assertTrue((ROOT / details["calibrate"]).exists())
            for name in quality_convert.MODELS[1:]:
                self.assertEqual(details["calibrate"] in quality_convert.form(task, name), not name.startswith("mean"), name)


class Runs(unittest.TestCase):
    def test_timed_rows_are_the_first_rows(self):
        options = type("Options", (), {"rows": 200})
        inputs, labels = quality_convert.read_insteval(options)
        self.assertEqual((len(labels), inputs["offsets"].shape), (200, (6, 200)))
        with ss1.Context(num_threads=1) as context:
            timed = quality_convert.timed_inputs("insteval", inputs, context)
            with ss1.Model(context, ROOT / "examples/models/insteval-dense") as model:
                found = quality_convert.answers(model, inputs)
                numpy.testing.assert_allclose(quality_convert.answers(model, timed), found[:128], rtol=1e-6)
                self.assertEqual(quality_convert.weight_bytes(model), sum(layer["layer"]["weight_bytes"] for layer in model.layers))
        numpy.testing.assert_allclose(numpy.exp(found).sum(1), 1)
        self.assertGreater(results.auc(found[:, 1], labels), 0.6)

    def test_sessions_take_turns(self):
        order = []

        class Session:
            def __init__(self, name):
                self.name = name

            def run(self, inputs):
                order.append((self.name, inputs))

        taken = quality_convert.take_turns([Session("a"), Session("b")], "x", 2)
        self.assertEqual(order, [("a", "x"), ("a", "x"), ("b", "x"), ("b", "x")] * 2)  # the first of two is not timed
        self.assertEqual(taken.shape, (2, 2))
        self.assertTrue((taken >= 0).all())


class Tables(unittest.TestCase):
    def setUp(self):
        self.found = {
            "dense": {"f32": measured(0, 1, size=4096), "bf16": measured(1e-5, 0.7), "i8": measured(0.01, 0.5, error=0.001)},
            "tied-4": {"f32": measured(0.02, 0.4, error=0.1), "bf16": measured(0.02, 0.3), "i8": measured(0.03, 0.2, error=0.15)},
            "rank-4": {"f32": measured(0.03, 0.45, error=0.2), "bf16": measured(0.005, 0.45), "i8": measured(0.04, 0.3, error=0.1)}}

    def test_full(self):
        got = rows(quality_convert.full_table("spam", self.found, "f32"))
        self.assertEqual(got[0], ["dense", "4", "50.00 %", "100.00 %", "0", "2.00", "1.00"])
        self.assertEqual([row[0] for row in got], list(self.found))

    def test_best_are_beaten_by_none(self):
        got = [row[0] for row in rows(quality_convert.best_table("insteval", self.found))]
        self.assertEqual(got, ["dense f32", "dense bf16", "dense int8", "rank-4 bf16", "tied-4 bf16", "tied-4 int8"])

    def test_synergy(self):
        self.assertEqual(rows(quality_convert.synergy_table(self.found)),
                         [["tied-4", "10 %", "0.1 %", "10.1 %", "15 %", "1.49"], ["rank-4", "20 %", "0.1 %", "20.1 %", "10 %", "0.50"]])

    def test_equal_bytes(self):
        got = rows(quality_convert.equal_bytes_table(self.found))
        self.assertEqual(got, [["1/4 tied", "0.02", "", "0.01"], ["1/4 rank", "0.03", "", "0.01"]])

    def test_page(self):
        everything = {"machine": "A machine.", "tasks": {"spam": self.found}}
        page = "# Title\n<!-- table: machine -->\nold\n<!-- end -->\nA sentence.\n<!-- table: spam int8 --><!-- end -->\n"
        made = quality_convert.tables(everything)
        once = results.filled(page, made)
        self.assertNotIn("old", once)
        for part in ("# Title", "A machine.", "A sentence.", "| tied-4 | 1 |"):
            self.assertIn(part, once)
        self.assertEqual(results.filled(once, made), once)
        with self.assertRaises(SystemExit) as refused:
            results.filled("<!-- table: spam int9 --><!-- end -->", made)
        self.assertIn("the marker 'spam int9' is none of machine, spam f32", str(refused.exception))

    def test_the_page_has_the_measured_numbers(self):
        page = (ROOT / "docs/quality-convert.md").read_text()
        everything = json.loads((ROOT / "docs/quality-convert.json").read_text())
        made = quality_convert.tables(everything)
        self.assertEqual(results.filled(page, made), page)
        for title in made:
            self.assertIn(f"<!-- table: {title} -->", page)


class Command(unittest.TestCase):
    def command(self, *options):
        return subprocess.run([sys.executable, "-B", HERE.parent / "train/quality_convert.py", *map(str, options)],
                              capture_output=True, text=True)

    def test_tiny_run(self):
        if not os.environ.get("SS1_EXE"):
            self.skipTest("SS1_EXE, the ss1 command, is not set")
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "page.md"
            page.write_text("<!-- table: insteval int8 --><!-- end -->\n")
            options = ["--ss1", os.environ["SS1_EXE"], "--tasks", "insteval", "--models", "dense,mean-8", "--rounds", "1", "--out",
                       f"{folder}/out", "--report", page]
            first = self.command(*options, "--rows", "150")
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertIn("insteval mean-8: ss1 convert -c 8 --block-k 64 --layers bot_l.2,top_l.2,top_l.4\n", first.stdout)
            dense, mean = rows(page.read_text())[-2:]
            self.assertEqual([dense[0], mean[0]], ["dense", "mean-8"])
            self.assertLess(int(mean[1]), int(dense[1].replace(",", "")) / 4)  # KiB
            self.assertGreater(float(mean[5]), 0.01)  # KL
            written = page.with_suffix(".json").read_text()

            again = self.command(*options, "--rows", "150")
            self.assertEqual((again.returncode, again.stdout), (0, ""))  # nothing left to do
            self.assertEqual(page.with_suffix(".json").read_text(), written)
            other = self.command(*options, "--rows", "140")
            self.assertIn("dense.json was made with another rows: choose another --out", other.stderr)
            (pathlib.Path(folder) / "out/insteval/mean-8.command").write_text("-c 7\n")
            other = self.command(*options, "--rows", "150")
            self.assertIn("was made with other options, see", other.stderr)

    def test_errors(self):
        for options, message in ((["--models", "tied-4"], "--models=tied-4: must have dense"),
                                 (["--models", "dense,tied-3"], "'tied-3' is not one of dense, mean-2"),
                                 (["--rounds", "0"], "--rounds=0: must be at least 1"),
                                 (["--rows", "99"], "--rows=99: must be at least 100, so that both answers occur"),
                                 (["--ss1", "./no-ss1"], "--ss1=./no-ss1: is no command"),
                                 (["--report", "nowhere.md"], "--report=nowhere.md: must be a page with markers"),
                                 (["--tasks", "spam"], "--mails: the task spam needs the SpamAssassin corpus")):
            got = self.command("--out", "nowhere", "--ss1", sys.executable, *options)
            self.assertNotEqual(got.returncode, 0)
            self.assertIn(message, got.stderr)
        self.assertFalse(pathlib.Path("nowhere").exists())


if __name__ == "__main__":
    unittest.main()
