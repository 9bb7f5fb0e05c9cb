# SPDX-License-Identifier: Apache-2.0
"""include/ss1/ss1.h for ctypes: the library, its enums, structs and functions, nothing more. tests/abi.json checks them."""
import ctypes
import os
import pathlib
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p


ABI_VERSION = 1  # SS1_ABI_VERSION: the structs below are those of libss1.so.1


def _library():
    """The library of this package: a path, or the name under which the system's linker is to find it."""
    if os.environ.get("SS1_LIBRARY"):
        return os.environ["SS1_LIBRARY"]
    soname, here = f"libss1.so.{ABI_VERSION}", pathlib.Path(__file__).parent
    beside = sorted(here.glob("libss1.so*"))
    if beside:
        return str(beside[0])
    try:
        from ._libdir import LIBDIR  # written at installation
    except ImportError:
        return soname
    installed = here / LIBDIR / soname
    return str(installed) if installed.exists() else soname


def _load():
    path = _library()
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise OSError(f"{path} was not loaded ({error}): install ss1, or set SS1_LIBRARY to the path of libss1.so") from None


# The enums: the part of each value's name that is its own, in lower case.
STATUS = {"ok": 0, "error_invalid_argument": 1, "error_unsupported": 2, "error_out_of_memory": 3, "error_backend": 4,
          "error_internal": 5, "error_io": 6, "error_format": 7, "error_cancelled": 8, "error_deadline": 9}
DTYPE = {"default": 0, "f32": 1, "bf16": 2, "f16": 3, "i8": 4, "u8": 5, "i32": 6, "i64": 7}
TABLE_DTYPE = {"default": 0, "f32": 1, "bf16": 2, "f16": 3, "int8": 4, "int4": 5}
LOG_LEVEL = {"error": 1, "warning": 2, "info": 3, "debug": 4}
SCHEME = {"default": 0, "reference": 1, "mixed": 2}
ACTIVATION = {"none": 0, "relu": 1, "gelu": 2, "gelu_tanh": 3, "tanh": 4, "sigmoid": 5, "silu": 6}
POOLING = {"sum": 0, "mean": 1}
CONVERT_FROM = {"dense": 0, "ssl": 1}


class Struct(ctypes.Structure):
    """A struct that starts with struct_size, made as its SS1_..._INIT macro makes it: sized, all else 0."""

    def __init__(self, **fields):
        super().__init__(struct_size=ctypes.sizeof(type(self)), **fields)


def array(struct, count):
    """A C array of `count` structs, each made as Struct makes one."""
    result = (struct * count)()
    for entry in result:
        entry.struct_size = ctypes.sizeof(struct)
    return result


LogFunction = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)


class ContextOptions(Struct):
    _fields_ = [("struct_size", c_uint32), ("num_threads", c_uint32), ("parallel_for", c_void_p),
                ("parallel_for_user", c_void_p), ("alloc", c_void_p), ("free", c_void_p), ("alloc_user", c_void_p),
                ("log", LogFunction), ("log_user", c_void_p), ("log_level", c_int), ("device", c_int32),
                ("max_isa", c_char_p), ("backend", c_char_p)]


class InfoItem(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("used", c_int32), ("reason", c_char_p)]


class Info(Struct):
    _fields_ = [("struct_size", c_uint32), ("num_threads", c_uint32), ("device", c_int32), ("threads_reason", c_char_p),
                ("cpu", c_char_p), ("backend", c_char_p), ("n_isas", c_size_t), ("n_backends", c_size_t),
                ("n_kernels", c_size_t), ("isas", POINTER(InfoItem)), ("backends", POINTER(InfoItem)),
                ("kernels", POINTER(InfoItem)), ("l1d_bytes", c_size_t), ("l2_bytes", c_size_t), ("l3_bytes", c_size_t)]


class LinearDesc(Struct):
    _fields_ = [("struct_size", c_uint32), ("K", c_size_t), ("N", c_size_t), ("c", c_uint32), ("scheme", c_int),
                ("seed", c_uint32), ("block_k", c_uint32), ("block_n", c_uint32), ("step", c_uint32), ("activation", c_int),
                ("x_dtype", c_int), ("y_dtype", c_int), ("weight_dtype", c_int), ("rank", c_size_t)]


