# SPDX-License-Identifier: Apache-2.0
"""The Python package against numpy and against the committed model vectors.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_ss1.py
"""
import csv
import gc
import json
import os
import pathlib
import pickle
import re
import sys
import tempfile
import threading
import time
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
import ss1
from ss1 import safetensors_io

DATA = HERE.parents[2] / "tests/data"
EXAMPLES = HERE.parents[2] / "examples"
MODELS = sorted(path.parent for path in DATA.glob("*/vectors.safetensors"))
OUTPUTS = ("probability", "last_hidden_state", "pooled", "logits", "start_logits", "end_logits", "replaced_logits")
# Both schemes, one and several output blocks, K that is not a multiple of a block.
MAPPINGS = [dict(K=256, N=96, c=1), dict(K=256, N=96, c=4),
            dict(K=512, N=300, c=8, seed=99, block_k=32, block_n=256, step=8),
            dict(K=130, N=70, c=2, seed=5, block_k=16, block_n=48, step=4),
            dict(K=256, N=64, c=2, seed=3, block_n="all"),
            dict(K=256, N=160, c=4, scheme="reference", seed=42, block_k=32, block_n=64)]


def uniform(*shape, seed=0):
    return numpy.random.default_rng(seed).uniform(-1, 1, shape).astype(numpy.float32)


def bf16_bits(values):
    """The nearest bf16 values (ties to even) as uint16."""
    bits = values.view(numpy.uint32)
    return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def from_bf16(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def read(directory):
    """(inputs, expected outputs) of a vectors file."""
    vectors = safetensors_io.read(directory / "vectors.safetensors")
    return ({name: array for name, array in vectors.items() if name not in OUTPUTS},
            {name: array for name, array in vectors.items() if name in OUTPUTS})


class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = ss1.Context()

    @classmethod
    def tearDownClass(cls):
        cls.context.close()

    def refused(self, message, call, *arguments, status=ss1.Status.INVALID_ARGUMENT, **options):
        with self.assertRaisesRegex(ss1.Error, message) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.status, status)

    def layer(self, mapping, **options):
        """(layer, its dense weight, bias)."""
        mapping = dict(mapping)
        K, N = mapping.pop("K"), mapping.pop("N")
        z, bias = ss1.project(uniform(N, K), **mapping), uniform(N, seed=1)
        return ss1.Layer(self.context, z, bias, K=K, **mapping, **options), ss1.expand(z, K, **mapping), bias


class Context(TestCase):
    def test_errors_pass_from_process_to_process(self):
        error = pickle.loads(pickle.dumps(ss1.Error(ss1.Status.FORMAT, "bad file")))
        self.assertEqual((error.status, error.message, str(error)), (ss1.Status.FORMAT, "bad file", "bad file"))

    def test_info(self):
        info = self.context.info
        self.assertGreaterEqual(info["num_threads"], 1)
        self.assertEqual(info["backend"], "cpu")
        self.assertTrue(all(item["name"] and item["reason"] for item in info["isas"] + info["kernels"]))

    def test_version(self):
        self.assertRegex(ss1.version(), r"^\d+\.\d+\.\d+$")

    def test_close(self):
        with ss1.Context(num_threads=1) as context:
            self.assertEqual(context.info["num_threads"], 1)
        context.close()
        self.refused("Context is closed", lambda: context.info)
        self.refused("Context is closed", ss1.Layer, context, uniform(16, 16))

    def test_bad_options(self):
        ss1.Context(max_isa="", backend="").close()  # no limit, no plugin
        self.refused("num_threads=-1", ss1.Context, num_threads=-1)
        self.refused("log_level='loud'", ss1.Context, log_level="loud")
        self.refused("nothing", ss1.Context, max_isa="nothing")
        self.refused("nothing", self.context.load_backend, "nothing", status=ss1.Status.BACKEND)
        for number in (2**31, 2**32, -2**31 - 1, 2**64):
            self.refused(f"device={number} is not an integer of 32 bits", ss1.Context, device=number)
        self.refused("num_threads=4294967296 is not", ss1.Context, num_threads=2**32)

    def test_texts_with_a_zero_byte(self):
        text = "cpu\0more"
        for call, options in ((ss1.Context, {"max_isa": text}), (ss1.Context, {"backend": text}), (self.context.load_backend, {"name": text}),
                              (ss1.Model, {"context": self.context, "directory": f"{DATA / 'bert_classifier'}\0"}),
                              (ss1.Tokenizer, {"context": self.context, "directory": f"{DATA / 'bert_classifier'}\0".encode()}),
                              (ss1.Bags, {"context": self.context, "d": 8, "tables": {text: uniform(2, 8)}})):
            self.refused("has a zero byte", call, **options)

    def message_of(self, directory):
        with self.assertRaises(ss1.Error) as caught:
            ss1.Model(self.context, directory)
        return caught.exception.message

    def test_messages_of_any_path(self):
        self.refused("directory is an empty path", ss1.Model, self.context, "")
        self.assertIn("/caf\ufffd/config.json: cannot open", self.message_of(b"/nowhere/caf\xe9"))  # Latin-1, not UTF-8
        for character in ("e", "\u00e9", "\u6f22", "\U0001f600"):  # 1 to 4 bytes: a message is cut between two of them
            for shift in range(len(character.encode())):
                message = self.message_of("/" + "x" * shift + character * 2000)
                self.assertGreater(len(message.encode()), 1000)
                self.assertEqual(message.strip(character), "ss1_model_load: /" + "x" * shift)

    def test_log(self):
        lines = []
        with ss1.Context(log=lambda level, message: lines.append((level, message)), log_level="debug") as context:
            layer = ss1.Layer(context, uniform(16, 32))
        layer(uniform(1, 32))  # outlives its context, and so does the callback
        self.assertTrue(any(level == "info" and "threads" in message for level, message in lines), lines)
        for level, message in lines:
            self.assertIn(level, ("error", "warning", "info", "debug"))
            self.assertIsInstance(message, str)


