# SPDX-License-Identifier: Apache-2.0
"""BERT in ONNX Runtime as a contender: the graph that its transformer optimizer makes of an export, with the fused operators
EmbedLayerNormalization, Attention, SkipLayerNormalization and BiasGelu. int8 is onnxruntime.quantization.quantize_dynamic
on MatMul and Attention."""
import os
import pathlib
import tempfile

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import files

FUSED = "com.microsoft"


def graph_of(config, tensors, pooled):
    nodes, weights = [], []

    def constant(name, array=None):
        weights.append(numpy_helper.from_array(numpy.ascontiguousarray(tensors[name] if array is None else array), name))
        return name

    def node(operator, inputs, outputs, **attributes):
        nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[0]

    def matmul(layer, x):
        return node("MatMul", [x, constant(f"{layer}.weight", tensors[f"{layer}.weight"].T)], [f"{layer}.product"])

    def add_norm(layer, norm, x, skip):
        return node("SkipLayerNormalization", [matmul(layer, x), skip, constant(f"{norm}.weight"), constant(f"{norm}.bias"),
                                               constant(f"{layer}.bias")], [f"{norm}.out"], domain=FUSED, epsilon=config["layer_norm_eps"])

    embeddings = [constant(f"embeddings.{name}_embeddings.weight") for name in ("word", "position", "token_type")]
    x = node("EmbedLayerNormalization", ["input_ids", "token_type_ids", *embeddings, constant("embeddings.LayerNorm.weight"),
                                         constant("embeddings.LayerNorm.bias"), "attention_mask"], ["embedded", "lengths"],
             domain=FUSED, epsilon=config["layer_norm_eps"])
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        projections = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = constant(f"{layer}.qkv.weight", numpy.concatenate([tensors[f"{name}.weight"].T for name in projections], 1))
        bias = constant(f"{layer}.qkv.bias", numpy.concatenate([tensors[f"{name}.bias"] for name in projections]))
        attended = node("Attention", [x, weight, bias, "lengths"], [f"{layer}.attended"], domain=FUSED,
                        num_heads=config["num_attention_heads"])
        x = add_norm(f"{layer}.attention.output.dense", f"{layer}.attention.output.LayerNorm", attended, x)
        inner = f"{layer}.intermediate.dense"
        activated = node("BiasGelu", [matmul(inner, x), constant(f"{inner}.bias")], [f"{inner}.out"], domain=FUSED)
        x = add_norm(f"{layer}.output.dense", f"{layer}.output.LayerNorm", activated, x)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "tokens"])
              for name in ("input_ids", "token_type_ids", "attention_mask")]
    shape = ["batch", "tokens", config["hidden_size"]]
    if pooled:  # the sum over a text's tokens, of length 1: so is their mean
        weights.append(numpy_helper.from_array(numpy.array([2]), "last"))
        weights.append(numpy_helper.from_array(numpy.array([1]), "tokens"))
        share = node("Unsqueeze", [node("Cast", ["attention_mask"], ["share"], to=TensorProto.FLOAT), "last"], ["shares"])
        total = node("ReduceSum", [node("Mul", [x, share], ["shared"]), "tokens"], ["sum"], keepdims=0)
        x, shape = node("LpNormalization", [total], ["embedding"], axis=1, p=2), ["batch", config["hidden_size"]]
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "bert", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(FUSED, 1)], ir_version=8)


def model_file(directory, dtype, pooled):
    """Made once, beside the model."""
    name = f"{dtype}-pooled" if pooled else dtype
    path = pathlib.Path(directory) / f"{name}.onnx"
    if not path.exists():
        made = path.with_name(f"{name}-{os.getpid()}.onnx")
        if dtype == "f32":
            config, tensors = files.read(directory)
            if config["model_type"] != "bert":
                raise ValueError(f"{directory}: the graph is written for BERT alone, not for {config['model_type']}")
            onnx.save(graph_of(config, tensors, pooled), made)
        else:
            from onnxruntime.quantization import QuantType, quantize_dynamic
            # It writes beside its input: to a folder of this process, not to where another one may do the same.
            with tempfile.TemporaryDirectory(dir=directory) as own:
                source = pathlib.Path(own) / "f32.onnx"
                source.symlink_to(model_file(directory, "f32", pooled).resolve())
                quantize_dynamic(source, made, op_types_to_quantize=["MatMul", "Attention"], per_channel=True,
                                 weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT})
        made.replace(path)
    return path


class Contender:
    def __init__(self, spec):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = spec["threads"], 1, 3
        self.pooled = spec.get("output") == "sentence_embedding"
        path = model_file(spec["directory"], spec["dtype"], self.pooled)
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.width = self.session.get_outputs()[0].shape[-1]
        self.info = {"library": f"ONNX Runtime {onnxruntime.__version__}"}
        self.kept = []

    def prepare(self, sets):
        self.kept = []
        return [self._call(inputs) for inputs in sets]

    def _call(self, inputs):
        ids = inputs["input_ids"]
        mask = inputs.get("attention_mask", numpy.ones_like(ids))
        arrays = {"input_ids": ids.astype(numpy.int32), "token_type_ids": numpy.zeros(ids.shape, numpy.int32),
                  "attention_mask": mask.astype(numpy.int32)}
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        out = numpy.empty((*ids.shape[:1 if self.pooled else 2], self.width), numpy.float32)
        binding = self.session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output(self.session.get_outputs()[0].name, "cpu", 0, numpy.float32, out.shape, out.ctypes.data)
        self.kept.append((arrays, values, out))

        def call():
            self.session.run_with_iobinding(binding)
            return out
        return call


make = Contender
