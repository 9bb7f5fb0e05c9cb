# SPDX-License-Identifier: Apache-2.0
"""SS1 linear layers, DLRM and BERT inference on the CPU: a thin package over the C API (include/ss1/ss1.h).

    import numpy, ss1
    with ss1.Context() as context, ss1.Model(context, "examples/models/insteval-ss1") as model:
        session = ss1.Session(model, max_batch=2)
        session.run({"dense_x": numpy.zeros((2, 3), numpy.float32),
                     "indices": numpy.zeros(12, numpy.int64),
                     "offsets": numpy.arange(12).reshape(6, 2)})      # {"probability": array of 2}

Arrays pass by pointer, without copy or conversion: another type or a wrong layout is an Error with a message.
Calls release the interpreter lock. Many threads may use a context, layer, tower, model or tokenizer at once, one
thread at a time a session: model.run(inputs) takes one from a pool, for any number of threads. Any of them may be closed while
other threads use it: their calls end as if it were open, and later ones raise an Error ("Layer is closed").
The library is $SS1_LIBRARY, else libss1.so beside this file, else the one installed with this package, else the one that the
system's linker finds.
"""
import collections
import collections.abc
import ctypes
import enum
import math
import os

import numpy

from . import _capi
from ._capi import lib as _lib

__all__ = ["Bags", "Context", "Error", "Layer", "Model", "Session", "Status", "Tokenizer", "Tower", "expand", "fit", "project", "version"]

_SCHEMES = {None: 0, **{name: number for name, number in _capi.SCHEME.items() if name != "default"}}
_ACTIVATIONS = {None: 0, **_capi.ACTIVATION}
_LOG_LEVELS = {None: 0, **_capi.LOG_LEVEL}
_WEIGHT_DTYPES = {None: 0, **{name: _capi.DTYPE[name] for name in ("f32", "bf16", "i8")}, "int8": _capi.DTYPE["i8"]}
_X_DTYPES = {None: 0, **{name: _capi.DTYPE[name] for name in ("f32", "bf16", "f16")}}
_Y_DTYPES = {None: 0, **{name: _capi.DTYPE[name] for name in ("f32", "bf16")}}
_TABLE_DTYPES = {name: number for name, number in _capi.TABLE_DTYPE.items() if name != "default"}
_ARRAYS = {"f32": numpy.float32, "bf16": numpy.uint16, "f16": numpy.float16, "int8": numpy.uint8, "int4": numpy.uint8}
# A cast to these types would not convert: they hold the bits of bf16 values and packed rows.
_BITS = {numpy.dtype(numpy.uint16): "the bits of bf16 values", numpy.dtype(numpy.uint8): "the bytes of packed rows"}
_POOLINGS = _capi.POOLING
_NAMES = {"scheme": _SCHEMES, "activation": _ACTIVATIONS, "weight_dtype": _WEIGHT_DTYPES, "x_dtype": _X_DTYPES, "y_dtype": _Y_DTYPES}
_DTYPES = {1: numpy.dtype(numpy.float32), 7: numpy.dtype(numpy.int64)}  # those that models take and give
_DTYPE_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}
_BLOCK_N_ALL = 2**32 - 1


class Status(enum.IntEnum):
    """The kind of an error; the numbers are the C API's."""
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
    """A call failed and changed nothing.

        try:
            ss1.Model(context, "nowhere")
        except ss1.Error as error:
            error.status, error.message     # Status.IO, "ss1_model_load: ..."
    """

    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = Status(status), message

    def __reduce__(self):  # processes hand exceptions over pickled
        return type(self), (int(self.status), self.message)


def _check(status):
    if status:
        raise Error(status, _lib.ss1_last_error().decode(errors="replace"))


def _refuse(message):
    raise Error(Status.INVALID_ARGUMENT, message)


def _require(holds, message):
    if not holds:
        _refuse(message)


def _unsigned(name, value, bits=32):
    """`value` as the C API's unsigned integer; ctypes alone would let -1 wrap around in silence."""
    _require(isinstance(value, (int, numpy.integer)) and 0 <= value < 2**bits,
             f"{name}={value!r} is not an integer of 0 to 2^{bits}-1")
    return int(value)


def _signed(name, value, bits):
    _require(isinstance(value, (int, numpy.integer)) and -2**(bits - 1) <= value < 2**(bits - 1),
             f"{name}={value!r} is not an integer of {bits} bits")
    return int(value)


def _text(name, value):
    """A str, bytes or path as the C API's string, which ends at the first zero byte."""
    data = os.fsencode(value)
    _require(b"\0" not in data, f"{name}={value!r} has a zero byte")
    return data


def _memory_files(files):
    """(C structs of {name: contents}, the arrays that keep the contents alive)."""
    structs, arrays = _capi.array(_capi.MemoryFile, len(files)), []
    for struct, (name, contents) in zip(structs, files.items()):
        _require(isinstance(name, (str, bytes, os.PathLike)), f"directory: the name {name!r} of a file must be a str, bytes or path")
        try:
            array = numpy.frombuffer(contents, numpy.uint8)
        except (TypeError, ValueError, BufferError):
            _refuse(f"directory[{name!r}] must be bytes or another contiguous buffer, not {type(contents).__name__}")
        arrays.append(array)
        struct.name, struct.data, struct.bytes = _text("directory", name), array.ctypes.data, array.nbytes
    return structs, arrays


def _name_of(name, value, names):
    _require(value in names, f"{name}={value!r} is none of {', '.join(str(known) for known in names)}")
    return names[value]


def _key(names, number):
    return next(name for name, known in names.items() if known == number)