class Layer(TestCase):
    def test_is_the_expanded_weight(self):
        for mapping in MAPPINGS:
            layer, weight, bias = self.layer(mapping)
            for rows in (0, 1, 3, 50):
                x = uniform(rows, mapping["K"], seed=2)
                with self.subTest(rows=rows, **mapping):
                    want = x.astype(float) @ weight.T.astype(float) + bias
                    numpy.testing.assert_allclose(layer(x), want, rtol=0, atol=1e-4)

    def test_activation(self):
        layer, weight, bias = self.layer(MAPPINGS[1], activation="relu")
        x = uniform(5, layer.K)
        numpy.testing.assert_allclose(layer(x), numpy.maximum(x @ weight.T + bias, 0), rtol=0, atol=1e-4)

    def test_row_strides(self):
        layer, weight, bias = self.layer(MAPPINGS[3])
        wide, out = uniform(7, layer.K + 9), numpy.full((7, layer.N + 5), 9, numpy.float32)
        got = layer(wide[:, 4:4 + layer.K], out=out[:, :layer.N])
        self.assertIs(got.base, out)
        numpy.testing.assert_array_equal(got, layer(wide[:, 4:4 + layer.K].copy()))
        self.assertTrue((out[:, layer.N:] == 9).all())
        numpy.testing.assert_array_equal(layer(wide[::2, :layer.K]), layer(wide[:, :layer.K].copy())[::2])

    def test_residual(self):
        layer, _, _ = self.layer(MAPPINGS[3])
        x, residual = uniform(7, layer.K), uniform(7, layer.N + 3, seed=2)[:, :layer.N]
        want = layer(x) + residual
        numpy.testing.assert_array_equal(layer(x, residual=residual), want)
        out = residual.copy()
        self.assertIs(layer(x, out=out, residual=out), out)
        numpy.testing.assert_array_equal(out, want)
        self.refused(r"residual: has shape \(6, 70\), must be \(7, 70\)", layer, x, residual=residual[:6])
        both = uniform(8, layer.N)
        self.refused("args.y.*overlaps args.residual", layer, x, out=both[1:], residual=both[:7])

    def test_strided_weights(self):
        z = uniform(32, 80)[:, :64]
        numpy.testing.assert_array_equal(ss1.expand(z, 256, c=4), ss1.expand(z.copy(), 256, c=4))
        layers = [ss1.Layer(self.context, weights, K=256, c=4) for weights in (z, z.copy())]
        numpy.testing.assert_array_equal(*(layer(uniform(3, 256)) for layer in layers))

    def test_info(self):
        layer, _, _ = self.layer(MAPPINGS[1])
        info = layer.info
        self.assertEqual((info["stored_columns"], info["flops_per_row_dense"]), (64, 2 * 256 * 96))
        self.assertEqual({key: info["desc"][key] for key in ("scheme", "c", "block_k", "block_n", "step")},
                         {"scheme": "mixed", "c": 4, "block_k": 64, "block_n": 256, "step": 16})
        self.assertEqual(self.layer(MAPPINGS[4])[0].info["desc"]["block_n"], 64)  # one block of all outputs

    def test_bad_arguments(self):
        z, bias = uniform(32, 64), uniform(32)
        make = lambda z=z, bias=bias, **options: ss1.Layer(self.context, z, bias, **{"K": 256, "c": 4, **options})
        self.refused("z: must be a numpy array", make, z=[1.0])
        self.refused("z: has type float64", make, z=z.astype(float))
        self.refused(r"z: has shape \(32, 60\), must be \(32, 64\)", make, z=z[:, :60].copy())
        self.refused("z: rows are not contiguous", make, z=numpy.asfortranarray(z))
        self.refused("bias: has 5 elements", make, bias=bias[:5])
        self.refused("bias: is not C-contiguous", make, bias=uniform(64)[::2])
        self.refused("K: must be given", make, K=None)
        self.refused("scheme='odd'", make, scheme="odd")
        self.refused("activation='odd'", make, activation="odd")
        self.refused("seed=-1", make, seed=-1)
        self.refused("c\\*block_k=16\\*64", make, c=16)
        self.refused("step", make, step=3)
        self.refused("block_k", make, block_k=48)
        bad = z.copy()
        bad[3, 4] = numpy.nan
        self.refused("finite", make, z=bad)
        layer = make()
        self.refused(r"x: has shape \(2, 255\), must be \('any', 256\)", layer, uniform(2, 255))
        self.refused("x: has type int64", layer, numpy.zeros((2, 256), numpy.int64))
        self.refused("x: has 1 dimensions", layer, uniform(256))
        self.refused("x: row stride", layer, uniform(256, 256)[::-1])
        self.refused("out: has shape", layer, uniform(2, 256), out=uniform(3, 32))
        fixed = uniform(2, 32)
        fixed.flags.writeable = False
        self.refused("out: is read-only", layer, uniform(2, 256), out=fixed)
        odd = numpy.zeros(2 * 256 * 4 + 1, numpy.uint8)
        self.refused("x.* is not aligned", layer, odd[1:].view(numpy.float32).reshape(2, 256))
        both = uniform(4, 256)
        self.refused("overlap", layer, both, out=both[:, :32])

    def test_rounded_weights(self):
        x, z = uniform(20, 300, seed=1), ss1.project(uniform(100, 300, seed=2), c=2)
        exact = ss1.Layer(self.context, z, K=300, c=2)(x)
        for weight_dtype, bound in (("bf16", 0.005), ("i8", 0.02)):
            layer = ss1.Layer(self.context, z, K=300, c=2, weight_dtype=weight_dtype)
            error = numpy.linalg.norm(layer(x) - exact) / numpy.linalg.norm(exact)
            self.assertTrue(1e-4 < error < bound, (weight_dtype, error))
            self.assertEqual(layer.info["desc"]["weight_dtype"], weight_dtype)
        self.refused("weight_dtype='f64'", ss1.Layer, self.context, z, K=300, c=2, weight_dtype="f64")

    def test_types_of_x_and_y(self):
        x, residual = uniform(5, 256, seed=1), bf16_bits(uniform(5, 96, seed=2))
        exact = self.layer(MAPPINGS[1])[0]
        for x_dtype, given, meant in (("bf16", bf16_bits(x), from_bf16(bf16_bits(x))), ("f16", *[x.astype(numpy.float16)] * 2)):
            layer, want = self.layer(MAPPINGS[1], x_dtype=x_dtype)[0], exact(meant.astype(numpy.float32))
            numpy.testing.assert_allclose(layer(given), want, rtol=0, atol=1e-4)
            rounded = self.layer(MAPPINGS[1], x_dtype=x_dtype, y_dtype="bf16")[0]
            self.assertEqual([rounded.info["desc"][name] for name in ("x_dtype", "y_dtype")], [x_dtype, "bf16"])
            y = rounded(given, residual=residual)
            self.assertEqual(y.dtype, numpy.uint16)
            numpy.testing.assert_allclose(from_bf16(y), want + from_bf16(residual), rtol=2**-7, atol=1e-2)
            wide = numpy.full((5, 99), 9, numpy.uint16)
            rounded(given, out=wide[:, :96], residual=residual)
            numpy.testing.assert_array_equal(wide[:, :96], y)
            self.assertTrue((wide[:, 96:] == 9).all())
        self.assertEqual([exact.info["desc"][name] for name in ("x_dtype", "y_dtype")], ["f32", "f32"])
        self.refused("x: has type float32, must be float16; convert it", self.layer(MAPPINGS[1], x_dtype="f16")[0], x)
        layer = self.layer(MAPPINGS[1], x_dtype="bf16", y_dtype="bf16")[0]
        self.refused("x: has type float32, must be uint16, the bits of bf16 values$", layer, x)
        self.refused("out: has type float32, must be uint16", layer, bf16_bits(x), out=uniform(5, 96))
        self.refused("residual: has type float32, must be uint16", layer, bf16_bits(x), residual=uniform(5, 96))
        self.refused("x_dtype='i8' is none of None, f32, bf16, f16$", self.layer, MAPPINGS[1], x_dtype="i8")
        self.refused("y_dtype='f16' is none of None, f32, bf16$", self.layer, MAPPINGS[1], y_dtype="f16")

    def test_low_rank_parts(self):
        z, u, v, bias, x = uniform(96, 64), uniform(96, 8, seed=2), uniform(8, 256, seed=3), uniform(96), uniform(9, 256, seed=4)
        for first, c, given in ((z, 4, {"K": 256, "c": 4}), (z, 4, {"c": 4}), (uniform(96, 256), 1, {}), (None, 0, {})):
            layer = ss1.Layer(self.context, first, bias, u=u, v=v, **given)
            self.assertEqual((layer.K, layer.N, layer.info["desc"]["rank"], layer.info["desc"]["c"]), (256, 96, 8, c))
            weight = ss1.expand(first, 256, u=u, v=v, **({"c": c} if c else {}))
            tied = 0 if first is None else ss1.expand(first, 256, c=c)
            numpy.testing.assert_allclose(weight, tied + u @ v, rtol=0, atol=1e-4)
            numpy.testing.assert_allclose(layer(x), x @ weight.T + bias, rtol=0, atol=1e-3)
        make = lambda z=None, u=u, v=v, **options: ss1.Layer(self.context, z, u=u, v=v, **options)
        self.refused("u and v: must be given together", make, v=None)
        self.refused("z: must be given, or u and v", make, u=None, v=None)
        self.refused("c=4: a layer without z has no tied part", make, c=4)
        self.refused(r"v: has shape \(7, 256\), must be \(8, 256\)", make, v=v[:7])
        self.refused(r"u: has shape \(96, 8\), must be \(95, 8\)", make, z[:95], K=256, c=4)
        self.refused("u: is not C-contiguous", make, u=uniform(96, 9)[:, :8])
        self.refused("v: has type float64", make, v=v.astype(float))
        self.refused("rank=97 is above min", make, u=uniform(96, 97), v=uniform(97, 256))

    def test_fit(self):
        weight, bias = uniform(96, 256), uniform(96, seed=2)
        x = (uniform(500, 40, seed=3) @ uniform(40, 256, seed=4) + 0.5).astype(numpy.float32)
        moments = {"second_moment": x.T @ x / len(x), "mean": x.mean(0)}
        y = x @ weight.T + bias
        for options in ({"c": 4}, {"rank": 16}, {"c": 8, "block_k": 32, "rank": 8}):
            parts = ss1.fit(weight, **options, **moments)
            mapping = {name: value for name, value in options.items() if name != "rank"}
            layer = ss1.Layer(self.context, parts["z"], bias + parts["bias"], K=256, u=parts["u"], v=parts["v"], **mapping)
            lost = ((layer(x) - y)**2).sum() / ((y - y.mean(0))**2).sum()
            self.assertAlmostEqual(lost, parts["error"], delta=1e-3 * (1 + lost))
            numpy.testing.assert_allclose(layer(x).mean(0), y.mean(0), rtol=0, atol=1e-2)
        alone = ss1.fit(weight, c=2)
        numpy.testing.assert_array_equal(alone["z"], ss1.project(weight, c=2))
        self.assertEqual((alone["u"], alone["v"], alone["bias"]), (None, None, None))
        self.refused("weight: has type float64", ss1.fit, weight.astype(float), c=2)
        self.refused("mean: needs second_moment", ss1.fit, weight, c=2, mean=moments["mean"])
        self.refused(r"mean: has shape \(255,\), must be \(256,\)", ss1.fit, weight, c=2, **{**moments, "mean": moments["mean"][:-1]})
        self.refused(r"second_moment: has shape \(255, 256\)", ss1.fit, weight, c=2, second_moment=moments["second_moment"][:-1])
        self.refused("rank=97 is above min", ss1.fit, weight, rank=97)

    def test_many_threads_share_a_layer(self):
        layer, _, _ = self.layer(MAPPINGS[2])
        inputs = [uniform(20, layer.K, seed=seed) for seed in range(4)]
        want = [layer(x) for x in inputs]
        run_threads(lambda i: [numpy.testing.assert_array_equal(layer(inputs[i]), want[i]) for _ in range(20)], 4)


