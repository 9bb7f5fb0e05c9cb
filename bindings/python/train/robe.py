# SPDX-License-Identifier: Apache-2.0
"""ROBE-Z embedding tables for training in PyTorch: all tables of a model share one array A of m floats.

    tables = RobeEmbeddingBags(rows=[2972, 1128], embedding_dim=32, size=13120, block=16, seed=1)  # 10 times smaller
    bag = tables(1, torch.tensor([5, 7, 9]), torch.tensor([0, 2]))      # [2, 32]: rows 5 + 7 and row 9 of table 1
    tables.config()                                                     # the key "robe" of a model's config.json

Random Offset Block Embedding (Desai, Chou, Shrivastava: "Random Offset Block Embedding (ROBE) for compressed embedding
tables in deep learning recommendation systems", MLSys 2022), with hash and alignment fixed as ss1 runs it: row x of table
e consists of d / Z chunks of Z floats; element i of chunk z is

    E_e[x][z * Z + i] = A[(offset(e, x, z) + i) mod m]
    offset(e, x, z)   = (mix64(s, e, x, z) >> 1) mod (m / a) * a,    a = min(Z, 16): a chunk starts at a cache line
    mix64(s, e, x, z) : h = fin(s + G * (e + 1)); h = fin(h + G * (x + 1)); h = fin(h + G * (z + 1))
    fin(v)            : v ^= v >> 30; v *= 0xBF58476D1CE4E5B9; v ^= v >> 27; v *= 0x94D049BB133111EB; v ^= v >> 31

in unsigned 64-bit arithmetic that wraps, G = 0x9E3779B97F4A7C15 (the constants of SplitMix64), s the seed. Z is a power
of two, at least 8, that divides d; m is a multiple of Z. With s = 1, m = 1024 and Z = 16 chunks start at

    offset(0, 0, 0) = 528, offset(0, 0, 1) = 832, offset(0, 1, 0) = 224, offset(25, 40000000, 7) = 416
"""
import torch

ALIGNMENT = 16  # floats: 64 bytes


def _signed(value):
    """Returns the int64 with the bits of a 64-bit constant: PyTorch has no arithmetic on unsigned 64-bit integers."""
    return value - 2**64 if value >= 2**63 else value


G, M1, M2 = (_signed(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shift(v, bits):
    """Shifts v right as an unsigned number; the shift of int64 copies the sign."""
    return (v >> bits) & (2**(64 - bits) - 1)


def _finish(v):
    v = (v ^ _shift(v, 30)) * M1
    v = (v ^ _shift(v, 27)) * M2
    return v ^ _shift(v, 31)


def mix64(seed, e, x, z):
    """Hashes broadcastable int64 tensors e (table), x (row), z (chunk): int64 with the bits of the unsigned result."""
    h = _finish(seed + G * (e + 1))
    h = _finish(h + G * (x + 1))
    return _finish(h + G * (z + 1))


class RobeEmbeddingBags(torch.nn.Module):
    """The tables of a model, `rows` each and embedding_dim wide, over one parameter `weight` [size].

    Call it with a table's number, indices [n] and offsets [B] (as torch.nn.EmbeddingBag with mode "sum", optionally with
    per_sample_weights [n]): it gives [B, embedding_dim]. In a model's state_dict `weight` must be named robe.weight.
    """

    def __init__(self, rows, embedding_dim, size, block=16, seed=1):
        super().__init__()
        rules = [
            (block >= 8 and block & (block - 1) == 0, f"block={block} is not a power of two of at least 8"),
            (embedding_dim % max(block, 1) == 0, f"block={block} does not divide embedding_dim={embedding_dim}"),
            (size >= 1 and size % max(block, 1) == 0, f"size={size} is not a multiple of block={block}"),
            (0 <= seed < 2**63, f"seed={seed} is not in 0..2^63-1"),
            (all(n >= 1 for n in rows), f"rows={rows}: every table must have at least one"),
        ]
        for holds, message in rules:
            if not holds:
                raise ValueError(message)
        self.rows, self.embedding_dim, self.size, self.block, self.seed = list(rows), embedding_dim, size, block, seed
        self.weight = torch.nn.Parameter(torch.empty(size))
        torch.nn.init.normal_(self.weight)  # as torch.nn.EmbeddingBag does

    def units(self, table, indices):
        """Returns [n, d / a]: the rows of weight.view(-1, a) in these rows of the table; chunks may wrap at the end."""
        a = min(self.block, ALIGNMENT)
        count = self.size // a
        z = torch.arange(self.embedding_dim // self.block, device=indices.device)
        e = torch.tensor(table, device=indices.device)
        first = _shift(mix64(self.seed, e, indices[:, None], z), 1) % count
        return ((first[:, :, None] + torch.arange(self.block // a, device=indices.device)) % count).flatten(1)

    def lookup(self, table, indices):
        """Returns these rows of the table, [n, d]."""
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < self.rows[table]:
            raise IndexError(f"table {table}: indices {int(indices.min())}..{int(indices.max())} are not all in "
                             f"0..{self.rows[table] - 1}")
        view = self.weight.view(-1, min(self.block, ALIGNMENT))
        return torch.nn.functional.embedding(self.units(table, indices), view).flatten(1)

    def forward(self, table, indices, offsets, per_sample_weights=None):
        rows = self.lookup(table, indices)
        return torch.nn.functional.embedding_bag(torch.arange(len(rows), device=rows.device), rows, offsets, mode="sum",
                                                 per_sample_weights=per_sample_weights)

    def expand(self, table):
        """Returns the whole table [rows, d]."""
        return self.lookup(table, torch.arange(self.rows[table], device=self.weight.device))

    def config(self):
        """The key "robe" of config.json."""
        return {"size": self.size, "block": self.block, "seed": self.seed}

    def extra_repr(self):
        return f"rows={self.rows}, embedding_dim={self.embedding_dim}, {self.config()}"