def _array(name, array, dtype, rank=None):
    # Every array of every call comes by here, and numpy takes some 10 us to print a dtype: messages only where needed.
    if not isinstance(array, numpy.ndarray):
        _refuse(f"{name}: must be a numpy array, not {type(array).__name__}")
    if array.dtype != dtype:
        dtype = numpy.dtype(dtype)
        how = f", {_BITS[dtype]}" if dtype in _BITS else f"; convert it with {name}.astype({dtype.name!r})"
        if array.dtype == bool and dtype == numpy.int64:
            how = f"; numpy.flatnonzero({name}) gives the numbers of a mask"
        _refuse(f"{name}: has type {array.dtype}, must be {dtype}{how}")
    if rank is not None and array.ndim != rank:
        _refuse(f"{name}: has {array.ndim} dimensions, must have {rank}")
    return array


def _contiguous(name, array):
    _require(array.flags.c_contiguous, f"{name}: is not C-contiguous; copy it with numpy.ascontiguousarray({name})")
    return array.ctypes.data


def _matrix(name, array, shape, written=False, dtype=numpy.float32):
    """(pointer, leading dimension) of a matrix whose rows are contiguous and may lie apart; None matches any size."""
    _array(name, array, dtype, 2)
    _require(all(want in (None, got) for want, got in zip(shape, array.shape)),
             f"{name}: has shape {array.shape}, must be {tuple('any' if want is None else want for want in shape)}")
    _require(not written or array.flags.writeable, f"{name}: is read-only")
    rows, columns = array.shape
    size = array.itemsize
    if array.size == 0:
        return array.ctypes.data, columns
    # numpy gives meaningless strides to axes of length 1.
    _require(columns == 1 or array.strides[1] == size,
             f"{name}: rows are not contiguous (strides {array.strides}); copy it with numpy.ascontiguousarray({name})")
    leading = array.strides[0] // size if rows > 1 else columns
    _require(rows == 1 or (array.strides[0] % size == 0 and leading >= columns),
             f"{name}: row stride of {array.strides[0]} bytes is not a multiple of {size} or is shorter than a row")
    return array.ctypes.data, leading


def _desc(K, N, c, scheme, seed, block_k, block_n, step, activation=None, weight_dtype=None, x_dtype=None, y_dtype=None, rank=0):
    """A resolved ss1_linear_desc and its number of stored columns."""
    desc = _capi.LinearDesc(
        K=_unsigned("K", K, 64), N=_unsigned("N", N, 64), c=_unsigned("c", c),
        scheme=_name_of("scheme", scheme, _SCHEMES), seed=_unsigned("seed", seed), block_k=_unsigned("block_k", block_k),
        block_n=_BLOCK_N_ALL if block_n == "all" else _unsigned("block_n", block_n), step=_unsigned("step", step),
        activation=_name_of("activation", activation, _ACTIVATIONS),
        weight_dtype=_name_of("weight_dtype", weight_dtype, _WEIGHT_DTYPES), x_dtype=_name_of("x_dtype", x_dtype, _X_DTYPES),
        y_dtype=_name_of("y_dtype", y_dtype, _Y_DTYPES), rank=rank)
    stored_columns = ctypes.c_size_t()
    _check(_lib.ss1_linear_resolve(desc, stored_columns))
    return desc, stored_columns.value


def _stored(z, u, v, K, c, *mapping):
    """(desc, weights) of a layer with z [N, Kz], u [N, rank] and v [rank, K]. Without z, or without u and v, it lacks that part."""
    _require((u is None) == (v is None), "u and v: must be given together")
    _require(z is not None or u is not None, "z: must be given, or u and v")
    for name, array in (("z", z), ("u", u), ("v", v)):
        if array is not None:
            _array(name, array, numpy.float32, 2)
    c = (0 if z is None else 1) if c is None else c
    _require(z is not None or c == 0, f"c={c}: a layer without z has no tied part, leave c out")
    _require(K is not None or c == 1 or v is not None, "K: must be given for c > 1, the shape of z does not tell it")
    if K is None:
        K = z.shape[1] if v is None else v.shape[1]
    rank = 0 if u is None else u.shape[1]
    desc, stored_columns = _desc(K, len(u if z is None else z), c, *mapping, rank=rank)
    weights = _capi.LinearWeights()
    if z is not None:
        weights.z, weights.ldz = _matrix("z", z, (desc.N, stored_columns))
    for name, array, shape in (("u", u, (desc.N, rank)), ("v", v, (rank, K))):
        if array is not None:
            _matrix(name, array, shape)
            setattr(weights, name, _contiguous(name, array))
    return desc, weights


def _fields(struct):
    """A description as a dict: strings decoded, descriptors nested."""
    result = {name: getattr(struct, name) for name, _ in struct._fields_ if name != "struct_size"}
    for name, value in result.items():
        if isinstance(value, bytes):
            result[name] = value.decode(errors="replace")
        elif isinstance(value, _capi.Struct):
            result[name] = _fields(value)
        elif name in _NAMES:
            result[name] = _key(_NAMES[name], value)
    return result


class _Native(ctypes.c_void_p):
    """The pointer to one C object, which it destroys, and what this one needs: other C objects, memory, callbacks.

    Python's count of references is the count of the calls in flight. A call has one for as long as C has the pointer, because
    the pointer is its argument; the last to let go destroys the object. That costs a call nothing, no exception and no
    interrupt can leave the count wrong, and builds without the interpreter lock count atomically, too. Whoever reads memory of the
    object after a call, such as a name, holds the pointer in a variable until then.
    """

    def __init__(self, destroy, *needs):
        super().__init__()  # NULL, which every destroy function accepts; a create function writes here
        self._destroy, self._needs = destroy, needs

    def __del__(self):
        self._destroy(self)