class Tower(TestCase):
    def test_gives_the_bits_of_its_layers(self):
        first, second = self.layer(MAPPINGS[1], activation="relu")[0], self.layer(dict(K=96, N=40, c=1))[0]
        tower = ss1.Tower([first, second])
        self.assertEqual((tower.K, tower.N), (256, 40))
        for rows in (0, 1, 300):
            x = uniform(rows, 256)
            numpy.testing.assert_array_equal(tower(x), second(first(x)))
        out = numpy.full((3, 45), 9, numpy.float32)
        tower(uniform(3, 256), out=out[:, :40])
        self.assertTrue((out[:, 40:] == 9).all() and (out[:, :40] != 9).all())

    def test_types_of_its_ends_and_between_its_layers(self):
        bf16 = {"weight_dtype": "bf16", "x_dtype": "bf16", "y_dtype": "bf16"}
        layers = [self.layer(MAPPINGS[1], activation="relu", **options)[0] for options in (bf16, {**bf16, "x_dtype": None})]
        last = {name: self.layer(dict(K=96, N=40, c=1), **{**bf16, "y_dtype": name})[0] for name in ("bf16", "f32")}
        for first, x in zip(layers, (bf16_bits(uniform(70, 256)), uniform(70, 256))):
            for name, dtype in ("bf16", numpy.uint16), ("f32", numpy.float32):
                y = ss1.Tower([first, last[name]])(x)
                self.assertEqual(y.dtype, dtype)
                numpy.testing.assert_array_equal(y, last[name](first(x)))
        self.refused("x: has type float32, must be uint16", ss1.Tower(layers[:1]), uniform(70, 256))
        self.refused("x_dtype", ss1.Tower, [layers[0], self.layer(dict(K=96, N=40, c=1))[0]])

    def test_bad_arguments(self):
        first, second = self.layer(MAPPINGS[1])[0], self.layer(dict(K=96, N=40, c=1))[0]
        self.refused("at least one layer", ss1.Tower, [])
        self.refused(r"layers\[1\]: must be a Layer, not str", ss1.Tower, [first, "second"])
        self.refused("K=256, .* N=40", ss1.Tower, [second, first])
        tower = ss1.Tower([first, second])
        self.refused(r"x: has shape \(2, 96\)", tower, uniform(2, 96))
        second.close()
        self.refused("Layer is closed", tower, uniform(2, 256))
        tower.close()
        self.refused("Tower is closed", lambda: tower._pointer)


