# SPDX-License-Identifier: Apache-2.0
# Types of __init__.py, which has the documentation. mypy.stubtest compares the two (.ci/packages).
import enum
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy
from numpy.typing import NDArray

_Self = TypeVar("_Self", bound="_Handle")
_Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_Bytes = bytes | bytearray | memoryview | NDArray[Any]
_Directory = _Path | Mapping[str, _Bytes] | Mapping[bytes, _Bytes] | Mapping[os.PathLike[str], _Bytes]
_Floats = NDArray[numpy.float32]
_Integers = NDArray[numpy.int64]
_Arrays = Mapping[str, NDArray[Any]]
_Outputs = Sequence[str] | dict[str, NDArray[Any]] | None
_Text = str | bytes
_Scheme = Literal["reference", "mixed"] | None
_Activation = Literal["none", "relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "silu"] | None
_WeightDtype = Literal["f32", "bf16", "i8", "int8"] | None
_XDtype = Literal["f32", "bf16", "f16"] | None
_YDtype = Literal["f32", "bf16"] | None
_TableDtype = Literal["f32", "bf16", "f16", "int8", "int4"]
_BlockN = int | Literal["all"]

__all__ = ["Bags", "Context", "Error", "Layer", "Model", "Session", "Status", "Tokenizer", "Tower", "expand", "fit", "project", "version"]
__version__: str

class Status(enum.IntEnum):
    INVALID_ARGUMENT = 1
    UNSUPPORTED = 2
    OUT_OF_MEMORY = 3
    BACKEND = 4
    INTERNAL = 5
    IO = 6
    FORMAT = 7
    CANCELLED = 8
    DEADLINE = 9

class Error(Exception):
    status: Status
    message: str
    def __init__(self, status: int, message: str) -> None: ...

class _Handle:
    def close(self) -> None: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, *exception: object) -> None: ...

class Context(_Handle):
    def __init__(self, num_threads: int = 0, max_isa: str | None = None, backend: str | None = None, device: int = 0,
                 log: Callable[[str, str], object] | None = None,
                 log_level: Literal["error", "warning", "info", "debug"] | None = None) -> None: ...
    def load_backend(self, name: _Path) -> None: ...
    @property
    def info(self) -> dict[str, Any]: ...

class Layer(_Handle):
    K: int
    N: int
    def __init__(self, context: Context, z: _Floats | None, bias: _Floats | None = None, *, K: int | None = None, c: int | None = None,
                 scheme: _Scheme = None, seed: int = 0, block_k: int = 0, block_n: _BlockN = 0, step: int = 0,
                 activation: _Activation = None, weight_dtype: _WeightDtype = None, u: _Floats | None = None,
                 v: _Floats | None = None, x_dtype: _XDtype = None, y_dtype: _YDtype = None) -> None: ...
    def __call__(self, x: NDArray[Any], out: NDArray[Any] | None = None, residual: NDArray[Any] | None = None) -> NDArray[Any]: ...
    @property
    def info(self) -> dict[str, Any]: ...

class Tower(_Handle):
    K: int
    N: int
    def __init__(self, layers: Sequence[Layer]) -> None: ...
    def __call__(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]: ...

def project(weight: _Floats, *, c: int, scheme: _Scheme = None, seed: int = 0, block_k: int = 0, block_n: _BlockN = 0, step: int = 0,
            second_moment: _Floats | None = None) -> _Floats: ...
def fit(weight: _Floats, *, c: int = 0, rank: int = 0, scheme: _Scheme = None, seed: int = 0, block_k: int = 0, block_n: _BlockN = 0,
        step: int = 0, second_moment: _Floats | None = None, mean: _Floats | None = None) -> dict[str, Any]: ...
def expand(z: _Floats | None, K: int | None, *, c: int | None = None, scheme: _Scheme = None, seed: int = 0, block_k: int = 0,
           block_n: _BlockN = 0, step: int = 0, u: _Floats | None = None, v: _Floats | None = None) -> _Floats: ...

class Bags(_Handle):
    d: int
    def __init__(self, context: Context, d: int, tables: Mapping[str, NDArray[Any]], dtype: _TableDtype = "f32",
                 pooling: Literal["sum", "mean"] = "sum") -> None: ...
    def __call__(self, indices: _Integers, offsets: _Integers, weights: _Floats | None = None, out: _Floats | None = None) -> _Floats: ...

class Model(_Handle):
    inputs: dict[str, tuple[numpy.dtype[Any], tuple[int, ...]]]
    outputs: dict[str, tuple[numpy.dtype[Any], tuple[int, ...]]]
    def __init__(self, context: Context, directory: _Directory, random_weights: bool = False, seed: int = 0,
                 weight_dtype: _WeightDtype = None, map_tables: bool = False) -> None: ...
    def run(self, inputs: _Arrays, outputs: _Outputs = None) -> dict[str, NDArray[Any]]: ...
    def update_rows(self, table: str, rows: NDArray[numpy.int64], values: _Floats) -> None: ...
    def encode(self, texts: Sequence[_Text], prompt: str | None = None, *, dimensions: int = 0, max_tokens: int = 0,
               batch_tokens: int = 0) -> _Floats: ...
    def predict(self, texts: Sequence[_Text] | Sequence[tuple[_Text, _Text]], *, raw: bool = False, max_tokens: int = 0, batch_tokens: int = 0) -> _Floats: ...
    def rank(self, query: _Text, texts: Sequence[_Text], top: int | None = None, *, max_tokens: int = 0,
             batch_tokens: int = 0) -> list[dict[str, Any]]: ...
    @property
    def info(self) -> dict[str, Any]: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def prompts(self) -> dict[str, str]: ...
    @property
    def stages(self) -> list[str]: ...
    @property
    def layers(self) -> list[dict[str, Any]]: ...

class Session(_Handle):
    bytes: int
    def __init__(self, model: Model, max_batch: int = 1, max_tokens: int = 0) -> None: ...
    def run(self, inputs: _Arrays, outputs: _Outputs = None) -> dict[str, NDArray[Any]]: ...
    def cancel(self) -> None: ...
    def set_deadline(self, seconds: float) -> None: ...
    def time_stages(self, count: int | None = None) -> NDArray[numpy.float64]: ...

class Tokenizer(_Handle):
    def __init__(self, context: Context, directory: _Directory) -> None: ...
    @property
    def info(self) -> dict[str, Any]: ...
    def __call__(self, first: Sequence[_Text], second: Sequence[_Text] | None = None, max_tokens: int = 0) -> dict[str, _Integers]: ...
    def with_offsets(self, first: Sequence[_Text], second: Sequence[_Text] | None = None,
                     max_tokens: int = 0) -> tuple[dict[str, _Integers], _Integers]: ...
    def tokens(self, ids: Sequence[int] | _Integers) -> list[str]: ...

def version() -> str: ...