class _Handle:
    """Has one C object until close(). Leaving a `with` block closes it, and so does garbage collection."""
    _handle = None

    @property
    def _pointer(self):
        handle = self._handle  # read once: another thread may close the object at any time
        if handle is None:
            _refuse(f"{type(self).__name__} is closed")
        return handle

    def close(self):
        """Give the object up; it cannot be used afterwards. Calls that other threads are inside of end as if it were open, and the
        last of them frees its memory. Closing twice is fine."""
        self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Context(_Handle):
    """Threads, instruction sets and backend of what is made from it.

        context = ss1.Context(num_threads=4, log=lambda level, message: print(message), log_level="info")
        context.info["cpu"], context.info["isas"]

    num_threads 0 means as many as the affinity mask and the cgroup quota allow. max_isa limits the instruction set ("avx2",
    "none", ...); log(level, message) is called with a level name for messages up to log_level.
    """

    def __init__(self, num_threads=0, max_isa=None, backend=None, device=0, log=None, log_level=None):
        def forward(user, level, message):
            log(_key(_LOG_LEVELS, level), message.decode(errors="replace"))

        log_function = _capi.LogFunction(forward) if log else _capi.LogFunction()  # () is NULL: silence
        options = _capi.ContextOptions(
            num_threads=_unsigned("num_threads", num_threads), max_isa=_text("max_isa", max_isa) if max_isa else None, log=log_function,
            backend=_text("backend", backend) if backend else None, device=_signed("device", device, 32), log_level=_name_of("log_level", log_level, _LOG_LEVELS))
        # What is made from this context needs it, and so keeps the log for as long as C may call it.
        handle = _Native(_lib.ss1_context_destroy, log_function)
        _check(_lib.ss1_context_create(options, handle))
        self._handle = handle

    def load_backend(self, name):
        """Use a backend plugin ("cuda", or a path) for the layers made from now on."""
        _check(_lib.ss1_context_load_backend(self._pointer, _text("name", name)))

    @property
    def info(self):
        """What the context decided: threads and why, and isas, backends, kernels as [{name, used, reason}]."""
        info, handle = _capi.Info(), self._pointer
        _check(_lib.ss1_get_info(handle, info))
        result = _fields(info)
        for name in ("isas", "backends", "kernels"):
            items, count = result[name], result.pop(f"n_{name}")
            result[name] = [_fields(items[i]) for i in range(count)]
        return result


class Layer(_Handle):
    """One linear layer y = activation(x . W + b), W tied c-fold; z is [N, Kz] as ss1.torch.Linear stores it.

        layer = ss1.Layer(context, z, bias, K=1024, c=4, activation="relu")
        layer = ss1.Layer(context, z, bias, c=8, u=up, v=down)      # W has u v added: u [N, rank], v [rank, K]
        layer = ss1.Layer(context, None, bias, u=up, v=down)        # W = u v alone
        y = layer(x)                    # [M, N] for x [M, K]
        layer(x[:, :1024], out=y)       # rows may lie apart, in x as in out
        layer(x, residual=r)            # y + r, r [M, N]

    For c = 1, the default, z is the dense weight [N, K] and K may be left out; v tells it, too. 0 and None stand for the library's defaults, which
    layer.info shows resolved, with the kernels that were chosen. block_n may be "all". The weights are copied;
    weight_dtype "bf16" or "int8" (also "i8") rounds them. x and y are float32. With x_dtype "f16" x is float16. With x_dtype
    "bf16" x is uint16, the bits of bf16 values; so are y and the residual with y_dtype "bf16". Layers of a Tower may pass these on.
    """

    def __init__(self, context, z, bias=None, *, K=None, c=None, scheme=None, seed=0, block_k=0, block_n=0, step=0,
                 activation=None, weight_dtype=None, u=None, v=None, x_dtype=None, y_dtype=None):
        desc, weights = _stored(z, u, v, K, c, scheme, seed, block_k, block_n, step, activation, weight_dtype, x_dtype, y_dtype)
        self._x_array, self._y_array = _ARRAYS[x_dtype or "f32"], _ARRAYS[y_dtype or "f32"]
        self.K, self.N = desc.K, desc.N
        if bias is not None:
            _array("bias", bias, numpy.float32, 1)
            _require(len(bias) == self.N, f"bias: has {len(bias)} elements, must have N={self.N}")
            weights.bias = _contiguous("bias", bias)
        parent = context._pointer
        handle = _Native(_lib.ss1_layer_destroy, parent)
        _check(_lib.ss1_layer_create(parent, desc, weights, handle))
        self._handle = handle

    def __call__(self, x, out=None, residual=None):
        """y for the rows of x, plus `residual` [M, N]; written to `out` [M, N] if given, which may be `residual` itself."""
        out, arguments = _linear_args(self, self, x, out)
        if residual is not None:
            arguments.residual, arguments.ldr = _matrix("residual", residual, out.shape, dtype=self._y_array)
        _check(_lib.ss1_layer_run(self._pointer, arguments))
        return out

    @property
    def info(self):
        """What the layer chose: desc with all defaults resolved, kernels, stored_columns, weight_bytes, flops."""
        info, handle = _capi.LayerInfo(), self._pointer
        _check(_lib.ss1_layer_describe(handle, info))
        return _fields(info)


def _linear_args(first, last, x, out):
    """(out, arguments of a run from x of the first layer to y of the last); makes `out` [M, N] if it is None."""
    x_pointer, ldx = _matrix("x", x, (None, first.K), dtype=first._x_array)
    if out is None:
        out = numpy.empty((len(x), last.N), last._y_array)
    y_pointer, ldy = _matrix("out", out, (len(x), last.N), written=True, dtype=last._y_array)
    return out, _capi.LinearArgs(m=len(x), x=x_pointer, ldx=ldx, y=y_pointer, ldy=ldy)