class Bags(TestCase):
    def test_sums_and_means_of_weighted_rows(self):
        tables = {"a": uniform(7, 24), "b": uniform(5, 24, seed=1)}
        indices = numpy.array([0, 6, 3, 4, 4, 1], numpy.int64)
        offsets = numpy.array([[0, 2], [3, 3]], numpy.int64)
        weights = uniform(6, seed=2)
        parts = [[("a", 0, 2), ("a", 2, 3)], [("b", 3, 3), ("b", 3, 6)]]
        for pooling in "sum", "mean":
            for factors in None, weights:
                y = ss1.Bags(self.context, 24, tables, pooling=pooling)(indices, offsets, factors)
                for t in range(2):
                    for b in range(2):
                        name, begin, end = parts[t][b]
                        rows = tables[name][indices[begin:end]] * (1 if factors is None else factors[begin:end, None])
                        wanted = rows.sum(0) / (max(end - begin, 1) if pooling == "mean" else 1)
                        numpy.testing.assert_allclose(y[b, 24 * t:24 * t + 24], wanted, rtol=1e-5, atol=1e-6)

    def test_other_formats(self):
        table, offsets = uniform(6, 16), numpy.zeros((1, 1), numpy.int64)
        row = numpy.concatenate([numpy.arange(16, dtype=numpy.uint8), numpy.array([0.5, -1], numpy.float32).view(numpy.uint8)])
        y = ss1.Bags(self.context, 16, {"t": table.astype(numpy.float16)}, "f16")(numpy.array([5, 2]), offsets)
        numpy.testing.assert_allclose(y[0], table[5] + table[2], atol=2e-3)
        y = ss1.Bags(self.context, 16, {"t": row[None]}, "int8")(numpy.array([0]), offsets)
        numpy.testing.assert_array_equal(y[0], numpy.arange(16) * 0.5 - 1)

    def test_errors_name_the_table_the_position_and_the_value(self):
        offsets = numpy.zeros((1, 1), numpy.int64)
        bags = ss1.Bags(self.context, 8, {"user": uniform(3, 8)})
        self.refused(r"indices\[1\]=3 is not a row of table 0 'user'", bags, numpy.array([0, 3]), offsets)
        self.refused("weights: has 2 elements, must have 1", bags, numpy.array([0]), offsets, uniform(2))
        self.refused("offsets: has 0 rows, must have 1", bags, numpy.array([0]), offsets[:0])
        self.refused("user: has 9 columns, must have 8", ss1.Bags, self.context, 8, {"user": uniform(3, 9)})
        self.refused("user: has type float32, must be uint16, the bits of bf16", ss1.Bags, self.context, 8, {"user": uniform(3, 8)}, "bf16")
        self.refused("user: has type float32, must be uint8, the bytes of packed", ss1.Bags, self.context, 8, {"user": uniform(3, 16)}, "int8")
        self.refused("dtype='int2' is none of", ss1.Bags, self.context, 8, {"user": uniform(3, 8)}, "int2")
        self.refused("n=0", ss1.Bags, self.context, 8, {})