class LinearWeights(Struct):
    _fields_ = [("struct_size", c_uint32), ("z", c_void_p), ("ldz", c_size_t), ("bias", c_void_p),
                ("u", c_void_p), ("v", c_void_p)]


class LinearArgs(Struct):
    _fields_ = [("struct_size", c_uint32), ("m", c_size_t), ("x", c_void_p), ("ldx", c_size_t), ("y", c_void_p),
                ("ldy", c_size_t), ("scratch", c_void_p), ("stream", c_void_p), ("residual", c_void_p), ("ldr", c_size_t)]


class LayerInfo(Struct):
    _fields_ = [("struct_size", c_uint32), ("kernels", c_char_p), ("stored_columns", c_size_t), ("weight_bytes", c_size_t),
                ("flops_per_row", c_double), ("flops_per_row_dense", c_double), ("desc", LinearDesc)]

    def __init__(self):
        super().__init__(desc=LinearDesc())


class Table(Struct):
    _fields_ = [("struct_size", c_uint32), ("name", c_char_p), ("dtype", c_int), ("pooling", c_int), ("rows", c_size_t), ("data", c_void_p)]


class BagsArgs(Struct):
    _fields_ = [("struct_size", c_uint32), ("unchecked", c_uint32), ("batch", c_size_t), ("total", c_size_t),
                ("indices", c_void_p), ("offsets", c_void_p), ("weights", c_void_p), ("y", c_void_p), ("ldy", c_size_t)]


class UpdateRowsArgs(Struct):
    _fields_ = [("struct_size", c_uint32), ("table", c_char_p), ("n", c_size_t), ("rows", c_void_p), ("values", c_void_p),
                ("d", c_size_t), ("ldv", c_size_t)]


class MemoryFile(Struct):
    _fields_ = [("struct_size", c_uint32), ("name", c_char_p), ("data", c_void_p), ("bytes", c_size_t)]


class ModelOptions(Struct):
    _fields_ = [("struct_size", c_uint32), ("random_weights", c_uint32), ("seed", c_uint64), ("weight_dtype", c_int),
                ("map_tables", c_uint32)]


class Tensor(Struct):
    _fields_ = [("struct_size", c_uint32), ("name", c_char_p), ("dtype", c_int), ("rank", c_uint32), ("shape", c_int64 * 4),
                ("data", c_void_p), ("bytes", c_size_t)]


class ModelLayerInfo(Struct):
    _fields_ = [("struct_size", c_uint32), ("name", c_char_p), ("layer", LayerInfo)]

    def __init__(self):
        super().__init__(layer=LayerInfo())


class ModelInfo(Struct):
    _fields_ = [("struct_size", c_uint32), ("family", c_char_p), ("config", c_char_p), ("n_inputs", c_size_t),
                ("n_outputs", c_size_t), ("n_layers", c_size_t), ("weight_bytes", c_size_t), ("parameters", c_size_t),
                ("n_labels", c_size_t), ("max_tokens", c_size_t), ("vocab_size", c_size_t), ("type_vocab_size", c_size_t),
                ("n_stages", c_size_t), ("embedding_size", c_size_t), ("n_prompts", c_size_t), ("default_prompt", c_char_p),
                ("similarity", c_char_p), ("score_activation", c_char_p)]


class SessionOptions(Struct):
    _fields_ = [("struct_size", c_uint32), ("max_batch", c_size_t), ("max_tokens", c_size_t), ("observe", c_void_p),
                ("observe_user", c_void_p)]


class LayerRows(Struct):
    _fields_ = [("struct_size", c_uint32), ("x_dtype", c_int), ("first_layer", c_size_t), ("n_layers", c_size_t),
                ("m", c_size_t), ("K", c_size_t), ("ldx", c_size_t), ("x", c_void_p)]


