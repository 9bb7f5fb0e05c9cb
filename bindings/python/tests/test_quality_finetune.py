# SPDX-License-Identifier: Apache-2.0
"""quality_finetune.py: its batches, teachers, tables, a tiny run of the command, and docs/quality-finetune.md. jobs.py: runs that follow runs.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_quality_finetune.py
"""
import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
from unittest import mock

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
try:
    import torch
    import quality_finetune
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")
import jobs
import results


def options(**more):
    return types.SimpleNamespace(**{"tasks": ["spam", "insteval"], "kinds": quality_finetune.KINDS, "seeds": [1, 2], "short": 10, "long": 50, **more})


def line(what, kind, budget, seed, lr, kl=0.5, valid_kl=0.5):
    scores = {"kl": kl, "valid_kl": valid_kl, "agrees": 0.5, "right": 0.5, "auc": 0.75, "log_loss": 0.7}
    found = dict(zip(jobs.KEYS, (what, kind, budget, seed, lr)), device="CPU", rows=[3, 2, 1])
    if kind == "dense":
        return {**found, "dense": {**scores, "auc": 0.5}}
    return {**found, "share": 0.25, **{stage: scores for stage in quality_finetune.STAGES if stage != "labels" or seed == 1}}


def found_of(*lines):
    found = types.SimpleNamespace(lines={})
    for entry in lines:
        jobs.Results.add(found, entry)
    return found


class Parts(unittest.TestCase):
    def test_rows_come_once_in_each_iteration_and_in_another_order_in_the_next(self):
        part = {"labels": torch.arange(10), "columns": torch.arange(20).view(10, 2)}
        batches = quality_finetune.Rows(part, 4, 1)
        first, second = ([batch["labels"].tolist() for batch in batches] for _ in range(2))
        self.assertEqual([len(rows) for rows in first], [4, 4, 2])
        self.assertEqual(sorted(sum(first, [])), list(range(10)))
        self.assertNotEqual(first, second)
        for batch in batches:
            self.assertTrue(torch.equal(batch["columns"][:, 0], 2 * batch["labels"]))

    def test_divergence_from_labels_is_the_cross_entropy(self):
        torch.manual_seed(1)
        batch = {"labels": torch.tensor([0, 1, 1]), "input_ids": None, "attention_mask": None}
        logits = torch.randn(3, 2)

        def student(ids, mask):
            return logits

        want, got = (quality_finetune.forward(model, batch).logits for model in (quality_finetune.Labels(), student))
        from ss1.torch.outputs import distance
        self.assertAlmostEqual(distance("kl", got, want, None).item(),
                               torch.nn.functional.cross_entropy(logits, batch["labels"]).item(), places=5)


class Order(unittest.TestCase):
    def test_rates_are_tried_at_a_quarter_with_the_first_seed(self):
        dense = [line("insteval", "dense", "1", seed, 0.0) for seed in (1, 2)]
        given = options(tasks=["insteval"])
        got = quality_finetune.tasks_after(dense[0], found_of(*dense), given)
        self.assertEqual(set(got), {("insteval", kind, "1/4", 1, lr) for kind in quality_finetune.KINDS
                                    for lr in quality_finetune.TASKS["insteval"]["rates"]})
        tried = [line("insteval", "tied", "1/4", 1, 3e-4, kl=0.1, valid_kl=0.3), line("insteval", "tied", "1/4", 1, 1e-3, valid_kl=0.2)]
        got = quality_finetune.tasks_after(tried[1], found_of(dense[0], *tried), given)
        self.assertEqual([task[2:] for task in got if task[1] == "tied"], [(budget, 1, 1e-3) for budget in quality_finetune.BUDGETS])

    def test_a_run_follows_a_run_and_a_second_command_runs_nothing(self):
        first, second = ("a", "k", "1", 1, 0.0), ("b", "k", "1", 1, 0.0)

        def after(done, found, _):
            return [first] if done is None else [first, second]

        with tempfile.TemporaryDirectory() as folder:
            given = types.SimpleNamespace(out=pathlib.Path(folder), jobs=2)
            jobs.check_settings(given.out, {"short": 1})
            found, failures = jobs.work(given, echo, after)
            self.assertEqual((list(found.lines), failures), ([first, second], 0))
            again, failures = jobs.work(given, fail, after)
            self.assertEqual((again.lines, failures), (found.lines, 0))
            with self.assertRaises(SystemExit) as refused:
                jobs.check_settings(given.out, {"short": 2})
            self.assertIn('has results of {"short": 1}, not of {"short": 2}; give another folder', str(refused.exception))