class Projection(TestCase):
    def test_of_an_expanded_weight_is_exact(self):
        for mapping in MAPPINGS:
            options = dict(mapping)
            K, N = options.pop("K"), options.pop("N")
            if K % (options["c"] * options.get("block_k", 64)) == 0:  # otherwise some stored values are unused
                z = ss1.project(uniform(N, K), **options)
                numpy.testing.assert_allclose(ss1.project(ss1.expand(z, K, **options), **options), z, rtol=0, atol=1e-6)

    def test_second_moment_fits_the_output(self):
        weight, x = uniform(48, 64), uniform(500, 64, seed=1) @ uniform(64, 64, seed=2)
        options = dict(c=2, block_k=16, block_n=16, step=4)
        moment = (x.T @ x / len(x)).astype(numpy.float32)

        def error(**more):
            fitted = ss1.expand(ss1.project(weight, **options, **more), 64, **options)
            return numpy.square(x @ (fitted - weight).T).mean()

        self.assertLess(error(second_moment=moment), 0.9 * error())

    def test_second_moment_that_is_none(self):
        options = dict(c=2, block_k=16, block_n=16, step=4)
        broken = numpy.identity(64, numpy.float32)
        broken[48:, 48:] *= -3  # symmetric, but x @ broken @ x < 0 for some x
        self.refused("second_moment", ss1.project, uniform(48, 64), **options, second_moment=broken)
        self.refused("second_moment", ss1.project, uniform(48, 64), **options, second_moment=broken * numpy.nan)

    def test_bad_arguments(self):
        self.refused("weight: has 1 dimensions", ss1.project, uniform(64), c=2)
        self.refused("second_moment: has shape", ss1.project, uniform(64, 128), c=2, second_moment=uniform(3, 3))
        self.refused("z: has shape", ss1.expand, uniform(64, 60), 128, c=2)


class Tokenizer(TestCase):
    DIRECTORY = DATA / "bert_classifier"

    def test_ids_are_those_of_the_vectors(self):
        vectors = json.loads((DATA / "tokenizer/vectors.json").read_text())
        for expected in vectors["vectors"]:
            with tempfile.TemporaryDirectory() as folder:
                (pathlib.Path(folder) / "vocab.txt").write_bytes((DATA / "tokenizer/vocab.txt").read_bytes())
                (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps(expected["config"]))
                tokenizer = ss1.Tokenizer(self.context, folder)
            rows = tokenizer(vectors["texts"], max_tokens=500)
            for ids, mask, want in zip(rows["input_ids"], rows["attention_mask"], expected["ids"], strict=True):
                self.assertEqual(ids[:mask.sum()].tolist(), want)
                self.assertTrue((ids[mask.sum():] == tokenizer.info["pad"]).all())
            again, offsets = tokenizer.with_offsets(vectors["texts"], max_tokens=500)
            for name, array in rows.items():
                self.assertTrue((again[name] == array).all())
            for places, mask, want in zip(offsets, rows["attention_mask"], expected["offsets"], strict=True):
                self.assertEqual(places[:mask.sum()].ravel().tolist(), want)
                self.assertFalse(places[mask.sum():].any())
            for first, second, limit, ids, types, want in expected["pairs"]:
                rows, offsets = tokenizer.with_offsets([first], [second], max_tokens=limit or 500)
                self.assertEqual((rows["input_ids"][0].tolist(), rows["token_type_ids"][0].tolist()), (ids, types))
                self.assertEqual(offsets[0].ravel().tolist(), want)

    def test_text_to_labels(self):
        with ss1.Model(self.context, self.DIRECTORY) as model, ss1.Tokenizer(self.context, self.DIRECTORY) as tokenizer:
            inputs = tokenizer(["You WIN!", b"lunch \xff now [MASK]", "a " * 99])
            self.assertEqual(tokenizer.tokens(inputs["input_ids"][1])[:5], ["[CLS]", "lunch", "now", "[MASK]", "[SEP]"])
            self.assertEqual(inputs["input_ids"].shape, (3, model.info["max_tokens"]))
            session = ss1.Session(model, max_batch=3)
            together = session.run(inputs, ["logits"])["logits"]
            for row, text in zip(together, ["You WIN!", "lunch now [MASK]", "a " * 99]):
                self.assertTrue((session.run(tokenizer([text]), ["logits"])["logits"][0] == row).all())
            self.assertEqual(tokenizer([])["input_ids"].shape, (0, 0))
            self.assertEqual(tokenizer.with_offsets([])[1].shape, (0, 0, 2))

    def test_bad_arguments(self):
        tokenizer = ss1.Tokenizer(self.context, self.DIRECTORY)
        self.refused("must be a list of texts", tokenizer, "text")
        self.refused("first: has a int", tokenizer, [1])
        self.refused("as many texts", tokenizer, ["a"], ["b", "c"])
        self.refused("max_tokens=1 is below 2", tokenizer, ["a"], max_tokens=1)
        self.refused("id=100 is not in", tokenizer.tokens, [100])
        for number in (2**63, 2**64, -2**63 - 1):  # 2^64 must not wrap around to 0
            self.refused(f"id={number} is not an integer of 64 bits", tokenizer.tokens, [number])
        self.refused("vocab.txt: cannot open", ss1.Tokenizer, self.context, DATA / "bert_ss1", status=ss1.Status.IO)