class Tower(_Handle):
    """Layers that run in sequence, such as an MLP: each row's bits are those of the single layers, but faster.

        tower = ss1.Tower([ss1.Layer(context, z1, K=512, c=4, activation="relu"), ss1.Layer(context, z2)])
        y = tower(x)                    # [M, N of the last layer] for x [M, K of the first one]

    All layers are of one context; N and y_dtype of each are K and x_dtype of the next. A tower keeps the memory of its
    layers; once one of them is closed, it takes no more calls.
    """

    def __init__(self, layers):
        self._layers = list(layers)
        for i, layer in enumerate(self._layers):
            _require(isinstance(layer, Layer), f"layers[{i}]: must be a Layer, not {type(layer).__name__}")
        _require(self._layers, "layers: a tower has at least one layer")
        self.K, self.N = self._layers[0].K, self._layers[-1].N
        parts = [layer._pointer for layer in self._layers]
        handle = _Native(_lib.ss1_tower_destroy, parts)
        _check(_lib.ss1_tower_create((ctypes.c_void_p * len(parts))(*(part.value for part in parts)), len(parts), handle))
        self._handle = handle

    def __call__(self, x, out=None):
        """y for the rows of x; written to `out` [M, N] if given."""
        for layer in self._layers:
            layer._pointer  # an Error if the layer is closed
        out, arguments = _linear_args(self._layers[0], self._layers[-1], x, out)
        _check(_lib.ss1_tower_run(self._pointer, arguments))
        return out


def project(weight, *, c, scheme=None, seed=0, block_k=0, block_n=0, step=0, second_moment=None):
    """The stored form [N, Kz] nearest to a dense weight [N, K].

        z = ss1.project(linear.weight.detach().numpy(), c=4, seed=1)
        z = ss1.project(weight, c=4, seed=1, second_moment=x.T @ x / len(x))    # nearest in the output for rows x
    """
    N, K = _array("weight", weight, numpy.float32, 2).shape
    desc, stored_columns = _desc(K, N, c, scheme, seed, block_k, block_n, step)
    pointer, leading = _matrix("weight", weight, (N, K))
    moment = None
    if second_moment is not None:
        _matrix("second_moment", second_moment, (K, K))
        moment = _contiguous("second_moment", second_moment)
    z = numpy.empty((N, stored_columns), numpy.float32)
    _check(_lib.ss1_project(desc, pointer, leading, moment, z.ctypes.data, stored_columns))
    return z


def fit(weight, *, c=0, rank=0, scheme=None, seed=0, block_k=0, block_n=0, step=0, second_moment=None, mean=None):
    """The parts of a layer W = T(Z) + V U nearest to a dense weight [N, K], as a dict: z [N, Kz], u [N, rank], v [rank, K], bias
    [N], what to add to the layer's bias, and the error. Parts that the layer does not have are None.

        parts = ss1.fit(weight, rank=32, second_moment=x.T @ x / len(x), mean=x.mean(0))     # x: rows that the layer reads
        layer = ss1.Layer(context, parts["z"], bias + parts["bias"], u=parts["u"], v=parts["v"])

    Nearest means in the outputs for inputs of this second moment [K, K], or without it in the weight. mean [K]: the bias takes
    the difference of the mean outputs. error: the mean square of the outputs' difference over that of the outputs; with a
    mean, over their variance. c = 0: no tied part.
    """
    N, K = _array("weight", weight, numpy.float32, 2).shape
    desc, stored_columns = _desc(K, N, c, scheme, seed, block_k, block_n, step, rank=_unsigned("rank", rank, 64))
    _require(mean is None or second_moment is not None, "mean: needs second_moment")
    arguments, error = _capi.FitArgs(), ctypes.c_double()
    arguments.weight, arguments.ldw = _matrix("weight", weight, (N, K))
    if second_moment is not None:
        _matrix("second_moment", second_moment, (K, K))
        arguments.second_moment = _contiguous("second_moment", second_moment)
    if mean is not None:
        _array("mean", mean, numpy.float32, 1)
        _require(mean.shape == (K,), f"mean: has shape {mean.shape}, must be {(K,)}")
        arguments.mean = _contiguous("mean", mean)
    shapes = {"z": (N, stored_columns), "u": (N, rank), "v": (rank, K), "bias": (N if mean is not None else 0,)}
    parts = {name: numpy.empty(shape, numpy.float32) if all(shape) else None for name, shape in shapes.items()}
    for name, array in parts.items():
        if array is not None:
            setattr(arguments, name, array.ctypes.data)
    arguments.error = ctypes.pointer(error)
    _check(_lib.ss1_linear_fit(desc, arguments))
    return {**parts, "error": error.value}


def expand(z, K, *, c=None, scheme=None, seed=0, block_k=0, block_n=0, step=0, u=None, v=None):
    """The dense weight [N, K] that stored weights z [N, Kz], u [N, rank] and v [rank, K] stand for, see Layer.

        numpy.testing.assert_allclose(layer(x), x @ ss1.expand(z, 1024, c=4, seed=1).T + bias, rtol=1e-4)
    """
    desc, weights = _stored(z, u, v, K, c, scheme, seed, block_k, block_n, step)
    weight = numpy.empty((desc.N, desc.K), numpy.float32)
    _check(_lib.ss1_linear_expand(desc, weights, weight.ctypes.data, desc.K))
    return weight


