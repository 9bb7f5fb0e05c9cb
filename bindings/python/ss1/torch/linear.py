# SPDX-License-Identifier: Apache-2.0
"""The layer W = T(Z) + up . down: a tied part, a part of low rank, or both.

The mapping T is not defined here: the library expands numbered weights, and what comes out says where each weight lies.
"""
import math

import numpy
import torch

import ss1

_SAMPLES = 64  # elements of a parameter that are compared to notice writes through .data
_contexts = {}  # by number of threads


def _autocast():
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # before PyTorch 2.4
        return torch.is_autocast_cpu_enabled()


def resolve(in_features, out_features, *, c, scheme=None, seed=0, block_k=0, block_n=0, step=0):
    """A layer's mapping with the library's defaults filled in: its entry in config.json, without rank."""
    if c == 0:
        return {"kind": "low_rank"}
    desc, _ = ss1._desc(in_features, out_features, c, scheme, seed, block_k, block_n, step)
    fields = ss1._fields(desc)
    return {"kind": "ss1", **{key: fields[key] for key in ("c", "scheme", "seed", "block_k", "block_n", "step")}}


def stored_columns(K, c, block_k):
    """Kz, the stored columns of a layer with K inputs."""
    return K if c == 1 else block_k * math.ceil(K / (c * block_k))


def _places(K, blocks, mapping, stored_columns):
    """Two int64 arrays [blocks, K]: the stored column of each input in each block of outputs (-1: none), and its sign."""
    numbers = numpy.arange(1, stored_columns + 1, dtype=numpy.float32)
    numbers = numpy.ascontiguousarray(numpy.broadcast_to(numbers, (16 * blocks, stored_columns)))
    # The mapping depends on the number of an output's block, not on the width of blocks: 16 outputs each are enough.
    found = ss1.expand(numbers, K, **{**mapping, "block_n": 16})[::16].astype(numpy.int64)
    return numpy.abs(found) - 1, numpy.sign(found)


def _inverse(place, sign, chunks, c):
    """Where each stored chunk is read: chunks of inputs and signs [blocks, c, chunks]; the number of inputs means nowhere."""
    blocks, inputs = place.shape
    source = numpy.full((blocks, c, chunks), inputs)
    source_sign = numpy.ones((blocks, c, chunks), numpy.int64)
    for j in range(blocks):
        used = numpy.zeros(chunks, numpy.int64)
        for k in numpy.flatnonzero(place[j] < chunks):
            at = place[j, k]
            source[j, used[at], at], source_sign[j, used[at], at] = k, sign[j, k]
            used[at] += 1
    return source, source_sign


class _Table:
    """For each of `columns` chunks to make the `terms` chunks to add, in index and sign [terms, columns].

    reach: chunks that the index may name; those behind the end of the input are zeros.
    """

    def __init__(self, index, sign, reach):
        self.index, self.sign, self.reach = index, sign, reach


def _sum_chunks(x, width, table):
    """Signed sums of chunks of `width` columns of x [M, any]: [M, columns * width].

    Copies of whole chunks take a fraction of the time of gathers of single columns.
    """
    if x.shape[1] < table.reach * width:
        x = torch.nn.functional.pad(x, (0, table.reach * width - x.shape[1]))
    chunks, total = x.reshape(x.shape[0], table.reach, width), None
    for places, signs in zip(table.index, table.sign):
        part = chunks.index_select(1, places)
        total = part.mul_(signs[:, None]) if total is None else total.addcmul_(part, signs[:, None])
    return total.reshape(x.shape[0], -1)


class _Chunks(torch.autograd.Function):
    """_sum_chunks, whose gradient is one, too, of the inverse tables; that of an index_select scatters and adds."""

    @staticmethod
    def forward(ctx, x, width, table, back):
        ctx.width, ctx.back, ctx.columns = width, back, x.shape[1]
        return _sum_chunks(x, width, table)

    @staticmethod
    def backward(ctx, gradient):
        return _sum_chunks(gradient, ctx.width, ctx.back)[:, :ctx.columns], None, None, None


def _chunks(x, width, table, back):
    # torch.jit.trace cannot record a function of Python objects, and needs no gradient.
    return _sum_chunks(x, width, table) if torch.jit.is_tracing() else _Chunks.apply(x, width, table, back)


