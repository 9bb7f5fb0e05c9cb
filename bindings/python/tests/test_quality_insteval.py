# SPDX-License-Identifier: Apache-2.0
"""quality_insteval.py: its models, the library's layers in them, and a tiny run of the command.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_quality_insteval.py
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
import ss1
try:
    import torch
    import quality_insteval
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")

COLUMNS = numpy.array([[2971, 1127, 3, 5, 1, 13], [0, 7, 1, 2, 0, 3]])  # the largest and some other ids


class Models(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)

    def build(self, name):
        return quality_insteval.build(name, torch.from_numpy(COLUMNS), 1)

    def values(self, name):
        """(stored values in MLPs, in tables)."""
        model = self.build(name)
        tables = sum(p.numel() for p in model.tables())
        return sum(p.numel() for p in model.parameters()) - tables, tables

    def test_stored_values(self):
        dense, tables = self.values("dense")
        for c in quality_insteval.COMPRESSIONS:
            mixed, _ = self.values(f"mixed-{c}")
            self.assertLess(mixed, dense * (1 / c + 0.1))
            self.assertEqual(self.values(f"reference-{c}"), (mixed, tables))
            for kind in ("lowrank", "narrow"):
                got, _ = self.values(f"{kind}-{c}")
                self.assertAlmostEqual(got / mixed, 1, delta=0.01, msg=f"{kind}-{c}")
        for factor in (10, 100):
            mlps, array = self.values(f"robe-{factor}")
            self.assertEqual(mlps, dense)
            self.assertAlmostEqual(tables / array / factor, 1, delta=0.01)

    def test_low_rank_begins_as_a_dense_layer_does(self):
        x = torch.randn(512, 1024)
        want = torch.nn.Linear(1024, 512)(x).var().item()
        self.assertAlmostEqual(quality_insteval.low_rank(1024, 512, 4)(x).var().item() / want, 1, delta=0.1)

    def test_library_layers(self):
        rows = torch.from_numpy(COLUMNS)
        with ss1.Context(num_threads=1) as context:
            for name in ("dense", "mixed-4", "reference-4", "lowrank-4", "narrow-4", "robe-10"):
                model = self.build(name).eval()
                want = quality_insteval.predict(model, rows)
                for dtype, least, most in (("f32", 0, 1e-5), ("bf16", 1e-8, 0.01), ("i8", 1e-8, 0.05)):
                    copied = self.build(name).eval()
                    copied.load_state_dict(model.state_dict())
                    rounded = quality_insteval.with_library_layers(copied, context, dtype)
                    error = abs(quality_insteval.predict(rounded, rows) - want).max()
                    self.assertTrue(least <= error <= most, (name, dtype, error))


    def test_library_layers_of_every_form(self):
        x = torch.randn(3, 5, 256)
        with ss1.Context(num_threads=1) as context:
            for form in ({"c": 4}, {"c": 0, "rank": 16}, {"c": 8, "rank": 16, "block_k": 32}):
                layer = torch.nn.ModuleList([quality_insteval.Linear(256, 64, **form)])
                want = layer[0](x)
                for dtype, least, most in (("f32", 0, 1e-5), ("bf16", 1e-6, 0.02), ("i8", 1e-6, 0.1)):
                    rounded = torch.nn.ModuleList(layer)
                    got = quality_insteval.with_library_layers(rounded, context, dtype)[0](x)
                    self.assertEqual(got.shape, want.shape)
                    self.assertTrue(least <= (got - want).abs().max() <= most, (form, dtype))


class Command(unittest.TestCase):
    def test_tiny_run(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)

            def command(*options):
                return subprocess.run(
                    [sys.executable, "-B", HERE.parent / "train/quality_insteval.py", "--out", folder / "runs", "--report",
                     folder / "quality.md", "--rows", "900", "--models", "dense,mixed-8,lowrank-8,robe-100", *options],
                    capture_output=True, text=True)

            first = command("--epochs", "1", "--seeds", "1,2")
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertEqual(len(list((folder / "runs").iterdir())), 8)
            table = [line.split(" | ") for line in (folder / "quality.md").read_text().splitlines() if line.startswith("| ")]
            self.assertEqual([row[0] for row in table[1:]], ["| dense", "| mixed-8", "| lowrank-8", "| robe-100"])
            runs = json.loads((folder / "quality.json").read_text())
            auc = [run["test"]["i8"]["auc"] for run in runs if run["model"] == "mixed-8"]
            self.assertEqual(table[2][5], f"{numpy.mean(auc):.4f} ± {numpy.std(auc, ddof=1):.4f}")
            self.assertEqual(table[1][-1], "+0.0000 ± 0.0000 |")
            for run in runs:
                for tested in run["test"].values():
                    self.assertTrue(0 < tested["auc"] < 1 and 0 < tested["log_loss"] < 2)

            again = command("--epochs", "1", "--seeds", "2,1")
            self.assertEqual((again.returncode, again.stdout), (0, ""))  # nothing left to train
            other = command("--epochs", "2")
            self.assertEqual(other.returncode, 1)
            self.assertIn("dense-seed1.json was made with another epochs: choose another --out", other.stderr)

    def test_errors(self):
        run = subprocess.run([sys.executable, "-B", HERE.parent / "train/quality_insteval.py", "--out", "nowhere", "--models",
                              "dense,mixed-3"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 2)
        self.assertIn("'mixed-3' is not one of dense, reference-2", run.stderr)


if __name__ == "__main__":
    unittest.main()
