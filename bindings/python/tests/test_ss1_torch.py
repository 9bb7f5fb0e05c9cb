# SPDX-License-Identifier: Apache-2.0
"""SS1Linear against the committed mapping vectors and against its own dense expansion.

    python3 bindings/python/tests/test_ss1_torch.py
"""
import json
import pathlib
import sys
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "train"))
try:
    import torch
    from ss1_torch import SS1Linear, mapping
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")

CASES = json.loads((HERE.parents[2] / "tests/data/mapping.json").read_text())
SHAPES = ("scheme", "seed", "K", "N", "c", "B_K", "B_N", "V")


def layer(case, **options):
    return SS1Linear(case["K"], case["N"], c=case["c"], scheme=case["scheme"], seed=case["seed"], block_k=case["B_K"],
                     block_n=case["B_N"], step=case["V"], **options)


class Mapping(unittest.TestCase):
    def test_vectors(self):
        for case in CASES:
            with self.subTest(**{key: case[key] for key in SHAPES}):
                column, sign = mapping(*(case[key] for key in SHAPES))
                j = numpy.arange(case["N"]) // case["B_N"]
                numpy.testing.assert_array_equal(column[j].T, case["column"])
                numpy.testing.assert_array_equal(sign[j].T, case["sign"])

    def test_rules(self):
        good = dict(K=256, N=64, c=2, block_k=32, step=8)
        for bad, word in ((dict(c=16), "c[*]block_k=16[*]32"), (dict(step=3), "step=3"), (dict(block_n=24), "block_n=24"),
                          (dict(block_k=48), "block_k=48"), (dict(scheme="other"), "scheme='other'"),
                          (dict(scheme="reference", step=4), "step=4")):
            with self.assertRaisesRegex(ValueError, word):
                SS1Linear(**{**good, **bad})


class Layer(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)

    def test_expand_is_the_definition(self):
        for case in CASES:
            built = layer(case)
            z, column, sign = built.ss1_weight.detach().numpy(), numpy.array(case["column"]), numpy.array(case["sign"])
            n = numpy.broadcast_to(numpy.arange(case["N"]), column.shape)
            w = numpy.where(column < 0, 0, sign * z[n, column])
            numpy.testing.assert_array_equal(built.expand().detach().numpy(), w.T.astype(numpy.float32))

    def test_forward_is_expand(self):
        for case in CASES:
            for bias in (True, False):
                built = layer(case, bias=bias, dtype=torch.float64)
                x = torch.randn(3, 5, case["K"], dtype=torch.float64)
                torch.testing.assert_close(built(x), torch.nn.functional.linear(x, built.expand(), built.bias),
                                           rtol=0, atol=1e-12)

    def test_gradients_are_those_of_expand(self):
        for case in CASES:
            built = layer(case, dtype=torch.float64)
            x = torch.randn(7, case["K"], dtype=torch.float64, requires_grad=True)
            upstream = torch.randn(7, case["N"], dtype=torch.float64)
            variables = [x, *built.parameters()]
            got = torch.autograd.grad(built(x), variables, upstream)
            want = torch.autograd.grad(torch.nn.functional.linear(x, built.expand(), built.bias), variables, upstream)
            for a, b in zip(got, want):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-12)

    def test_projection_is_the_nearest(self):
        for case in CASES:
            built = layer(case, dtype=torch.float64)
            weight = torch.randn(case["N"], case["K"], dtype=torch.float64)
            built.project_(weight)
            (built.expand() - weight).square().sum().backward()  # least squares: at the minimum the gradient is 0
            torch.testing.assert_close(built.ss1_weight.grad, torch.zeros_like(built.ss1_weight), rtol=0, atol=1e-12)

    def test_every_stored_weight_gets_a_gradient(self):
        for case in CASES:
            built = layer(case)
            built(torch.randn(16, case["K"])).square().sum().backward()
            # Exactly the stored values that W does not use are zero and stay zero.
            moved = built.ss1_weight.grad != 0
            torch.testing.assert_close(moved, built.ss1_weight != 0)
            if case["K"] % (case["c"] * case["B_K"]) == 0:
                self.assertTrue(bool(moved.all()))

    def test_initial_variance(self):
        x = torch.randn(512, 1024)
        want = torch.nn.Linear(1024, 1024)(x).var().item()
        for c in (1, 2, 4, 8):
            for scheme in ("mixed", "reference"):
                got = SS1Linear(1024, 1024, c=c, scheme=scheme)(x).var().item()
                self.assertAlmostEqual(got / want, 1, delta=0.05)

    def test_state_dict_and_config(self):
        built = SS1Linear(1024, 512)
        self.assertEqual({name: tuple(value.shape) for name, value in built.state_dict().items()},
                         {"ss1_weight": (512, 256), "bias": (512,)})
        self.assertEqual(built.config(), {"kind": "ss1", "c": 4, "scheme": "mixed", "seed": 1, "block_k": 64,
                                          "block_n": 256, "step": 16})


if __name__ == "__main__":
    unittest.main()
