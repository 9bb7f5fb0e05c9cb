# SPDX-License-Identifier: Apache-2.0
"""Compares RobeEmbeddingBags with its definition in numpy's unsigned arithmetic, in a DLRM, and with the library.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_robe.py
"""
import pathlib
import sys
import tempfile
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
import ss1
try:
    import torch
    import dlrm
    from ss1 import model_dir
    import robe
    from robe import RobeEmbeddingBags
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")

ROWS = [5, 1, 300]
# embedding_dim, size, block: chunks below, at and above the alignment, one chunk a row and several, a last unit that wraps.
CASES = [(32, 1024, 8), (32, 1040, 16), (64, 96, 32), (64, 64, 64), (16, 16, 16)]


def finish(v):
    with numpy.errstate(over="ignore"):
        v = (v ^ v >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        v = (v ^ v >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        return v ^ v >> numpy.uint64(31)


def offset(seed, e, x, z, size, block):
    """Returns the start of chunk z of row x of table e; x and z are arrays."""
    h, golden, one = numpy.array(seed, numpy.uint64), numpy.uint64(0x9E3779B97F4A7C15), numpy.uint64(1)
    with numpy.errstate(over="ignore"):
        for value in (e, x, z):
            h = finish(h + golden * (numpy.array(value, numpy.uint64) + one))
    a = min(block, 16)
    return ((h >> one) % numpy.uint64(size // a)).astype(numpy.int64) * a


def table(tables, e):
    """Table e by the definition."""
    d, Z = tables.embedding_dim, tables.block
    x, column = numpy.ogrid[:tables.rows[e], :d]
    start = offset(tables.seed, e, x, column // Z, tables.size, Z)
    return tables.weight.detach().numpy()[(start + column % Z) % tables.size]


class Robe(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)

    def test_definition(self):
        for d, size, block in CASES:
            for seed in (0, 1, 2**63 - 1):
                tables = RobeEmbeddingBags(ROWS, d, size, block, seed)
                for e in range(len(ROWS)):
                    numpy.testing.assert_array_equal(tables.expand(e).detach().numpy(), table(tables, e))

    def test_vectors(self):
        for (e, x, z), want in {(0, 0, 0): 528, (0, 0, 1): 832, (0, 1, 0): 224, (25, 40000000, 7): 416}.items():
            self.assertEqual(int(offset(1, e, x, z, 1024, 16)), want)
            self.assertIn(f"offset({e}, {x}, {z}) = {want}", robe.__doc__)
            hashed = robe.mix64(1, *(torch.tensor(value) for value in (e, x, z)))
            self.assertEqual((int(hashed) % 2**64 >> 1) % (1024 // 16) * 16, want)

    def test_bags(self):
        tables = RobeEmbeddingBags(ROWS, 32, 1024)
        indices, offsets, weights = torch.tensor([7, 7, 299, 0]), torch.tensor([0, 0, 3]), torch.tensor([1.0, 2, -1, 0.5])
        full = tables.expand(2)
        for more in ({}, {"per_sample_weights": weights}):
            want = torch.nn.functional.embedding_bag(indices, full, offsets, mode="sum", **more)
            torch.testing.assert_close(tables(2, indices, offsets, **more), want, rtol=0, atol=0)
        none = tables(2, indices[:0], torch.tensor([0, 0]))
        torch.testing.assert_close(none, torch.zeros(2, 32), rtol=0, atol=0)

    def test_gradients_are_those_of_the_tables(self):
        for d, size, block in CASES:
            tables = RobeEmbeddingBags(ROWS, d, size, block).double()
            indices = torch.randint(0, 300, (40,))
            upstream = torch.randn(40, d, dtype=torch.float64)
            got, = torch.autograd.grad(tables(2, indices, torch.arange(40)), tables.weight, upstream)
            x, column = indices[:, None].numpy(), numpy.arange(d)
            place = (offset(1, 2, x, column // block, size, block) + column % block) % size
            want = numpy.zeros(size)
            numpy.add.at(want, place, upstream.numpy())
            numpy.testing.assert_allclose(got.numpy(), want, rtol=0, atol=1e-12)

    def test_rules(self):
        good = dict(rows=ROWS, embedding_dim=32, size=64, block=16, seed=1)
        for bad, word in ((dict(block=4), "block=4"), (dict(block=24), "block=24"), (dict(block=64), "embedding_dim=32"),
                          (dict(size=72), "size=72"), (dict(size=0), "size=0"), (dict(seed=-1), "seed=-1"),
                          (dict(rows=[3, 0]), "rows")):
            with self.assertRaisesRegex(ValueError, word):
                RobeEmbeddingBags(**{**good, **bad})
        with self.assertRaisesRegex(IndexError, "table 1: indices 0..1 are not all in 0..0"):
            RobeEmbeddingBags(**good)(1, torch.tensor([0, 1]), torch.tensor([0]))

    def dlrm(self, **robe):
        """(model, four rows of inputs)."""
        model = dlrm.DLRM({"model_type": "dlrm", "dense_features": ["a", "b"], "embedding_dim": 32,
                           "tables": [{"name": f"t{n}", "rows": n} for n in ROWS], "bottom_mlp": [2, 32], "top_mlp": [8, 1],
                           "interaction": "dot", "robe": robe})
        with torch.no_grad():
            model.robe.weight /= 32 ** 0.5
        indices = torch.cat([torch.randint(0, n, (8,)) for n in ROWS])  # bags of two
        return model, (torch.randn(4, 2), indices, 2 * torch.arange(12).reshape(3, 4))

    def test_in_a_dlrm(self):
        model, inputs = self.dlrm(size=256, block=8, seed=3)
        self.assertEqual(model.robe.config(), model.config["robe"])
        got = model(*inputs)
        got.sum().backward()
        self.assertTrue(bool((model.robe.weight.grad != 0).any()))
        plain = dlrm.DLRM({key: value for key, value in model.config.items() if key != "robe"})
        state = {name: value for name, value in model.state_dict().items() if name != "robe.weight"}
        plain.load_state_dict({**state, **{f"emb_l.{e}.weight": model.robe.expand(e) for e in range(len(ROWS))}})
        torch.testing.assert_close(plain(*inputs), got, rtol=0, atol=1e-6)

    def test_saved_and_in_the_library(self):
        for robe_config in ({"size": 1024, "block": 8, "seed": 3}, {"size": 1040, "block": 16, "seed": 2**63 - 1},
                            {"size": 96, "block": 32, "seed": 0}):
            model, inputs = self.dlrm(**robe_config)
            with tempfile.TemporaryDirectory() as directory:
                model_dir.save(directory, model.config, model.state_dict())
                saved, tensors = model_dir.load(directory)
                self.assertEqual(saved["robe"], robe_config)
                self.assertEqual({name: array.shape for name, array in tensors.items() if "_l." not in name or "emb" in name},
                                 {"robe.weight": (robe_config["size"],)})
                library = ss1.Model(ss1.Context(num_threads=1), directory)
                got = ss1.Session(library, max_batch=4).run(
                    dict(zip(("dense_x", "indices", "offsets"), (tensor.numpy() for tensor in inputs))), ["probability"])
            want = model(*inputs).detach().numpy()
            self.assertGreater(want.std(), 0.003)
            numpy.testing.assert_allclose(got["probability"], want, rtol=0, atol=1e-5)


if __name__ == "__main__":
    unittest.main()