class Texts(TestCase):
    """encode(), predict() and rank() against the tokenizer and a session."""

    def make(self, folder, **config):
        source = DATA / "bert_classifier"
        for name in ("model.safetensors", "vocab.txt"):
            (folder / name).write_bytes((source / name).read_bytes())
        (folder / "config.json").write_text(json.dumps({**json.loads((source / "config.json").read_text()), **config}))
        return folder

    def test_encode(self):
        texts = ["You WIN!", "lunch now, please", "", b"win \xff", "a " * 99]
        with tempfile.TemporaryDirectory() as name:
            folder = self.make(pathlib.Path(name))
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": ["mean", "cls"]}))
            (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "win "}}))
            (folder / "modules.json").write_text(json.dumps([{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]))
            with ss1.Model(self.context, folder) as model, ss1.Tokenizer(self.context, folder) as tokenizer:
                self.assertEqual((model.info["embedding_size"], model.info["similarity"], model.prompts), (128, "cosine", {"query": "win "}))
                rows = model.encode(texts)
                self.assertEqual((rows.shape, rows.dtype), ((5, 128), numpy.float32))
                for row, text in zip(rows, texts):
                    want = model.run(tokenizer([text]), ["sentence_embedding", "last_hidden_state"])
                    self.assertTrue((want["sentence_embedding"][0] == row).all())
                    states = want["last_hidden_state"][0]
                    numpy.testing.assert_allclose(row, numpy.concatenate([states.mean(0), states[0]]), rtol=0, atol=1e-6)
                self.assertTrue((model.encode(texts, batch_tokens=1) == rows).all())
                self.assertTrue((model.encode(["money"], prompt="query") == model.encode(["win money"])).all())
                self.assertTrue((model.encode(texts, dimensions=7) == rows[:, :7]).all())
                self.assertEqual(model.encode([]).shape, (0, 128))
                self.refused("args.prompt 'title' is not a prompt", model.encode, ["a"], prompt="title")
                self.refused("must be a list of texts", model.encode, "a")
                self.refused("dimensions=1099511627776 is above the model's 128", model.encode, ["a"], dimensions=2**40)

    def test_predict_and_rank(self):
        pairs = [("you win", "money"), ("lunch", "now please"), ("", "win")]
        with ss1.Model(self.context, DATA / "bert_classifier") as model, ss1.Tokenizer(self.context, DATA / "bert_classifier") as tokenizer:
            self.assertEqual(model.info["score_activation"], "Identity")
            scores = model.predict(pairs)
            want = [model.run(tokenizer([first], [second]), ["logits"])["logits"][0] for first, second in pairs]
            self.assertTrue((scores == numpy.array(want)).all())
            self.refused("rank needs a classifier with one label, this model has 3", model.rank, "a", ["b"])
            self.refused(r"texts\[1\]: texts and pairs of texts are mixed", model.predict, [("a", "b"), "c"])
            self.refused(r"texts\[1\]: texts and pairs of texts are mixed", model.predict, ["c", ("a", "b")])
            self.refused(r"texts\[2\]: has 3 texts, a pair has 2", model.predict, [*pairs[:2], ("a", "b", "c")])
            self.refused(r"texts\[0\]: has 1 texts, a pair has 2", model.predict, [("a",)])
        with ss1.Model(self.context, DATA / "bert_classifier") as model:
            asked, encode = [], model._encode
            model._encode = lambda *arguments: asked.append(arguments[-1]) or encode(*arguments)
            self.assertTrue((model.predict(pairs, raw=True) == scores).all())
            model.predict(pairs)
            self.assertEqual(asked, [False, True])
        with tempfile.TemporaryDirectory() as name:
            folder = self.make(pathlib.Path(name), id2label={"0": "yes"}, label2id={"yes": 0})
            with ss1.Model(self.context, folder, random_weights=True, seed=3) as model:
                scores, raw = model.predict(pairs), model.predict(pairs, raw=True)
                self.assertEqual(scores.shape, (3,))
                numpy.testing.assert_allclose(scores, 1 / (1 + numpy.exp(-raw)), rtol=1e-6)
                texts = ["money", "now please", "win"]
                ranked = model.rank("you win", texts)
                self.assertEqual([row["logit"] for row in ranked], sorted((row["logit"] for row in ranked), reverse=True))
                alone = model.predict([("you win", text) for text in texts])
                for row in ranked:
                    self.assertEqual(row["score"], float(alone[row["index"]]))
                self.assertEqual(model.rank("you win", texts, top=1), ranked[:1])
                self.assertEqual(model.rank("you win", texts, top=numpy.int64(9)), ranked)
                for text in ("abc", b"abc"):
                    self.refused("texts: must be a list of texts, not one text", model.rank, "q", text)
                self.refused("top=0: must be at least 1", model.rank, "q", texts, top=0)
                self.refused("top=-1", model.rank, "q", texts, top=-1)


class Models(TestCase):
    def test_vectors(self):
        self.assertGreater(len(MODELS), 0)
        for directory in MODELS:
            with self.subTest(directory.name), ss1.Model(self.context, directory) as model:
                inputs, want = read(directory)
                self.assertLessEqual(set(want), set(model.outputs))  # older cases of DLRMs lack logits
                batch = len(inputs["dense_x" if "dense_x" in inputs else "input_ids"])
                got = ss1.Session(model, max_batch=batch).run(inputs)
                for name, array in want.items():
                    of_tokens = (name in ("last_hidden_state", "start_logits", "end_logits", "replaced_logits")
                                 or name == "logits" and array.ndim == 3)
                    if of_tokens and "attention_mask" in inputs:
                        seen = inputs["attention_mask"] == 1
                        array, got[name] = array[seen], got[name][seen]
                    numpy.testing.assert_allclose(got[name], array, rtol=0, atol=2e-5, err_msg=name)

    def test_trained_models(self):
        with open(EXAMPLES / "data/insteval-test.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        label = numpy.array([int(row["label"]) for row in rows])
        for name in ("insteval-dense", "insteval-ss1"):
            with self.subTest(name), ss1.Model(self.context, EXAMPLES / "models" / name) as model:
                config = json.loads(model.info["config"])
                ids = numpy.array([[int(row[table["name"]]) for row in rows] for table in config["tables"]])
                dense = numpy.array([[row[feature] for feature in config["dense_features"]] for row in rows], numpy.float32)
                p = ss1.Session(model, max_batch=len(rows)).run({
                    "dense_x": dense, "indices": ids.reshape(-1),
                    "offsets": numpy.arange(ids.size).reshape(ids.shape)})["probability"].astype(float)
                loss = -numpy.log(numpy.where(label == 1, p, 1 - p)).mean()
                log = (EXAMPLES / "models" / name / "train.log").read_text()
                want = float(re.search(r"^test +log loss ([0-9.]+)", log, re.MULTILINE)[1])
                self.assertAlmostEqual(loss, want, delta=6e-5)  # the log has four digits

    def test_description(self):
        with ss1.Model(self.context, DATA / "dlrm_ss1") as model:
            self.assertEqual(model.inputs, {"dense_x": (numpy.float32, (-1, 5)), "indices": (numpy.int64, (-1,)),
                                            "offsets": (numpy.int64, (6, -1)), "weights": (numpy.float32, (-1,))})
            self.assertEqual(model.outputs, {name: (numpy.float32, (-1,)) for name in ("probability", "logits")})
            self.assertEqual([(layer["name"], layer["layer"]["desc"]["c"]) for layer in model.layers],
                             [("bot_l.0", 1), ("bot_l.2", 2), ("top_l.0", 2), ("top_l.2", 2), ("top_l.4", 1)])
            info = model.info
            self.assertEqual((info["family"], info["config"]), ("dlrm", (DATA / "dlrm_ss1/config.json").read_text()))

    def test_outputs(self):
        inputs, want = read(DATA / "bert_classifier")
        model = ss1.Model(self.context, DATA / "bert_classifier")
        session = ss1.Session(model, max_batch=4, max_tokens=12)
        self.assertGreater(session.bytes, 0)
        model.close()  # sessions keep it alive
        self.assertEqual(list(session.run(inputs, ["logits"])), ["logits"])
        room = numpy.full((4, 3), 7, numpy.float32)
        got = session.run(inputs, {"logits": room})["logits"]
        self.assertEqual(got.shape, (3, 3))
        self.assertTrue(numpy.shares_memory(got, room) and (room[3] == 7).all())
        numpy.testing.assert_array_equal(got, session.run(inputs)["logits"])

    def test_files_in_memory(self):
        def files(folder):
            paths = [pathlib.Path(base, name) for base, _, names in os.walk(folder, followlinks=True) for name in names]
            return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

        bert = EXAMPLES / "models/mail-embed"
        texts = ["You have won a prize", "See you at lunch"]
        in_memory, on_disk = ss1.Model(self.context, files(bert)), ss1.Model(self.context, bert)
        numpy.testing.assert_array_equal(in_memory.encode(texts), on_disk.encode(texts))
        dlrm = EXAMPLES / "models/insteval-ss1"
        inputs = {"dense_x": numpy.zeros((1, 3), numpy.float32), "indices": numpy.zeros(6, numpy.int64),
                  "offsets": numpy.arange(6).reshape(6, 1)}
        expected = ss1.Model(self.context, dlrm).run(inputs)
        for options in {}, {"map_tables": True}:
            model = ss1.Model(self.context, files(dlrm), **options)
            gc.collect()  # mapped tables keep their buffers
            numpy.testing.assert_array_equal(model.run(inputs)["probability"], expected["probability"])
        self.refused("config.json'] must be bytes", ss1.Model, self.context, {"config.json": 3})
        self.refused("files/config.json: cannot open", ss1.Model, self.context, {"model.safetensors": b""}, status=ss1.Status.IO)
        self.refused("n=0", ss1.Tokenizer, self.context, {})

    def test_update_rows(self):
        inputs = {"dense_x": numpy.zeros((1, 3), numpy.float32), "indices": numpy.full(6, 1), "offsets": numpy.arange(6).reshape(6, 1)}
        with ss1.Model(self.context, EXAMPLES / "models/insteval-ss1") as model:
            def answer():
                return model.run(inputs)["probability"][0]

            rows, values = numpy.array([0, 1]), numpy.ones((2, 32), numpy.float32)
            before = answer()
            self.refused("=2972: table 'student' has 2972 rows", model.update_rows, "student", numpy.array([1, 2972]), values)
            self.refused("values: has shape", model.update_rows, "student", rows[:1], values)
            self.refused("args.d=31: table 'student' has rows of 32 values", model.update_rows, "student", rows, values[:, 1:])
            self.refused("args.table='s': the model has no table of this name", model.update_rows, "s", rows, values)
            self.refused("numpy.flatnonzero.rows. gives the numbers", model.update_rows, "student", numpy.array([True, False]), values)
            unaligned = numpy.frombuffer(bytes(2 * 32 * 4 + 1), numpy.uint8)[1:].view(numpy.float32).reshape(2, 32)
            self.refused("args.values=.* is not aligned to 4 bytes", model.update_rows, "student", rows, unaligned)
            self.assertEqual(answer(), before)
            model.update_rows("student", rows, values)
            self.assertNotEqual(answer(), before)
        with ss1.Model(self.context, DATA / "bert_classifier") as model:
            self.refused("have no embedding tables", model.update_rows, "student", rows, values, status=ss1.Status.UNSUPPORTED)

    def test_labels(self):
        for name, labels in (("bert_tokens", ["no", "maybe", "yes"]), ("bert_xlm_roberta_classifier", ["LABEL_0", "LABEL_1"]),
                             ("bert_answers", []), ("dlrm_dot", [])):
            with ss1.Model(self.context, DATA / name) as model:
                self.assertEqual(model.labels, labels)
        with ss1.Model(self.context, DATA / "bert_roberta") as model:
            limits = [model.info[key] for key in ("max_tokens", "vocab_size", "type_vocab_size")]
            self.assertEqual(limits, [12, 40, 1])

    def test_random_weights(self):
        inputs, _ = read(DATA / "dlrm_dot")
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory)
            (path / "config.json").write_text((DATA / "dlrm_dot/config.json").read_text())
            models = [ss1.Model(self.context, path, random_weights=True, seed=seed) for seed in (1, 1, 2)]
            got = [ss1.Session(model, max_batch=6).run(inputs)["probability"] for model in models]
            numpy.testing.assert_array_equal(got[0], got[1])
            self.assertTrue((got[0] != got[2]).any())

    def test_bad_arguments(self):
        with tempfile.TemporaryDirectory() as directory:
            self.refused("config.json", ss1.Model, self.context, pathlib.Path(directory), status=ss1.Status.IO)
            (pathlib.Path(directory) / "config.json").write_text("{")
            self.refused("config.json", ss1.Model, self.context, directory, status=ss1.Status.FORMAT)
        inputs, _ = read(DATA / "dlrm_dot")
        session = ss1.Session(ss1.Model(self.context, DATA / "dlrm_dot"), max_batch=6)
        change = lambda **more: {**inputs, **more}
        self.refused("'nothing' is none of the model's dense_x", session.run, change(nothing=inputs["dense_x"]))
        self.refused("'nothing' is none of the model's probability", session.run, inputs, ["nothing"])
        dense_x = inputs["dense_x"]
        self.refused("dense_x: has type float64, must be float32", session.run, change(dense_x=dense_x.astype(float)))
        self.refused("dense_x: is not C-contiguous", session.run, change(dense_x=numpy.asfortranarray(dense_x)))
        self.refused("indices: must be a numpy array", session.run, change(indices=list(inputs["indices"])))
        self.refused("dense_x", session.run, {name: array for name, array in inputs.items() if name != "dense_x"})
        self.refused("dense_x", session.run, change(dense_x=inputs["dense_x"][:, :3].copy()))
        self.refused("probability", session.run, inputs, {"probability": numpy.empty(5, numpy.float32)})
        bad = inputs["indices"].copy()
        bad[7] = 7  # table1 has 7 rows
        self.refused("table1", session.run, change(indices=bad))
        self.refused("batch", session.run, change(dense_x=uniform(7, 4), offsets=numpy.arange(21).reshape(3, 7),
                                                  indices=numpy.zeros(21, numpy.int64)))
        session.close()
        self.refused("Session is closed", session.run, inputs)

    def test_rounded_weights(self):
        for name in ("dlrm_ss1", "bert_classifier"):
            inputs, want = read(DATA / name)
            for weight_dtype, bound in (("bf16", 0.02), ("i8", 0.08)):
                with self.subTest(name, weight_dtype=weight_dtype):
                    model = ss1.Model(self.context, DATA / name, weight_dtype=weight_dtype)
                    self.assertEqual({entry["layer"]["desc"]["weight_dtype"] for entry in model.layers}, {weight_dtype})
                    got = ss1.Session(model, max_batch=6).run(inputs)
                    output = "probability" if "probability" in want else "logits"
                    numpy.testing.assert_allclose(got[output], want[output], rtol=0, atol=bound * abs(want[output]).max())
        same = ss1.Model(self.context, DATA / "dlrm_ss1", weight_dtype="int8")
        self.assertEqual({entry["layer"]["desc"]["weight_dtype"] for entry in same.layers}, {"i8"})
        self.refused("weight_dtype='f16' is none of", ss1.Model, self.context, DATA / "dlrm_dot", weight_dtype="f16")

    def test_time_by_stage(self):
        inputs, _ = read(DATA / "dlrm_dot")
        with ss1.Model(self.context, DATA / "dlrm_dot") as model:
            session = ss1.Session(model, max_batch=6)
            self.refused("n=3", session.time_stages, 3)
            self.assertEqual(model.stages, ["lookup", "bottom", "interaction", "top"])
            seconds = session.time_stages()
            self.assertEqual(len(seconds), 4)
            begin = time.perf_counter()
            session.run(inputs)
            self.assertTrue(0 < seconds.min() and seconds.sum() <= time.perf_counter() - begin)
            measured = seconds.copy()
            session.time_stages(0)
            session.run(inputs)
            numpy.testing.assert_array_equal(seconds, measured)

    def test_runs_that_give_up(self):
        inputs, _ = read(DATA / "bert_classifier")
        with ss1.Model(self.context, DATA / "bert_classifier") as model:
            session = ss1.Session(model, max_batch=6)
            session.cancel()  # no run is in progress
            want = session.run(inputs)
            session.set_deadline(1e-9)
            outputs = {"logits": numpy.full_like(want["logits"], 7)}
            self.refused("the deadline of 1e-09 s has passed", session.run, inputs, outputs, status=ss1.Status.DEADLINE)
            self.assertTrue((outputs["logits"] == 7).all())
            self.refused("seconds=-1", session.set_deadline, -1)
            session.set_deadline(0)
            numpy.testing.assert_array_equal(session.run(inputs)["logits"], want["logits"])

            cancelled = []

            def run_until_cancelled():
                try:
                    for _ in range(100000):
                        session.run(inputs)
                except ss1.Error as error:
                    cancelled.append(error.status)

            thread = threading.Thread(target=run_until_cancelled)
            thread.start()
            while thread.is_alive():
                session.cancel()  # no effect between two runs
            thread.join()
            self.assertEqual(cancelled, [ss1.Status.CANCELLED])
            numpy.testing.assert_array_equal(session.run(inputs)["logits"], want["logits"])

    def test_many_threads_share_a_model(self):
        for directory in (DATA / "dlrm_ss1", DATA / "bert_classifier"):
            inputs, want = read(directory)
            with ss1.Model(self.context, directory) as model:
                def work(i):
                    with ss1.Session(model, max_batch=6) as session:
                        first = session.run(inputs)
                        for _ in range(20):
                            for name, array in session.run(inputs, list(want)).items():
                                if name != "last_hidden_state":
                                    numpy.testing.assert_array_equal(array, first[name])
                                    numpy.testing.assert_allclose(array, want[name], rtol=0, atol=2e-5)
                run_threads(work, 4)

    def test_collected_in_any_order(self):
        context = ss1.Context(num_threads=1)
        model = ss1.Model(context, DATA / "dlrm_dot")
        session = ss1.Session(model, max_batch=6)
        del context, model
        gc.collect()
        inputs, want = read(DATA / "dlrm_dot")
        numpy.testing.assert_allclose(session.run(inputs)["probability"], want["probability"], rtol=0, atol=1e-5)


def run_threads(work, count):
    """work(i) on `count` threads; the first exception is raised here."""
    errors = []

    def guarded(i):
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


if __name__ == "__main__":
    unittest.main()