class Linear(torch.nn.Module):
    """y = x W + b with W = T(ss1_weight) + low_rank_up . low_rank_down; takes the place of torch.nn.Linear.

    c: each stored weight stands at c places of W (1: a dense part, 0: none). rank: that of the second part (0: none).
    scheme, seed, block_k, block_n and step are those of ss1.Layer, with its defaults; they belong to the model as its
    weights do, and config() gives them for config.json. Parameters: ss1_weight [N, Kz] (for c = 1: [N, K]), low_rank_up
    [N, rank], low_rank_down [rank, K], bias [N]; K = in_features, N = out_features.

    In float32 on the CPU, while no gradients are recorded, libss1 computes y with torch.get_num_threads() threads. It keeps
    a packed copy of the weights until they change. Writes through `.data` are noticed by 64 elements of each parameter:
    call forget() after writing others that way.
    """

    def __init__(self, in_features, out_features, bias=True, *, c=4, scheme=None, seed=0, block_k=0, block_n=0, step=0, rank=0,
                 device=None, dtype=None):
        super().__init__()
        if c == 0 and rank == 0:
            raise ValueError("c=0 and rank=0: a layer has a tied part, a part of low rank, or both")
        if not 0 <= rank <= min(in_features, out_features):
            raise ValueError(f"rank={rank} is not in 0 to min(in_features, out_features)={min(in_features, out_features)}")
        self.in_features, self.out_features, self.c, self.rank = in_features, out_features, c, rank
        self._entry = resolve(in_features, out_features, c=c, scheme=scheme, seed=seed, block_k=block_k, block_n=block_n, step=step)
        options = {"device": device, "dtype": dtype or torch.get_default_dtype()}
        if c:
            Kz = stored_columns(in_features, c, self._entry["block_k"])
            self.ss1_weight = torch.nn.Parameter(torch.empty(out_features, Kz, **options))
        if c > 1:
            self._make_tables(Kz, options)
        if rank:
            self.low_rank_up = torch.nn.Parameter(torch.empty(out_features, rank, **options))
            self.low_rank_down = torch.nn.Parameter(torch.empty(rank, in_features, **options))
        self.bias = torch.nn.Parameter(torch.empty(out_features, **options)) if bias else None
        self._packed = None
        self.reset_parameters()

    @property
    def mapping(self):
        """The arguments of ss1.Layer, ss1.project and ss1.expand that define the tied part; {"c": 0} if there is none."""
        return {"c": self.c, **{key: value for key, value in self._entry.items() if key not in ("kind", "c")}}

    def _make_tables(self, Kz, options):
        K, c, mapping = self.in_features, self.c, self.mapping
        width = mapping["step"]  # rotations are multiples of it, so chunks of this width stay together
        blocks = math.ceil(self.out_features / mapping["block_n"])
        column, sign = _places(K, blocks, mapping, Kz)
        inputs, chunks = math.ceil(K / width), Kz // width
        used = numpy.zeros((blocks, Kz), bool)
        for j in range(blocks):
            used[j, column[j][column[j] >= 0]] = True
        first = numpy.arange(0, K, width)
        starts = numpy.where(column < 0, chunks * width, column - numpy.arange(K) % width)
        place = numpy.minimum.reduceat(starts, first, 1) // width  # `chunks`: the inputs stand nowhere
        place_sign = numpy.add.reduceat(sign, first, 1) >= 0
        place_sign = 2 * place_sign - 1
        source, source_sign = _inverse(place, place_sign, chunks, c)
        every = place + numpy.where(place < chunks, numpy.arange(blocks)[:, None], blocks - 1) * chunks
        tables = {"place": place, "source": source, "every": every, "used": used,
                  # In the reference scheme stored columns may stand for nothing, in the midst of a chunk: these read as zero.
                  "dead": numpy.flatnonzero(numpy.arange(Kz) > column.max())}
        for name, value in tables.items():
            self.register_buffer(f"_{name}", torch.from_numpy(value).to(options["device"]), persistent=False)
        for name, value in (("place_sign", place_sign), ("source_sign", source_sign)):
            self.register_buffer(f"_{name}", torch.from_numpy(value).to(**options), persistent=False)
        self._reach_inputs, self._reach_chunks = int(max(source.max() + 1, inputs)), int(max(place.max() + 1, chunks))

    def reset_parameters(self):
        """Initialise so that each weight of W, and so the output, has the variance that torch.nn.Linear gives it.

        The bound of ss1_weight depends on K, not on Kz: an output still sums K products, only that c of them share a stored
        value. Two parts share the variance equally.
        """
        bound = 1 / math.sqrt(self.in_features)
        share = 0.5 if self.c and self.rank else 1
        with torch.no_grad():
            if self.c:
                self.ss1_weight.uniform_(-bound * math.sqrt(share), bound * math.sqrt(share))
            if self.c > 1:  # unused stored values are zero in files
                for z, used in zip(self.ss1_weight.split(self.mapping["block_n"]), self._used):
                    z *= used
            if self.rank:
                self.low_rank_down.uniform_(-bound, bound)
                spread = math.sqrt(3 * share / self.rank)
                self.low_rank_up.uniform_(-spread, spread)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    @property
    def weight(self):
        """The dense weight [N, K] in the layout of torch.nn.Linear; its gradients reach the parameters."""
        parts = []
        if self.c == 1:
            parts.append(self.ss1_weight)
        elif self.c:
            z, width = self._alive(self.ss1_weight), self.mapping["step"]
            tables = zip(self._place, self._place_sign, self._source, self._source_sign)
            blocks = [_chunks(block, width, _Table(place[None], sign[None], self._reach_chunks),
                              _Table(source, source_sign, self._reach_inputs))
                      for block, (place, sign, source, source_sign) in zip(z.split(self.mapping["block_n"]), tables)]
            parts.append(torch.cat(blocks)[:, :self.in_features])
        if self.rank:
            parts.append(self.low_rank_up @ self.low_rank_down)
        return sum(parts[1:], parts[0])

    def _alive(self, stored):
        return stored.index_fill(1, self._dead, 0) if len(self._dead) else stored

    def _tied(self, rows):
        """The tied part's output: the sketches of all output blocks, then a product for each."""
        blocks, c, chunks = self._source.shape
        width, Kz = self.mapping["step"], self.ss1_weight.shape[1]
        table = _Table(*(t.transpose(0, 1).reshape(c, -1) for t in (self._source, self._source_sign)), self._reach_inputs)
        reach = (blocks - 1) * chunks + self._reach_chunks
        sketch = _chunks(rows, width, table, _Table(self._every, self._place_sign, reach))
        pairs = zip(sketch.split(Kz, 1), self.ss1_weight.split(self.mapping["block_n"]))
        return torch.cat([self._alive(s) @ z.T for s, z in pairs], 1)

    def forward(self, x):
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x has {x.shape[-1]} columns, must have in_features={self.in_features}")
        if self._library_takes(x):
            y = self._library(x)
            if y is not None:
                return y
        if x.is_cuda:  # there the gathers of a sketch take longer than the saved products
            return torch.nn.functional.linear(x, self.weight, self.bias)
        rows, parts = x.reshape(-1, self.in_features), []
        if self.c:
            parts.append(rows @ self.ss1_weight.T if self.c == 1 else self._tied(rows))
        if self.rank:
            parts.append(rows @ self.low_rank_down.T @ self.low_rank_up.T)
        if self.bias is not None:
            parts.append(self.bias.to(parts[0].dtype))  # autocast computes products in bfloat16
        return sum(parts[1:], parts[0]).reshape(*x.shape[:-1], self.out_features)

    @staticmethod
    def _library_takes(x):
        if torch.is_grad_enabled() or torch.jit.is_tracing() or _autocast():
            return False
        compiler = getattr(torch, "compiler", None)
        if compiler is not None and hasattr(compiler, "is_compiling") and compiler.is_compiling():
            return False
        return type(x) in (torch.Tensor, torch.nn.Parameter) and x.device.type == "cpu" and x.dtype == torch.float32

    def _library(self, x):
        """y by libss1, or None if the parameters are not float32 on the CPU."""
        parameters = list(self.parameters(recurse=False))
        if any(p.device.type != "cpu" or p.dtype != torch.float32 or p.is_inference() for p in parameters):
            return None
        samples = (p.detach().reshape(-1)[::max(1, p.numel() // _SAMPLES)].numpy().tobytes() for p in parameters)
        key = tuple((p.data_ptr(), p._version, sample) for p, sample in zip(parameters, samples))
        threads = torch.get_num_threads()
        packed = self._packed  # read once: other threads may replace it
        if packed is None or packed[0] != (threads, key):
            if threads not in _contexts:
                _contexts[threads] = ss1.Context(num_threads=threads)
            packed = self._packed = (threads, key), self._layer(_contexts[threads])
        rows = x.detach().reshape(-1, self.in_features).contiguous().numpy()
        return torch.from_numpy(packed[1](rows)).reshape(*x.shape[:-1], self.out_features)

    def _layer(self, context):
        arrays = {name: p.detach().contiguous().numpy() for name, p in self.named_parameters(recurse=False)}
        return ss1.Layer(context, arrays.get("ss1_weight"), arrays.get("bias"), K=self.in_features, **self.mapping,
                         u=arrays.get("low_rank_up"), v=arrays.get("low_rank_down"))

    def forget(self):
        """Drop the library's copy of the weights; the next forward packs them anew."""
        self._packed = None

    def __getstate__(self):  # copies and pickles leave out what belongs to this process
        return {**self.__dict__, "_packed": None}

    def config(self):
        """The layer's entry under "ss1.layers" in config.json."""
        return {**self._entry, **({"rank": self.rank} if self.rank else {})}

    def extra_repr(self):
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {self.config()}"
