# SPDX-License-Identifier: Apache-2.0
"""SS1 linear layers for training in PyTorch: the same mapping as the ss1 library, so weights load there unchanged.

    layer = SS1Linear(1024, 1024, c=4, seed=1)      # a quarter of the weights and multiply-adds of nn.Linear
    x = torch.randn(8, 1024)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.expand(), layer.bias))
    layer.config()                                  # its entry in a model's config.json

Symbols as in the library: M rows, K inputs, N outputs, c compression, B_K block length (block_k), B_N output-block
width (block_n), V rotation step (step), Kz = B_K * ceil(K / (c * B_K)) stored columns. Input k lies in K-block
i = k div B_K of group g = i div c with member number q = i mod c; output n lies in output block j = n div B_N. Then

    W[k, n] = s(j,g,q) * Z[n, g * B_K + (k mod B_K - r(j,g,q)) mod B_K]

with a rotation r and a sign s that the scheme defines: `mixed` (an independent hash for every (j,g,q), full rank) or
`reference` (the rotations of the SS1 authors' code, no signs). c = 1 means a dense layer.
"""
import math

import numpy
import torch

# The reference scheme's constants: its hash parameters are drawn modulo this prime, and it rotates in steps of 8.
REFERENCE_PRIME = 45007
REFERENCE_STEP = 8


def default_block_n(N):
    """Returns the default B_N: about four output blocks, clamp(64 * ceil(N / 256), 256, 512)."""
    return min(max(64 * math.ceil(N / 256), 256), 512)


def stored_columns(K, c, block_k):
    """Returns Kz, the stored columns of a layer with K inputs."""
    return K if c == 1 else block_k * math.ceil(K / (c * block_k))


def check(scheme, K, N, c, block_k, block_n, step):
    """Raise ValueError, naming value and rule, if the mapping's parameters break one."""
    rules = [
        (scheme in ("mixed", "reference"), f"scheme={scheme!r} is neither 'mixed' nor 'reference'"),
        (K >= 1 and N >= 1 and c >= 1, f"K={K}, N={N} and c={c} must be at least 1"),
        (block_k in (16, 32, 64, 128, 256), f"block_k={block_k} is none of 16, 32, 64, 128, 256"),
        (block_n >= 16 and block_n % 16 == 0, f"block_n={block_n} is not a multiple of 16"),
        (step >= 1 and step & (step - 1) == 0 and step <= block_k,
         f"step={step} is not a power of two that divides block_k={block_k}"),
        (scheme != "reference" or step == REFERENCE_STEP, f"step={step}: the reference scheme always has {REFERENCE_STEP}"),
        (c == 1 or c * block_k <= K,
         f"c*block_k={c}*{block_k} is larger than K={K}: use a smaller c or block_k, or a dense layer"),
    ]
    for holds, message in rules:
        if not holds:
            raise ValueError(message)