class Bags(_Handle):
    """Embedding bags: sums (or means) of rows of tables of one width d.

        bags = ss1.Bags(context, 64, {"user": users, "item": items})    # float32 [rows, 64] each
        y = bags(indices, offsets)      # [B, 2 * 64]; indices int64 [total], offsets int64 [2, B], as a DLRM takes them

    dtype says how rows are held: "f32" float32, "f16" float16, "bf16" uint16 (the bits) [rows, d]; "int8" uint8
    [rows, d + 8], "int4" uint8 [rows, ceil(d/2) + 4], as torch.ops.quantized.embedding_bag_byte_prepack and
    _4bit_prepack make them. Tables are not copied.
    """

    def __init__(self, context, d, tables, dtype="f32", pooling="sum"):
        self._tables, self.d = dict(tables), _unsigned("d", d, 64)
        number = _name_of("dtype", dtype, _TABLE_DTYPES)
        columns = {"int8": d + 8, "int4": (d + 1) // 2 + 4}.get(dtype, d)
        described = _capi.array(_capi.Table, max(len(self._tables), 1))
        for entry, (name, table) in zip(described, self._tables.items()):
            _array(name, table, _ARRAYS[dtype], 2)
            _require(table.shape[1] == columns, f"{name}: has {table.shape[1]} columns, must have {columns}")
            entry.name, entry.dtype, entry.pooling = _text("table", name), number, _name_of("pooling", pooling, _POOLINGS)
            entry.rows, entry.data = len(table), _contiguous(name, table)
        parent = context._pointer
        handle = _Native(_lib.ss1_bags_destroy, parent, self._tables)
        _check(_lib.ss1_bags_create(parent, self.d, described, len(self._tables), handle))
        self._handle = handle

    def __call__(self, indices, offsets, weights=None, out=None):
        """y [B, tables * d]; weights float32 [total] are factors of the rows. Written to `out` if that is given."""
        total = len(_array("indices", indices, numpy.int64, 1))
        batch = _array("offsets", offsets, numpy.int64, 2).shape[1]
        _require(len(offsets) == len(self._tables), f"offsets: has {len(offsets)} rows, must have {len(self._tables)}")
        if weights is not None:
            _require(len(_array("weights", weights, numpy.float32, 1)) == total,
                     f"weights: has {len(weights)} elements, must have {total}")
        columns = len(self._tables) * self.d
        if out is None:
            out = numpy.empty((batch, columns), numpy.float32)
        y, ldy = _matrix("out", out, (batch, columns), written=True)
        _check(_lib.ss1_bags_run(self._pointer, _capi.BagsArgs(
            batch=batch, total=total, indices=_contiguous("indices", indices), offsets=_contiguous("offsets", offsets),
            weights=None if weights is None else _contiguous("weights", weights), y=y, ldy=ldy)))
        return out


class Model(_Handle):
    """A model directory (DLRM, BERT or a relative), loaded once and shared by any number of sessions and threads.

        model = ss1.Model(context, "examples/models/insteval-ss1")
        model.info["family"], model.inputs, [layer["name"] for layer in model.layers]

    inputs and outputs are {name: (dtype, shape)} with -1 where a size varies. random_weights=True needs config.json only.
    weight_dtype "f32", "bf16" or "int8" holds every linear layer's weights so; None: as config.json says.
    map_tables=True leaves a DLRM's embedding tables in their files, which must then stay unchanged.
    directory may also be the directory's files in memory, {"config.json": bytes, "model.safetensors": bytes, ...}; with
    map_tables=True the tables then stay in these buffers.
    """
    _idle = ()

    def __init__(self, context, directory, random_weights=False, seed=0, weight_dtype=None, map_tables=False):
        self._context, self._directory, self._tokenizer = context, directory, None
        options = _capi.ModelOptions(random_weights=bool(random_weights), seed=_unsigned("seed", seed, 64),
                                     weight_dtype=_name_of("weight_dtype", weight_dtype, _WEIGHT_DTYPES),
                                     map_tables=bool(map_tables))
        parent = context._pointer
        if isinstance(directory, collections.abc.Mapping):
            structs, buffers = _memory_files(directory)
            handle = _Native(_lib.ss1_model_destroy, parent, buffers if map_tables else None)
            _check(_lib.ss1_model_load_memory(parent, structs, len(structs), options, handle))
            # encode() makes its tokenizer of these; the weights may go.
            self._directory = {name: data for name, data in directory.items() if not os.fsdecode(name).endswith(".safetensors")}
        else:
            handle = _Native(_lib.ss1_model_destroy, parent)
            _check(_lib.ss1_model_load(parent, _text("directory", directory), options, handle))
        self._handle = handle
        self.inputs = self._tensors(_lib.ss1_model_input, self.info["n_inputs"])
        self.outputs = self._tensors(_lib.ss1_model_output, self.info["n_outputs"])
        # Sessions for run(). A deque needs no lock, which a child of fork() could find taken.
        self._idle, self._bounds, self._max_tokens = collections.deque(), (1, 0), self.info["max_tokens"]

    def run(self, inputs, outputs=None):
        """Run the model as Session.run() does, from any number of threads at once.

            with concurrent.futures.ThreadPoolExecutor() as threads:
                results = list(threads.map(model.run, requests))

        The model keeps a session for each of the calls that ever ran at once. A session holds the largest batch and the
        longest sequence so far, rounded up to powers of two; only first calls and larger ones allocate. close() gives the
        idle sessions up. Use a Session to bound the memory, to set a deadline or to cancel.
        """
        self._pointer  # an Error if the model is closed
        given = Session._tensors("inputs", inputs, self.inputs)
        session = self._session_for(*(_varying_sizes(self.inputs, inputs) + [0, 0])[:2])
        try:
            return session._run(given, inputs, outputs)
        finally:
            self._idle.append(session)
            if self._handle is None:  # looked at after the append: close() may have cleared the pool before it
                self._idle.clear()

    def update_rows(self, table, rows, values):
        """Replace rows of an embedding table of a DLRM, also while other threads run the model.

            model.update_rows("item", numpy.array([3, 17]), vectors)    # float32 [2, embedding_dim]

        A run finds each row old or new, never a mixture; a run that begins afterwards finds the new ones. Values are rounded or
        quantised to the table's dtype. On an error no row has changed. The files of the model never change.
        """
        n = len(_array("rows", rows, numpy.int64, 1))
        pointer, ldv = _matrix("values", values, (n, None))
        _check(_lib.ss1_model_update_rows(self._pointer, _capi.UpdateRowsArgs(
            table=_text("table", table), n=n, rows=_contiguous("rows", rows), values=pointer, d=values.shape[1], ldv=ldv)))

    def encode(self, texts, prompt=None, *, dimensions=0, max_tokens=0, batch_tokens=0):
        """float32 [n, d]: the sentence embedding of each of a list of texts, for a directory of sentence-transformers.

            documents = model.encode(["The tar command unpacks archives.", ...], prompt="document")
            query = model.encode(["How do I unpack a tar file?"], prompt="query")
            best = (documents @ query[0]).argsort()[::-1]

        prompt is the name of a prompt of the model, or "query" or "document", which every model understands; "" is none, None the
        model's default. dimensions keeps the first numbers alone. Texts of similar length run together, batch_tokens
        tokens at a time (0: 4096). A row does not depend on the other texts.
        """
        return self._encode("sentence_embedding", self.info["embedding_size"], texts, None, prompt, dimensions, max_tokens, batch_tokens)[0]

    def predict(self, texts, *, raw=False, max_tokens=0, batch_tokens=0):
        """The scores of a classifier for a list of texts, or of pairs (text, text): float32 [n], or [n, labels] with more labels.

        A score is the logit under the activation that sentence-transformers' CrossEncoder would use (info["score_activation"]); raw
        gives the logits themselves. The model's default prompt, if it has one, is put in front of the (first) texts.
        """
        logits, scores = self._judge(texts, max_tokens, batch_tokens, scores=not raw)
        chosen = logits if raw else scores
        return chosen[:, 0] if chosen.shape[1] == 1 else chosen

    def rank(self, query, texts, top=None, *, max_tokens=0, batch_tokens=0):
        """The texts by their relevance to the query, for a CrossEncoder with one label: [{"index", "score", "logit"}], the best first."""
        _require(self.info["n_labels"] == 1, f"rank needs a classifier with one label, this model has {self.info['n_labels']}")
        _require(not isinstance(texts, (str, bytes)), "texts: must be a list of texts, not one text")
        _require(top is None or _unsigned("top", top, 63) > 0, f"top={top}: must be at least 1, or None for all")
        logits, scores = self._judge([(query, text) for text in texts], max_tokens, batch_tokens)
        order = numpy.argsort(-logits[:, 0], kind="stable")[:top]
        return [{"index": int(i), "score": float(scores[i, 0]), "logit": float(logits[i, 0])} for i in order]

    def _judge(self, texts, max_tokens, batch_tokens, scores=True):
        _require(self.info["score_activation"], "the model is no classifier of texts")
        pairs = len(texts) > 0 and isinstance(texts[0], (tuple, list))
        for i, text in enumerate(texts):
            _require(isinstance(text, (tuple, list)) == pairs, f"texts[{i}]: texts and pairs of texts are mixed")
            _require(not pairs or len(text) == 2, f"texts[{i}]: has {len(text) if pairs else 1} texts, a pair has 2")
        first, second = ([text[0] for text in texts], [text[1] for text in texts]) if pairs else (texts, None)
        return self._encode("logits", self.info["n_labels"], first, second, None, 0, max_tokens, batch_tokens, scores)

    def _encode(self, output, width, first, second, prompt, dimensions, max_tokens, batch_tokens, scores=False):
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(self._context, self._directory)
        dimensions = _unsigned("dimensions", dimensions, 64)
        _require(dimensions <= width or not width, f"dimensions={dimensions} is above the model's {width}")
        y = numpy.empty((len(first), min(dimensions or width, width)), numpy.float32)
        scored = numpy.empty_like(y) if scores else None
        _check(_lib.ss1_model_encode(self._pointer, self._tokenizer._pointer, _capi.EncodeArgs(
            n=len(first), first=Tokenizer._texts("texts", first), second=None if second is None else Tokenizer._texts("texts", second),
            output=output.encode(), prompt=None if prompt is None else _text("prompt", prompt), dimensions=dimensions,
            max_tokens=_unsigned("max_tokens", max_tokens, 64), batch_tokens=_unsigned("batch_tokens", batch_tokens, 64),
            y=y.ctypes.data, scores=scored.ctypes.data if scores else None)))
        return y, scored

    def _session_for(self, batch, tokens):
        tokens = min(tokens, self._max_tokens)
        try:
            session = self._idle.pop()
        except IndexError:
            session = None
        if session is None or batch > session._bounds[0] or tokens > session._bounds[1]:
            if session is not None:
                session.close()
            batch, tokens = (1 << (size - 1).bit_length() if size else 0 for size in (batch, tokens))
            self._bounds = max(self._bounds[0], batch), max(self._bounds[1], min(tokens, self._max_tokens))
            session = Session(self, *self._bounds)
        return session

    def close(self):
        """Give the model and the idle sessions of run() up; sessions of your own live on. Calls that other threads are inside of
        end as if it were open. Closing twice is fine."""
        super().close()
        if self._idle:
            self._idle.clear()

    def _tensors(self, describe, count):
        result, handle = {}, self._pointer
        for i in range(count):
            tensor = _capi.Tensor()
            _check(describe(handle, i, tensor))
            result[tensor.name.decode()] = _DTYPES[tensor.dtype], tuple(tensor.shape[:tensor.rank])
        return result

    @property
    def info(self):
        """family, config (the text of config.json), weight_bytes, parameters, limits and the numbers of inputs, outputs, layers."""
        info, handle = _capi.ModelInfo(), self._pointer
        _check(_lib.ss1_model_describe(handle, info))
        return _fields(info)

    @property
    def labels(self):
        """Names of the classes of a classifier's logits; [] for other models."""
        result, handle = [], self._pointer
        for i in range(self.info["n_labels"]):
            label = ctypes.c_char_p()
            _check(_lib.ss1_model_label(handle, i, label))
            result.append(label.value.decode(errors="replace"))
        return result

    @property
    def prompts(self):
        """{name: text} that config_sentence_transformers.json gives to be put in front of texts; {} for other models."""
        result, handle = {}, self._pointer
        for i in range(self.info["n_prompts"]):
            name, text = ctypes.c_char_p(), ctypes.c_char_p()
            _check(_lib.ss1_model_prompt(handle, i, name, text))
            result[name.value.decode(errors="replace")] = text.value.decode(errors="replace")
        return result

    @property
    def stages(self):
        """Names of the stages of a run, in the order of Session.time_stages: ["lookup", "bottom", ...]."""
        result = []
        for i in range(self.info["n_stages"]):
            name = ctypes.c_char_p()
            _check(_lib.ss1_model_stage(self._pointer, i, name))
            result.append(name.value.decode())
        return result

    @property
    def layers(self):
        """The linear layers in the order of execution: [{name, layer}], layer as in Layer.info."""
        result, handle = [], self._pointer
        for i in range(self.info["n_layers"]):
            info = _capi.ModelLayerInfo()
            _check(_lib.ss1_model_layer(handle, i, info))
            result.append(_fields(info))
        return result


def _varying_sizes(specs, inputs):
    """The sizes that vary, in order: those of `offsets` (DLRM) or of the first input; [] if it is missing."""
    first = "offsets" if "offsets" in specs else next(iter(specs))
    return [got for got, want in zip(inputs[first].shape, specs[first][1]) if want < 0] if first in inputs else []


class Session(_Handle):
    """The activations of one caller, all allocated at once; used by one thread at a time.

        session = ss1.Session(model, max_batch=32)
        outputs = session.run({"input_ids": ids, "attention_mask": mask})
        outputs["last_hidden_state"], outputs["pooled"]

    max_batch bounds the rows (DLRM) or sequences (BERT) of one run, max_tokens the tokens of a sequence (0: the model's
    limit). The model may be closed while its sessions live.
    """
    _stages = ()

    def __init__(self, model, max_batch=1, max_tokens=0):
        self._inputs, self._outputs = model.inputs, model.outputs
        self._n_stages = model.info["n_stages"]
        options = _capi.SessionOptions(max_batch=_unsigned("max_batch", max_batch, 64),
                                       max_tokens=_unsigned("max_tokens", max_tokens, 64))
        self._bounds = options.max_batch, options.max_tokens
        size, parent = ctypes.c_size_t(), model._pointer
        _check(_lib.ss1_session_bytes(parent, options, size))
        self.bytes = size.value  # of memory that the session takes
        handle = _Native(_lib.ss1_session_destroy, parent)
        _check(_lib.ss1_session_create(parent, options, handle))
        self._handle = handle

    def run(self, inputs, outputs=None):
        """Run the model on {name: array}; gives {name: array}.

        outputs: None for all that the model has, a list of names, or {name: array} to write into arrays that are large
        enough; the result is then views of the parts that were written.
        """
        return self._run(self._tensors("inputs", inputs, self._inputs), inputs, outputs)

    def _run(self, given, inputs, outputs):
        if not isinstance(outputs, dict):
            outputs = self._empty(self._outputs if outputs is None else outputs, inputs)
        wanted = self._tensors("outputs", outputs, self._outputs)
        for name, array in outputs.items():
            _require(array.flags.writeable, f"{name}: is read-only")
        _check(_lib.ss1_session_run(self._pointer, given, len(given), wanted, len(wanted)))
        results = {}
        for tensor, (name, array) in zip(wanted, outputs.items()):
            shape = tensor.shape[:tensor.rank]
            results[name] = array.reshape(-1)[:math.prod(shape)].reshape(shape)
        return results

    def cancel(self):
        """End the run that is under way on another thread: it raises Error with Status.CANCELLED. Later runs are not affected."""
        _lib.ss1_session_cancel(self._pointer)

    def set_deadline(self, seconds):
        """Seconds after which each later run raises Error with Status.DEADLINE; 0 = none, as in a new session."""
        _check(_lib.ss1_session_set_deadline(self._pointer, seconds))

    def time_stages(self, count=None):
        """A float64 array to which each later run adds the seconds of its stages, see Model.stages; count 0: stop measuring."""
        if count is None:
            count = self._n_stages
        seconds = numpy.zeros(count)
        pointer = seconds.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) if count else None
        self._stages = *self._stages, seconds  # an interrupt may come when C has the new array, and the old one is still listed
        _check(_lib.ss1_session_time_stages(self._pointer, pointer, count))
        self._stages = seconds,  # written to by runs as long as the session lives
        return seconds

    @staticmethod
    def _tensors(kind, arrays, known):
        """{name: array} as C structs."""
        tensors = _capi.array(_capi.Tensor, len(arrays))
        for tensor, (name, array) in zip(tensors, arrays.items()):
            _require(name in known, f"{kind}: {name!r} is none of the model's {', '.join(known)}")
            _array(name, array, known[name][0])
            _require(array.ndim <= 4, f"{name}: has {array.ndim} dimensions, at most 4 are possible")
            tensor.name, tensor.dtype, tensor.rank = name.encode(), _DTYPE_NUMBERS[array.dtype], array.ndim
            tensor.shape[:array.ndim] = array.shape
            tensor.data, tensor.bytes = _contiguous(name, array), array.nbytes
        return tensors

    def _empty(self, names, inputs):
        """Arrays for the outputs: their varying sizes are those of `offsets` (DLRM) or of the first input, in order."""
        varying = _varying_sizes(self._inputs, inputs)
        result = {}
        for name in names:
            _require(name in self._outputs, f"outputs: {name!r} is none of the model's {', '.join(self._outputs)}")
            dtype, shape = self._outputs[name]
            sizes = iter(varying)  # too few if the first input is missing or misshapen: the library then says so
            result[name] = numpy.empty([next(sizes, 0) if size < 0 else size for size in shape], dtype)
        return result


