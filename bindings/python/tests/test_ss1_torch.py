# SPDX-License-Identifier: Apache-2.0
"""ss1.torch.Linear against the committed mapping vectors, its own dense weight and the library.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_ss1_torch.py
"""
import copy
import json
import pathlib
import pickle
import sys
import threading
import unittest
import warnings

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import ss1
try:
    import torch
    from torch.nn import functional
    from ss1.torch import Linear, fit
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")

CASES = json.loads((HERE.parents[2] / "tests/data/mapping.json").read_text())


def layer(case, **options):
    return Linear(case["K"], case["N"], c=case["c"], scheme=case["scheme"], seed=case["seed"], block_k=case["B_K"],
                  block_n=case["B_N"], step=case["V"], **options)


def every_kind():
    """(layer in float64, its K) for each committed mapping, with and without a part of low rank, and low rank alone."""
    for case in CASES:
        for rank in (0, 3):
            yield layer(case, rank=rank, dtype=torch.float64), case["K"]
    yield Linear(100, 40, c=0, rank=5, dtype=torch.float64), 100
    yield Linear(100, 40, c=0, rank=5, bias=False, dtype=torch.float64), 100


class TestCase(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)


class Mapping(TestCase):
    def test_weight_is_the_definition(self):
        for case in CASES:
            with self.subTest(**{key: case[key] for key in ("scheme", "seed", "K", "N", "c", "B_K", "B_N", "V")}):
                built = layer(case)
                z, column, sign = built.ss1_weight.detach().numpy(), numpy.array(case["column"]), numpy.array(case["sign"])
                n = numpy.broadcast_to(numpy.arange(case["N"]), column.shape)
                w = numpy.where(column < 0, 0, sign * z[n, column])
                numpy.testing.assert_array_equal(built.weight.detach().numpy(), w.T.astype(numpy.float32))

    def test_weight_is_the_library_s(self):
        for case in CASES:
            for rank in (0, 4):
                built = layer(case, rank=rank)
                parts = {} if not rank else {"u": built.low_rank_up.detach().numpy(), "v": built.low_rank_down.detach().numpy()}
                want = ss1.expand(built.ss1_weight.detach().numpy(), case["K"], **built.mapping, **parts)
                numpy.testing.assert_allclose(built.weight.detach().numpy(), want, rtol=0, atol=1e-6)

    def test_rules(self):
        good = dict(in_features=256, out_features=64, c=2, block_k=32, step=8)
        for bad, word in ((dict(c=16), r"c[*]block_k=16[*]32"), (dict(step=3), "step=3"), (dict(block_n=24), "block_n=24"),
                          (dict(block_k=48), "block_k=48"), (dict(scheme="other"), "scheme='other'"),
                          (dict(scheme="reference", step=4), "step=4")):
            with self.assertRaisesRegex(ss1.Error, word):
                Linear(**{**good, **bad})
        for bad, word in ((dict(c=0), "c=0 and rank=0"), (dict(rank=65), "rank=65"), (dict(rank=-1), "rank=-1")):
            with self.assertRaisesRegex(ValueError, word):
                Linear(**{**good, **bad})

    def test_defaults_are_the_library_s(self):
        built = Linear(1024, 512)
        self.assertEqual({name: tuple(value.shape) for name, value in built.state_dict().items()},
                         {"ss1_weight": (512, 256), "bias": (512,)})
        with ss1.Context(num_threads=1) as context:
            desc = ss1.Layer(context, built.ss1_weight.detach().numpy(), K=1024, c=4).info["desc"]
        self.assertEqual(built.config(), {"kind": "ss1", **{key: desc[key] for key in
                                                            ("c", "scheme", "seed", "block_k", "block_n", "step")}})
        self.assertEqual(Linear(96, 80, c=0, rank=8).config(), {"kind": "low_rank", "rank": 8})
        self.assertEqual(Linear(1024, 512, rank=8).config()["rank"], 8)


