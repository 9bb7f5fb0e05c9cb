# SPDX-License-Identifier: Apache-2.0
"""ss1.torch's import of the SS1 authors' modules and of the arguments of their conversion.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_torch_ssl.py
"""
import pathlib
import sys
import unittest
import warnings

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import ss1
try:
    import torch
    from torch.nn import functional
    from ss1.torch import Linear, convert, import_ssl, ssl_spec
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")


class TestCase(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)


class SSL(torch.nn.Module):
    """The attributes of the authors' module; its forward follows their published mapping, output block by output block."""

    def __init__(self, K, N, c, seed=1024, block_k=32, block_n=32, bias=True):
        super().__init__()
        self.in_features, self.out_features, self.redn_factor, self.seed = K, N, c, seed
        self.BLOCK_SIZE_K, self.BLOCK_SIZE_N = block_k, block_n
        draws = numpy.random.RandomState(seed).randint(0, 2**32, 3, numpy.uint32)
        self.random_numbers = torch.tensor([45007, *(int(draw) % 45007 for draw in draws)])
        stored = -(-(K // c) // block_k) * block_k
        self.weight = torch.nn.Parameter(torch.randn(N, stored))
        self.bias = torch.nn.Parameter(torch.randn(N)) if bias else None

    def forward(self, x):
        r0, r1, r2, r3 = self.random_numbers.tolist()
        block_k, dense, weight = self.BLOCK_SIZE_K, numpy.zeros((self.out_features, self.in_features), numpy.float32), self.weight.detach().numpy()
        for k in range(self.in_features):
            (i, t), c = divmod(k, block_k), self.redn_factor
            for n in range(self.out_features):
                turn = (r3 + r2 * (n // self.BLOCK_SIZE_N) + r1 * (i // c + 1) + r0 * (i % c + 1)) * 8 % block_k
                column = i // c * block_k + (t + block_k - turn) % block_k
                if column < self.in_features // c:  # their kernels stop there
                    dense[n, k] = weight[n, column]
        return functional.linear(x, torch.from_numpy(dense), self.bias)


class Import(TestCase):
    def test_import(self):
        for K, N, c, options in ((128, 48, 2, {}), (128, 48, 4, {"seed": 42, "bias": False}), (200, 40, 2, {"block_n": 16}),
                                 (65, 32, 2, {}), (64, 32, 1, {})):
            theirs, x = SSL(K, N, c, **options), torch.randn(3, K)
            want = functional.linear(x, theirs.weight[:, :K], theirs.bias) if c == 1 else theirs(x)
            torch.testing.assert_close(import_ssl(theirs)(x), want, rtol=1e-4, atol=1e-4)
        model = torch.nn.Sequential(SSL(64, 64, 2), torch.nn.ReLU(), torch.nn.Linear(64, 8))
        imported = import_ssl(model)
        self.assertIsInstance(imported[0], Linear)
        self.assertIsInstance(model[0], SSL)
        torch.testing.assert_close(imported(x[:, :64]), model(x[:, :64]), rtol=1e-4, atol=1e-4)

    def test_refused(self):
        other = SSL(64, 32, 2)
        other.random_numbers = torch.tensor([3, 5, 7, 9])
        with self.assertRaisesRegex(ValueError, r"random_numbers=\[3, 5, 7, 9\] are not those of its seed"):
            import_ssl(other)
        small = SSL(64, 32, 2)
        small.weight = torch.nn.Parameter(torch.zeros(32, 16))
        with self.assertRaisesRegex(ValueError, r"weight has shape \(32, 16\)"):
            import_ssl(small)
        odd = SSL(96, 32, 2)
        odd.BLOCK_SIZE_K = 48
        with self.assertRaisesRegex(ss1.Error, "block_k=48"):
            import_ssl(odd)
        with self.assertRaisesRegex(ValueError, "Sequential has no module of the class SSL"):
            import_ssl(torch.nn.Sequential(torch.nn.ReLU()))


class Spec(TestCase):
    def model(self):
        layer = lambda: torch.nn.ModuleDict({"attention": torch.nn.Linear(64, 64), "output": torch.nn.Linear(64, 64)})
        return torch.nn.ModuleDict({"encoder": torch.nn.ModuleDict({"layer": torch.nn.ModuleList(layer() for _ in range(3))}),
                                    "pooler": torch.nn.Linear(64, 64)})

    def test_spec(self):
        spec = ssl_spec(self.model(), 2, layer_indices=[1], skip_pattern=["pooler"])
        tied = {name: wish["seed"] for name, wish in spec.items() if wish}
        self.assertEqual(tied, {"encoder.layer.0.attention": 42, "encoder.layer.0.output": 43, "encoder.layer.2.attention": 44,
                                "encoder.layer.2.output": 45})
        self.assertEqual({(wish["c"], wish["scheme"], wish["block_k"], wish["block_n"]) for wish in spec.values() if wish},
                         {(2, "reference", 32, 32)})
        spec = ssl_spec(self.model(), 2, skip_attention=True, init_seed=7)
        self.assertEqual([wish and wish["seed"] for wish in spec.values()], [None, 7, None, 8, None, 9, 10])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, report = convert(self.model(), spec)
        self.assertEqual(sum(row.reason is None for row in report), 4)

    def test_refused(self):
        with self.assertRaisesRegex(ValueError, r"layer_indices: 24 names no layer; linear layers have the indices \[0, 1, 2\]"):
            ssl_spec(self.model(), 2, layer_indices=[1, 24])
        with self.assertRaisesRegex(ValueError, "reduction_factor=3"):
            ssl_spec(self.model(), 3)


if __name__ == "__main__":
    unittest.main()