def echo(task, _):
    return dict(zip(jobs.KEYS, task))


def fail(task, _):
    raise ValueError(f"{task} runs again")


class Tables(unittest.TestCase):
    def test_cells_are_means_and_half_ranges_of_the_best_rate(self):
        lines = [line("spam", "tied", "1/4", 1, lr, kl, valid) for lr, kl, valid in
                 ((1e-4, 0.1, 0.3), (3e-4, 0.2, 0.1), (1e-3, 0.3, 0.2))]
        dense = [line("spam", "dense", "1", seed, 0.0) for seed in (1, 2)]
        found = found_of(*dense, *lines, line("spam", "tied", "1/4", 2, 3e-4, kl=0.4))
        got = quality_finetune.results_table(found, "spam", options(), ".2f", lambda scores: scores["kl"])
        self.assertIn("| 1/4 tied | 2 | 0.30 ± 0.10 | 0.30 ± 0.10 | 0.30 ± 0.10 | 0.20 |", got)
        self.assertNotIn("1/2", got)  # no run
        self.assertIn("| tied | – | 0.250 | – |", quality_finetune.shares_table(found, "spam", options()))
        self.assertIn("| tied, 0.001 | 0.2 | 0.3 | 0.3 | 0.3 | 0.3 |", quality_finetune.rates_table(found, "spam", options()))

    def test_differences_are_those_to_dense_of_the_same_seed(self):
        lines = [line("insteval", "mean", "1/4", 1, lr) for lr in quality_finetune.TASKS["insteval"]["rates"]]
        got = quality_finetune.results_table(found_of(line("insteval", "dense", "1", 1, 0.0), *lines), "insteval", options(), "+.4f",
                                             lambda scores: scores["auc"], True)
        self.assertIn("| 1/4 mean | 1 | +0.2500 | +0.2500 | +0.2500 | +0.2500 |", got)

    def test_the_page_has_the_measured_numbers(self):
        page, found = (ROOT / "docs/quality-finetune.md").read_text(), types.SimpleNamespace(lines={})
        for entry in json.loads((ROOT / "docs/quality-finetune.json").read_text()):
            jobs.Results.add(found, entry)
        made = quality_finetune.tables(found, options(seeds=[1, 2, 3], short=100, long=500))
        self.assertEqual(results.filled(page, made), page)
        for title in made:
            self.assertIn(f"<!-- table: {title} -->", page)


class Command(unittest.TestCase):
    def here(self, *more):
        """(what the command says, what it prints) in this process, which saves the import of PyTorch; an error is a SystemExit."""
        said, printed = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", ["quality_finetune.py", *map(str, more)]):
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
                try:
                    quality_finetune.main()
                except SystemExit as error:
                    said.write(str(error))
        return said.getvalue(), printed.getvalue()

    def test_tiny_run(self):
        with tempfile.TemporaryDirectory() as folder:
            given = ["--tasks", "insteval", "--kinds", "mean", "--out", folder, "--seeds", "1", "--rows", "64", "--epochs", "1", "--short",
                     "1", "--long", "2", "--jobs", "1", "--device", "cpu"]
            first = subprocess.run([sys.executable, "-B", HERE.parent / "train/quality_finetune.py", *given], capture_output=True, text=True)
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertIn("| mean | ", first.stdout)
            found = jobs.Results(pathlib.Path(folder) / "results.jsonl")
            self.assertEqual(len(found.lines), 1 + 2 + 2)  # dense, two rates, two more budgets
            for got in found.lines.values():
                if got["kind"] == "mean":
                    self.assertEqual("labels" in got, got["budget"] == "1/4")
                    self.assertGreater(got["converted"]["kl"], 0)
                    self.assertNotEqual(got["short"]["kl"], got["long"]["kl"])
            said, printed = self.here(*given)
            self.assertEqual((said, printed.count("'seconds'")), ("", 0))  # nothing left to do
            self.assertIn("| 1/8 mean | 1 | ", printed)
            self.assertIn("give another folder", self.here(*given, "--long", "3")[0])

    def test_errors(self):
        for more, message in ((["--long", "0"], "--long=0: must be at least 1"), (["--kinds", "half"], "'half' is not one of mean, tied"),
                              (["--report", "nowhere.md"], "--report=nowhere.md: must be a page with markers"),
                              (["--tasks", "spam"], "--mails: the task spam needs the SpamAssassin corpus")):
            with tempfile.TemporaryDirectory() as folder:
                self.assertIn(message, self.here("--out", folder, *more)[0])


if __name__ == "__main__":
    unittest.main()
