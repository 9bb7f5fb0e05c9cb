# SPDX-License-Identifier: Apache-2.0
"""quality_gpt.py: shapes of its forms, what is measured in each type, the order of its runs, and its tables.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_quality_gpt.py
"""
import contextlib
import io
import math
import pathlib
import sys
import types
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
try:
    import torch
    import quality_gpt
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")
import jobs


class Forms(unittest.TestCase):
    def test_forms_keep_their_budget(self):
        for K, N in ((256, 256), (256, 1024), (1024, 256), (512, 2048)):
            for budget in quality_gpt.BUDGETS.values():
                shapes = quality_gpt.shape_of(budget, K, N)
                self.assertEqual(list(shapes), ["tied", "mean", "SS1", "low rank", "both"])
                for shape in shapes.values():
                    share = (1 / shape["c"] if shape["c"] else 0) + shape.get("rank", 0) * (K + N) / (K * N)
                    self.assertTrue(0.6 * budget < share <= budget, (K, N, shape))


class Types(unittest.TestCase):
    def test_compare(self):
        want = torch.zeros(3, 256).log_softmax(1).double()
        got = quality_gpt.compare(want, want, torch.tensor([0, 7, 255]))
        self.assertAlmostEqual(got["bits"], 8, places=5)
        self.assertAlmostEqual(got["kl"], 0)
        torch.manual_seed(1)
        logits = torch.randn(5, 256).double()
        want, found = logits.log_softmax(1), (1.5 * logits).log_softmax(1)
        got = quality_gpt.compare(want, found, torch.zeros(5).long())
        self.assertAlmostEqual(got["error"], 0.25)
        self.assertAlmostEqual(got["kl"], torch.nn.functional.kl_div(found, want, log_target=True, reduction="batchmean").item())
        self.assertAlmostEqual(got["bits"], -found[:, 0].mean().item() / math.log(2))

    def test_order_and_tables(self):
        options = types.SimpleNamespace(parts=["types"], seeds=[0])
        self.assertEqual(quality_gpt.tasks_after(None, None, options), [("dense", "dense", "1", 0, 1e-3)])
        tasks = quality_gpt.tasks_after({"what": "dense", "seed": 0}, None, options)
        self.assertEqual(len(tasks), 1 + 3 * 5)
        results = types.SimpleNamespace(lines={})
        for number, task in enumerate(tasks):
            measured = {dtype: {"bits": 1.5, "kl": 0.1 * number, "error": 0.01 * (1 + number)} for dtype in ("f32", "bf16", "i8")}
            jobs.Results.add(results, {**dict(zip(jobs.KEYS, task)), "types": measured})
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            quality_gpt.types_report(results, options)
        self.assertIn("| tied-2 | 1.500 | 1.500 | 1.500 | 0.2 | 0.2 | 0.2 |", printed.getvalue())
        self.assertIn("| rank-2 | 4 % | 1 % | 5 % | 4 % | 0.80 |", printed.getvalue())
        self.assertIn("| 1/8 both | 1.4 | 0.9 | 0.4 |", printed.getvalue())


if __name__ == "__main__":
    unittest.main()