def rotations_and_signs(scheme, seed, groups, blocks, c, block_k, step):
    """Returns r and s as two int64 arrays [blocks, groups, c]."""
    j, g, q = numpy.ogrid[:blocks, :groups, :c]
    shape = (blocks, groups, c)
    if c == 1:
        return numpy.zeros(shape, numpy.int64), numpy.ones(shape, numpy.int64)
    if scheme == "reference":
        draws = numpy.random.RandomState(seed).randint(0, 2**32, 3, numpy.uint32)  # the first outputs of MT19937
        r1, r2, r3 = (int(draw) % REFERENCE_PRIME for draw in draws)
        r = (r3 + r2 * j + r1 * (g + 1) + REFERENCE_PRIME * (q + 1)) * step % block_k
        return r, numpy.ones(shape, numpy.int64)
    h = (j.astype(numpy.uint32) * numpy.uint32(0x9E3779B1) + g.astype(numpy.uint32) * numpy.uint32(0x85EBCA77) +
         q.astype(numpy.uint32) * numpy.uint32(0xC2B2AE3D) + numpy.uint32(seed))
    h ^= h >> numpy.uint32(16)
    h *= numpy.uint32(0x7FEB352D)
    h ^= h >> numpy.uint32(15)
    h *= numpy.uint32(0x846CA68B)
    h ^= h >> numpy.uint32(16)
    h = h.astype(numpy.int64)
    return (h >> 1) % (block_k // step) * step, 1 - 2 * (h & 1)


def mapping(scheme, seed, K, N, c, block_k, block_n, step):
    """Maps each weight to its stored value: returns two int64 arrays [output blocks, K], `column` and `sign`.

    W[k, n] = sign[j, k] * Z[n, column[j, k]] with j = n div block_n. A column of -1 stands for no stored value at all
    (the weight is zero): the reference scheme reads no stored column >= floor(K / c) if c * block_k does not divide K.
    """
    check(scheme, K, N, c, block_k, block_n, step)
    blocks = math.ceil(N / block_n)
    if c == 1:
        return numpy.tile(numpy.arange(K), (blocks, 1)), numpy.ones((blocks, K), numpy.int64)
    groups = math.ceil(K / (c * block_k))
    r, s = rotations_and_signs(scheme, seed, groups, blocks, c, block_k, step)
    i, t = numpy.divmod(numpy.arange(K), block_k)
    g, q = numpy.divmod(i, c)
    column = g * block_k + (t - r[:, g, q]) % block_k
    if scheme == "reference" and K % (c * block_k):
        column[column >= K // c] = -1
    return column, s[:, g, q]


class _Sketch(torch.autograd.Function):
    """S[m, z] = sum of sign[k] * X[m, k] over the c inputs k that column maps to z, for one output block.

    Forward gathers (source, source_sign: [c, Kz], K where no input stands behind the place) and so does backward, which a
    plain index_select would do by slow scattered additions.
    """

    @staticmethod
    def forward(ctx, x, source, source_sign, column, sign):
        ctx.save_for_backward(column, sign)
        padded = torch.nn.functional.pad(x, (0, 1))
        sketch = padded.index_select(1, source[0]) * source_sign[0]
        for places, signs in zip(source[1:], source_sign[1:]):
            sketch += padded.index_select(1, places) * signs
        return sketch

    @staticmethod
    def backward(ctx, gradient):
        column, sign = ctx.saved_tensors
        return gradient.index_select(1, column) * sign, None, None, None, None


def _members(dense, source, source_sign):
    """Signed sums [N, Kz] over the c members of a dense [N, K] that share a stored value; source as [N, c, Kz]."""
    N, c, Kz = source.shape
    padded = torch.nn.functional.pad(dense, (0, 1))
    return (padded.gather(1, source.reshape(N, c * Kz)).reshape(N, c, Kz) * source_sign).sum(1)


class _Expand(torch.autograd.Function):
    """Computes W [N, K] from Z [N, Kz]. Its backward pass gathers, too; that of a plain gather would scatter and add."""

    @staticmethod
    def forward(ctx, z, column, sign, source, source_sign):
        ctx.save_for_backward(source, source_sign)
        return z.gather(1, column) * sign

    @staticmethod
    def backward(ctx, gradient):
        return _members(gradient, *ctx.saved_tensors), None, None, None, None


class SS1Linear(torch.nn.Module):
    """y = x W + b with W tied c-fold; a drop-in for torch.nn.Linear(K, N) whose weight is `ss1_weight` [N, Kz].

    seed, block_k, block_n and step fix the mapping and belong to the model as the weights do: config() gives the entry
    for the model's config.json. block_n defaults to default_block_n(N), "all" makes one block of all outputs; step
    defaults to 16 (8 for the reference scheme).
    """

    def __init__(self, K, N, bias=True, c=4, scheme="mixed", seed=1, block_k=64, block_n=None, step=None, dtype=None):
        super().__init__()
        self.K, self.N, self.c, self.scheme, self.seed, self.block_k = K, N, c, scheme, seed, block_k
        self.block_n = block_n or default_block_n(N)
        if block_n == "all":
            self.block_n = 16 * math.ceil(N / 16)
        self.step = step or (REFERENCE_STEP if scheme == "reference" else 16)
        column, sign = mapping(scheme, seed, K, N, c, block_k, self.block_n, self.step)
        Kz = stored_columns(K, c, block_k)
        unused = column < 0
        column, sign = numpy.where(unused, 0, column), numpy.where(unused, 0, sign)
        # The inverse of the mapping: the inputs k of each stored column, one per member number q.
        source = numpy.full((len(column), c, Kz), K)
        source_sign = numpy.zeros((len(column), c, Kz), numpy.int64)
        for j in range(len(column)):
            k = numpy.flatnonzero(~unused[j])
            q = k // block_k % c
            source[j, q, column[j, k]] = k
            source_sign[j, q, column[j, k]] = sign[j, k]
        output_block = numpy.arange(N) // self.block_n
        for name, value in (("column", column), ("source", source), ("output_block", output_block)):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)
        dtype = dtype or torch.get_default_dtype()
        for name, value in (("sign", sign), ("source_sign", source_sign)):
            self.register_buffer(name, torch.from_numpy(value).to(dtype), persistent=False)
        self.ss1_weight = torch.nn.Parameter(torch.empty(N, Kz, dtype=dtype))
        self.bias = torch.nn.Parameter(torch.empty(N, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        """Initialise as nn.Linear(K, N) does: each weight of W then has nn.Linear's variance, and so has the output.

        The bound depends on K, not on Kz: an output still sums K products, only that c of them share a stored value.
        """
        bound = 1 / math.sqrt(self.K)
        with torch.no_grad():
            self.ss1_weight.uniform_(-bound, bound)
            for j, signs in enumerate(self.source_sign):  # unused stored values are zero in the file
                self.ss1_weight[j * self.block_n:(j + 1) * self.block_n] *= signs.abs().amax(0)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    @torch.no_grad()
    def project_(self, weight):
        """Set the stored values so that W is nearest to a dense weight [N, K]: the means of the signed members."""
        source, source_sign = self.source[self.output_block], self.source_sign[self.output_block]
        count = source_sign.abs().sum(1).clamp(min=1)
        self.ss1_weight.copy_(_members(weight, source, source_sign) / count)

    def forward(self, x):
        if x.is_cuda:  # on a GPU the gathers of a sketch take longer than the saved products
            return torch.nn.functional.linear(x, self.expand(), self.bias)
        rows = x.reshape(-1, self.K)
        outputs = []
        blocks = self.ss1_weight.split(self.block_n)
        for weight, *tables in zip(blocks, self.source, self.source_sign, self.column, self.sign):
            sketch = rows if self.c == 1 else _Sketch.apply(rows, *tables)
            outputs.append(sketch @ weight.T)
        y = torch.cat(outputs, 1)
        return (y if self.bias is None else y + self.bias).reshape(*x.shape[:-1], self.N)

    def expand(self):
        """Returns the dense weight [N, K] of the stored values, in the layout of nn.Linear."""
        j = self.output_block
        return _Expand.apply(self.ss1_weight, self.column[j], self.sign[j], self.source[j], self.source_sign[j])

    def config(self):
        """The layer's entry under "ss1.layers" in config.json."""
        return {"kind": "ss1", "c": self.c, "scheme": self.scheme, "seed": self.seed, "block_k": self.block_k,
                "block_n": self.block_n, "step": self.step}

    def extra_repr(self):
        return f"K={self.K}, N={self.N}, bias={self.bias is not None}, {self.config()}"
