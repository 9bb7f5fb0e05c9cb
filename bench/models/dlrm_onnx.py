# SPDX-License-Identifier: Apache-2.0
"""DLRM in ONNX Runtime as a contender: one Gather over all tables, then MatMul and Add; bound inputs and outputs.

The tables lie behind each other in one array that is given as an input: one operator looks all up instead of 26, and the
graph is small enough to be quantised in a second. int8 is onnxruntime.quantization.quantize_dynamic on the MatMuls; the tables
stay f32, as ONNX Runtime has no row-wise quantised lookup.
"""
import pathlib
import tempfile

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import files


def graph_of(config, tensors):
    nodes, weights = [], []
    vectors, d = len(config["tables"]) + 1, config["embedding_dim"]

    def constant(name, array):
        weights.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def node(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def mlp(name, x, count):
        for i in range(count):
            layer = f"{name}.{2 * i}"
            product = node("MatMul", [x, constant(f"{layer}.weight", tensors[f"{layer}.weight"].T)], f"{layer}.product")
            x = node("Add", [product, constant(f"{layer}.bias", tensors[f"{layer}.bias"])], f"{layer}.sum")
            x = node("Sigmoid" if name == "top_l" and i == count - 1 else "Relu", [x], f"{layer}.out")
        return x

    bottom = mlp("bot_l", "dense_x", len(config["bottom_mlp"]) - 1)
    begins = numpy.cumsum([0, *(table["rows"] for table in config["tables"][:-1])], dtype=numpy.int64)
    rows = node("Add", ["indices", constant("begins", begins)], "rows")
    bags = node("Gather", ["tables", rows], "bags", axis=0)
    first = node("Reshape", [bottom, constant("as_vector", numpy.array([-1, 1, d], numpy.int64))], "first")
    stacked = node("Concat", [first, bags], "stacked", axis=1)
    products = node("MatMul", [stacked, node("Transpose", [stacked], "transposed", perm=[0, 2, 1])], "products")
    flat = node("Reshape", [products, constant("as_row", numpy.array([-1, vectors * vectors], numpy.int64))], "flat")
    i, j = numpy.tril_indices(vectors, -1)
    pairs = node("Gather", [flat, constant("pairs", (i * vectors + j).astype(numpy.int64))], "chosen", axis=1)
    probability = mlp("top_l", node("Concat", [bottom, pairs], "interaction", axis=1), len(config["top_mlp"]))
    total = int(begins[-1]) + config["tables"][-1]["rows"]
    inputs = [helper.make_tensor_value_info("dense_x", TensorProto.FLOAT, ["batch", config["bottom_mlp"][0]]),
              helper.make_tensor_value_info("indices", TensorProto.INT64, ["batch", vectors - 1]),
              helper.make_tensor_value_info("tables", TensorProto.FLOAT, [total, d])]
    outputs = [helper.make_tensor_value_info(probability, TensorProto.FLOAT, ["batch", 1])]
    graph = helper.make_graph(nodes, "dlrm", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


class Contender:
    def __init__(self, spec):
        config, tensors = files.read(spec["directory"])
        model = graph_of(config, tensors)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = spec["threads"], 1, 3
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.onnx"
            onnx.save(model, path)
            if spec["dtype"] == "int8":
                from onnxruntime.quantization import QuantType, quantize_dynamic
                path = path.with_name("int8.onnx")
                quantize_dynamic(path.with_name("model.onnx"), path, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8,
                                 per_channel=True)
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.rows = numpy.concatenate([tensors[f"emb_l.{k}.weight"] for k in range(len(config["tables"]))])
        self.tables = self._value(self.rows)
        self.info = {"library": f"ONNX Runtime {onnxruntime.__version__}"}
        self.kept = []

    @staticmethod
    def _value(array):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)

    def prepare(self, sets):
        return [self._call(inputs) for inputs in sets]

    def _call(self, inputs):
        batch = inputs["offsets"].shape[1]
        arrays = {"dense_x": inputs["dense_x"], "indices": numpy.ascontiguousarray(inputs["indices"].reshape(-1, batch).T)}
        values = {name: self._value(array) for name, array in arrays.items()}
        out = numpy.empty((batch, 1), numpy.float32)
        binding = self.session.io_binding()
        for name, value in {**values, "tables": self.tables}.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output(self.session.get_outputs()[0].name, "cpu", 0, numpy.float32, out.shape, out.ctypes.data)
        self.kept.append((arrays, values, out))
        probability = out[:, 0]

        def call():
            self.session.run_with_iobinding(binding)
            return probability
        return call


make = Contender