class Tokenizer(_Handle):
    """The WordPiece tokenizer of a BERT model directory; the ids are those of transformers' BertTokenizer.

        tokenizer = ss1.Tokenizer(context, "bert")
        inputs = tokenizer(["You have won a prize", "See you at lunch"], max_tokens=128)
        session.run(inputs)

    directory may also be the directory's files in memory, as for Model.
    """

    def __init__(self, context, directory):
        parent = context._pointer
        handle = _Native(_lib.ss1_tokenizer_destroy, parent)
        if isinstance(directory, collections.abc.Mapping):
            structs, _arrays = _memory_files(directory)
            _check(_lib.ss1_tokenizer_load_memory(parent, structs, len(structs), handle))
        else:
            _check(_lib.ss1_tokenizer_load(parent, _text("directory", directory), handle))
        self._handle = handle

    @property
    def info(self):
        """lower_case, strip_accents, split_ideographs, vocab_size, max_tokens (0: no limit); the ids unk, sep, pad, cls and
        mask (-1: none)."""
        info = _capi.TokenizerInfo()
        _check(_lib.ss1_tokenizer_describe(self._pointer, info))
        return _fields(info)

    def __call__(self, first, second=None, max_tokens=0):
        """{"input_ids", "attention_mask", "token_type_ids"}: int64 [n, T] each, T the length of the longest row.

        first: list of texts, str or UTF-8 bytes; second: as many, for pairs. What is longer than max_tokens (0: the
        tokenizer's limit) is cut, of a pair the longer text first.
        """
        return self._encode(("input_ids", "attention_mask", "token_type_ids"), first, second, max_tokens)

    def with_offsets(self, first, second=None, max_tokens=0):
        """(inputs, offsets): the dict of a call, and int64 [n, T, 2]: the bytes [begin, end) that each token comes from.

        They count in the UTF-8 of its text, the second one where token_type_ids is 1; transformers counts characters.
        (0, 0) for the [CLS], [SEP] and [PAD] that the tokenizer adds.

            inputs, offsets = tokenizer.with_offsets(["You have won a prize"])
            begin, end = offsets[0, 2]
            "You have won a prize".encode()[begin:end]  # b"have", if that is one token
        """
        names = ("input_ids", "attention_mask", "token_type_ids")
        arrays = self._encode((*names, "begins", "ends"), first, second, max_tokens)
        return {name: arrays[name] for name in names}, numpy.stack([arrays["begins"], arrays["ends"]], axis=-1)

    def _encode(self, names, first, second, max_tokens):
        max_tokens = _unsigned("max_tokens", max_tokens, 64) or self.info["max_tokens"]
        _require(max_tokens, "max_tokens=0 means the model's limit, and this tokenizer has none")
        arrays = {name: numpy.empty((len(first), max_tokens), numpy.int64) for name in names}
        lengths = numpy.zeros(len(first), numpy.uintp)
        texts = self._texts("first", first)
        pairs = None if second is None else self._texts("second", second)
        _require(second is None or len(second) == len(first), "second: must have as many texts as first")
        _check(_lib.ss1_tokenizer_encode(self._pointer, _capi.TokenizeArgs(
            n=len(first), first=texts, second=pairs, max_tokens=max_tokens, lengths=lengths.ctypes.data,
            **{name: array.ctypes.data for name, array in arrays.items()})))
        longest = int(lengths.max(initial=0))
        return {name: numpy.ascontiguousarray(array[:, :longest]) for name, array in arrays.items()}

    def tokens(self, ids):
        """The tokens with these ids, as list of str."""
        text, result, handle = ctypes.c_char_p(), [], self._pointer
        for i in ids:
            _check(_lib.ss1_tokenizer_token(handle, _signed("id", i, 64), text))
            result.append(text.value.decode(errors="replace"))
        return result

    @staticmethod
    def _texts(name, texts):
        _require(not isinstance(texts, (str, bytes)), f"{name}: must be a list of texts, not one")
        result = _capi.array(_capi.Text, len(texts))
        for entry, text in zip(result, texts):
            _require(isinstance(text, (str, bytes)), f"{name}: has a {type(text).__name__}, must have str or bytes")
            data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
            entry.data, entry.bytes = data, len(data)  # the field keeps `data` alive
        return result


def version():
    """Version of the loaded library, e.g. "0.2.0"."""
    return _lib.ss1_version().decode()


__version__ = version()