class LayerStatistics(Struct):
    _fields_ = [("struct_size", c_uint32), ("rows", c_size_t), ("K", c_size_t), ("mean", c_void_p), ("second_moment", c_void_p)]


class TokenizerInfo(Struct):
    _fields_ = [("struct_size", c_uint32), ("lower_case", c_int32), ("strip_accents", c_int32), ("split_ideographs", c_int32),
                ("vocab_size", c_size_t), ("max_tokens", c_size_t), ("unk", c_int64), ("sep", c_int64), ("pad", c_int64),
                ("cls", c_int64), ("mask", c_int64)]


class Text(Struct):
    _fields_ = [("struct_size", c_uint32), ("data", c_char_p), ("bytes", c_size_t)]


class TokenizeArgs(Struct):
    _fields_ = [("struct_size", c_uint32), ("n", c_size_t), ("first", POINTER(Text)), ("second", POINTER(Text)),
                ("max_tokens", c_size_t), ("input_ids", c_void_p), ("attention_mask", c_void_p), ("token_type_ids", c_void_p),
                ("ld", c_size_t), ("lengths", c_void_p), ("begins", c_void_p), ("ends", c_void_p)]


class EncodeArgs(Struct):
    _fields_ = [("struct_size", c_uint32), ("n", c_size_t), ("first", POINTER(Text)), ("second", POINTER(Text)),
                ("output", c_char_p), ("prompt", c_char_p), ("max_tokens", c_size_t), ("batch_tokens", c_size_t),
                ("dimensions", c_size_t), ("y", c_void_p), ("ldy", c_size_t), ("scores", c_void_p)]


class ConvertOptions(Struct):
    _fields_ = [("struct_size", c_uint32), ("from", c_int), ("tables", c_int), ("desc", POINTER(LinearDesc)),
                ("layers", c_char_p), ("load", POINTER(ModelOptions)), ("cancel", POINTER(c_int32)), ("calibration", c_void_p),
                ("min_rows", c_size_t), ("report", c_void_p), ("report_user", c_void_p), ("share", c_double), ("form", c_void_p),
                ("form_user", c_void_p)]


class FitArgs(Struct):
    _fields_ = [("struct_size", c_uint32), ("weight", c_void_p), ("ldw", c_size_t), ("second_moment", c_void_p), ("mean", c_void_p),
                ("z", c_void_p), ("ldz", c_size_t), ("u", c_void_p), ("v", c_void_p), ("bias", c_void_p), ("error", POINTER(c_double))]


class ConvertedLayer(Struct):
    _fields_ = [("struct_size", c_uint32), ("name", c_char_p), ("reason", c_char_p), ("rows", c_size_t), ("error", c_double),
                ("desc", LinearDesc)]

    def __init__(self):
        super().__init__(desc=LinearDesc())


lib = _load()