class Training(TestCase):
    def test_forward_and_gradients_are_those_of_the_weight(self):
        for built, K in every_kind():
            x = torch.randn(3, 5, K, dtype=torch.float64, requires_grad=True)
            upstream = torch.randn(3, 5, built.out_features, dtype=torch.float64)
            y, want_y = built(x), functional.linear(x, built.weight, built.bias)
            torch.testing.assert_close(y, want_y, rtol=0, atol=1e-12)
            variables = [x, *built.parameters()]
            for got, want in zip(torch.autograd.grad(y, variables, upstream), torch.autograd.grad(want_y, variables, upstream)):
                torch.testing.assert_close(got, want, rtol=0, atol=1e-12)

    def test_gradients_are_those_of_differences(self):
        for scheme in ("mixed", "reference"):
            built = Linear(40, 20, c=2, scheme=scheme, block_k=16, block_n=16, rank=2, dtype=torch.float64)
            built_x = torch.randn(2, 40, dtype=torch.float64, requires_grad=True)
            self.assertTrue(torch.autograd.gradcheck(built, built_x))

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
        for options in (*({"c": c, "scheme": scheme} for c in (1, 2, 4, 8) for scheme in ("mixed", "reference")),
                        {"c": 0, "rank": 64}, {"c": 4, "rank": 64}):
            with torch.no_grad():
                self.assertAlmostEqual(Linear(1024, 1024, **options)(x).var().item() / want, 1, delta=0.08)

    def test_wrong_width(self):
        built = Linear(128, 64, c=2)
        with self.assertRaisesRegex(ValueError, "64 columns, must have in_features=128"):
            built(torch.zeros(4, 64))

    def test_values_that_are_not_finite_stay_in_their_row(self):
        for case in CASES:
            built = layer(case)
            x = torch.randn(3, case["K"])
            want = built(x).detach()
            x[1, 0] = float("nan")
            torch.testing.assert_close(built(x).detach()[[0, 2]], want[[0, 2]], rtol=0, atol=0)

    def test_fit_without_moments_is_the_nearest(self):
        for case in CASES:
            built, weight = layer(case), torch.randn(case["N"], case["K"])
            error = fit(built, weight)
            lost = built.weight - weight
            self.assertAlmostEqual(error, (lost.square().sum() / weight.square().sum()).item(), places=5)
            lost.square().sum().backward()  # least squares: at the minimum the gradient is 0
            torch.testing.assert_close(built.ss1_weight.grad, torch.zeros_like(built.ss1_weight), rtol=0, atol=1e-4)


class Library(TestCase):
    """The forward pass by libss1, and when it must not be taken."""

    def forward(self, built, x):
        with torch.no_grad():
            return built(x)

    def agrees(self, built, x):
        want = functional.linear(x, built.weight, built.bias).detach()
        got = self.forward(built, x)
        self.assertIsNotNone(built._packed)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)

    def test_outputs(self):
        for built, K in every_kind():
            self.agrees(built.float(), torch.randn(3, 5, K))
            self.assertEqual(self.forward(built, torch.randn(0, K)).shape, (0, built.out_features))
            self.assertEqual(self.forward(built, torch.randn(K)).shape, (built.out_features,))
            self.agrees(built, torch.randn(K, 7).T)  # not contiguous

    def test_changed_weights_are_noticed(self):
        built, x = Linear(256, 96, rank=4), torch.randn(3, 256)
        self.agrees(built, x)
        packed = built._packed
        self.agrees(built, x)
        self.assertIs(built._packed, packed)
        optimizers = [torch.optim.AdamW(built.parameters(), lr=0.1, foreach=foreach) for foreach in (False, True)]
        for change in (*(optimizer.step for optimizer in optimizers), lambda: built.ss1_weight.data.mul_(-1),
                       lambda: built.load_state_dict(Linear(256, 96, rank=4).state_dict()),
                       lambda: built.bias.data.fill_(3), lambda: setattr(built, "low_rank_up", torch.nn.Parameter(torch.ones(96, 4)))):
            built(x).sum().backward()
            change()
            self.agrees(built, x)
        built.ss1_weight.data[1, 1] += 1  # a single element: to be told
        built.forget()
        self.agrees(built, x)

    def test_when_pytorch_computes(self):
        x = torch.randn(2, 256)
        for change, x in ((lambda built: built.double(), x.double()), (lambda built: built.bfloat16(), x.bfloat16())):
            built = Linear(256, 96)
            change(built)
            self.assertEqual(self.forward(built, x).dtype, x.dtype)
            self.assertIsNone(built._packed)
        built = Linear(256, 96)
        self.assertTrue(built(x.float()).requires_grad)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            self.assertEqual(built(x.float()).dtype, torch.bfloat16)
        self.assertIsNone(built._packed)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(built, x.float(), check_trace=False)
        self.assertIsNone(built._packed)
        torch.testing.assert_close(traced(x.float()), built(x.float()))
        with torch.inference_mode():
            self.agrees(built, x.float())
            made_here = Linear(256, 96)
            self.assertEqual(made_here(x.float()).shape, (2, 96))
            self.assertIsNone(made_here._packed)

    def test_copies(self):
        built, x = Linear(256, 96), torch.randn(2, 256)
        want = self.forward(built, x)
        for same in (copy.deepcopy(built), pickle.loads(pickle.dumps(built))):
            torch.testing.assert_close(self.forward(same, x), want, rtol=0, atol=0)

    def test_threads(self):
        built, x, results = Linear(256, 96), torch.randn(9, 256), []
        workers = [threading.Thread(target=lambda: results.append(self.forward(built, x))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(len(results), 4)
        for result in results:
            torch.testing.assert_close(result, results[0], rtol=0, atol=0)


if __name__ == "__main__":
    unittest.main()