for _name, _arguments in {
        "ss1_context_create": [POINTER(ContextOptions), POINTER(c_void_p)],
        "ss1_context_load_backend": [c_void_p, c_char_p],
        "ss1_get_info": [c_void_p, POINTER(Info)],
        "ss1_linear_resolve": [POINTER(LinearDesc), POINTER(c_size_t)],
        "ss1_project": [POINTER(LinearDesc), c_void_p, c_size_t, c_void_p, c_void_p, c_size_t],
        "ss1_expand": [POINTER(LinearDesc), c_void_p, c_size_t, c_void_p, c_size_t],
        "ss1_linear_expand": [POINTER(LinearDesc), POINTER(LinearWeights), c_void_p, c_size_t],
        "ss1_layer_create": [c_void_p, POINTER(LinearDesc), POINTER(LinearWeights), POINTER(c_void_p)],
        "ss1_layer_run": [c_void_p, POINTER(LinearArgs)],
        "ss1_tower_create": [POINTER(c_void_p), c_size_t, POINTER(c_void_p)],
        "ss1_tower_run": [c_void_p, POINTER(LinearArgs)],
        "ss1_layer_describe": [c_void_p, POINTER(LayerInfo)],
        "ss1_bags_create": [c_void_p, c_size_t, POINTER(Table), c_size_t, POINTER(c_void_p)],
        "ss1_bags_run": [c_void_p, POINTER(BagsArgs)],
        "ss1_model_load": [c_void_p, c_char_p, POINTER(ModelOptions), POINTER(c_void_p)],
        "ss1_model_load_memory": [c_void_p, POINTER(MemoryFile), c_size_t, POINTER(ModelOptions), POINTER(c_void_p)],
        "ss1_model_input": [c_void_p, c_size_t, POINTER(Tensor)],
        "ss1_model_output": [c_void_p, c_size_t, POINTER(Tensor)],
        "ss1_model_layer": [c_void_p, c_size_t, POINTER(ModelLayerInfo)],
        "ss1_model_describe": [c_void_p, POINTER(ModelInfo)],
        "ss1_model_label": [c_void_p, c_size_t, POINTER(c_char_p)],
        "ss1_model_prompt": [c_void_p, c_size_t, POINTER(c_char_p), POINTER(c_char_p)],
        "ss1_model_update_rows": [c_void_p, POINTER(UpdateRowsArgs)],
        "ss1_model_stage": [c_void_p, c_size_t, POINTER(c_char_p)],
        "ss1_linear_fit": [POINTER(LinearDesc), POINTER(FitArgs)],
        "ss1_calibration_create": [c_void_p, POINTER(c_void_p)],
        "ss1_calibration_layer": [c_void_p, c_char_p, POINTER(LayerStatistics)],
        "ss1_calibration_change": [c_void_p, POINTER(c_double)],
        "ss1_model_convert": [c_void_p, c_char_p, c_char_p, POINTER(ConvertOptions)],
        "ss1_model_expand": [c_void_p, c_char_p, POINTER(ModelOptions), c_char_p, c_void_p, c_size_t],
        "ss1_session_bytes": [c_void_p, POINTER(SessionOptions), POINTER(c_size_t)],
        "ss1_session_create": [c_void_p, POINTER(SessionOptions), POINTER(c_void_p)],
        "ss1_session_set_deadline": [c_void_p, c_double],
        "ss1_session_time_stages": [c_void_p, POINTER(c_double), c_size_t],
        "ss1_tokenizer_load": [c_void_p, c_char_p, POINTER(c_void_p)],
        "ss1_tokenizer_load_memory": [c_void_p, POINTER(MemoryFile), c_size_t, POINTER(c_void_p)],
        "ss1_tokenizer_describe": [c_void_p, POINTER(TokenizerInfo)],
        "ss1_tokenizer_token": [c_void_p, c_int64, POINTER(c_char_p)],
        "ss1_tokenizer_encode": [c_void_p, POINTER(TokenizeArgs)],
        "ss1_model_encode": [c_void_p, c_void_p, POINTER(EncodeArgs)],
        "ss1_session_run": [c_void_p, POINTER(Tensor), c_size_t, POINTER(Tensor), c_size_t]}.items():
    getattr(lib, _name).argtypes = _arguments
    getattr(lib, _name).restype = c_int

for _name in ("ss1_layer_scratch_bytes", "ss1_tower_scratch_bytes"):
    getattr(lib, _name).argtypes = [c_void_p, c_size_t]
    getattr(lib, _name).restype = c_size_t

for _name in ("ss1_context_destroy", "ss1_layer_destroy", "ss1_tower_destroy", "ss1_bags_destroy", "ss1_model_destroy",
              "ss1_session_destroy", "ss1_tokenizer_destroy", "ss1_calibration_destroy"):
    getattr(lib, _name).argtypes = [POINTER(c_void_p)]
    getattr(lib, _name).restype = None

lib.ss1_calibration_observe.argtypes = [c_void_p, POINTER(LayerRows)]
lib.ss1_calibration_observe.restype = None
lib.ss1_session_cancel.argtypes = [c_void_p]
lib.ss1_session_cancel.restype = None

for _name, _arguments in (("ss1_status_name", [c_int]), ("ss1_last_error", []), ("ss1_version", [])):
    getattr(lib, _name).argtypes = _arguments
    getattr(lib, _name).restype = c_char_p
