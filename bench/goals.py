# SPDX-License-Identifier: Apache-2.0
"""The goals of the grid: which cells, which value of them, which statistic, at least how much."""
import dataclasses
import typing


@dataclasses.dataclass
class Goal:
    text: str
    value: str  # a member of the rows
    statistic: str  # "mean" (geometric), "median" or "least"
    targets: dict  # {c: target}, or {None: target} for all c together
    chooses: typing.Callable  # (cell, row, groups of its shape) -> bool


def ss1_goals():
    """SS1, scheme reference, over the fastest peer, one thread."""
    def over_peer(text, group, dtype, weights, rows, targets, tied=False):
        return Goal(f"SS1: {text}", "speedup", "mean", dict(zip((2, 4, 8), targets)),
                    lambda cell, row, groups: group in groups and cell.dtype == dtype and cell.weights == weights and
                    cell.threads == 1 and cell.scheme == "reference" and rows(cell.m) and (not tied or row["ran_as"] == "ss1"))

    def times_c(factor):
        return [factor * c for c in (2, 4, 8)]

    yield over_peer("bf16 BERT warm, M = 64", "bert", "bf16", "warm", lambda m: m == 64, (3, 7, 13))
    yield over_peer("bf16 BERT warm, M = 256", "bert", "bf16", "warm", lambda m: m == 256, (2.5, 5, 9))
    yield over_peer("bf16 BERT warm, M = 2048", "bert", "bf16", "warm", lambda m: m == 2048, (2.6, 5, 8))
    yield over_peer("bf16 BERT cold, M = 16", "bert", "bf16", "cold", lambda m: m == 16, (2.4, 4.8, 9.3))
    yield over_peer("bf16 BERT cold, M = 64", "bert", "bf16", "cold", lambda m: m == 64, (2.5, 5, 9.5))
    yield over_peer("f32 BERT warm, M >= 64", "bert", "f32", "warm", lambda m: m >= 64, times_c(0.95))
    yield over_peer("f32 BERT cold, M <= 16", "bert", "f32", "cold", lambda m: m <= 16, times_c(0.9))
    yield over_peer("int8 BERT warm, M >= 256", "bert", "int8", "warm", lambda m: m >= 256, (2.2, 3.5, 5))
    yield over_peer("f32 DLRM warm, tied cells", "dlrm", "f32", "warm", lambda m: True, times_c(0.8), tied=True)
    yield over_peer("bf16 DLRM warm, tied cells", "dlrm", "bf16", "warm", lambda m: True, (1.8, 3, 4.5), tied=True)
    for dtype in ("f32", "bf16", "int8"):
        yield over_peer(f"{dtype} DLRM warm, M <= 16, tied cells", "dlrm", dtype, "warm", lambda m: m <= 16, (2, 3, 4), tied=True)


def scheme_goals():
    for text, dtype, rows, target in (("f32", "f32", lambda m: True, 0.9), ("bf16, M >= 256", "bf16", lambda m: m >= 256, 0.82)):
        yield Goal(f"`mixed` over `reference`: {text}, 1 thread", "mixed_over_reference", "mean", {None: target},
                   lambda cell, row, groups, dtype=dtype, rows=rows: cell.dtype == dtype and cell.threads == 1 and
                   row["ran_as"] == "ss1" and rows(cell.m))
    for dtype in ("f32", "bf16", "int8"):
        yield Goal(f"SS1 over our dense layer: {dtype}", "over_own_dense", "least", {None: 1.0},
                   lambda cell, row, groups, dtype=dtype: cell.dtype == dtype)


def dense_goals():
    for dtype, mean, least in (("f32", 1.02, 0.95), ("bf16", 1.3, 1.0), ("int8", 1.3, 0.95)):
        def dense(cell, row, groups, dtype=dtype):
            return cell.c == 1 and cell.dtype == dtype
        yield Goal(f"dense: {dtype}", "speedup", "mean", {None: mean}, dense)
        yield Goal(f"dense: {dtype}", "speedup", "least", {None: least}, dense)
        yield Goal(f"dense: {dtype} DLRM, M <= 16", "speedup", "mean", {None: 2.0},
                   lambda cell, row, groups, dense=dense: dense(cell, row, groups) and "dlrm" in groups and cell.m <= 16)
        yield Goal(f"SS1 over the composition: {dtype}", "composition_ratio", "least", {None: 1.0},
                   lambda cell, row, groups, dtype=dtype: cell.dtype == dtype and cell.c > 1)


def limit_goals():
    for dtype in ("bf16", "int8"):
        for statistic, target in (("least", 75), ("median", 85)):
            yield Goal(f"% of the roof: {dtype}, M >= 256, 1 thread", "percent_of_roof", statistic, {None: target},
                       lambda cell, row, groups, dtype=dtype: cell.dtype == dtype and cell.m >= 256 and cell.threads == 1)
    yield Goal("% of the FMA ceiling: f32, M >= 64, N > 1, 1 thread", "percent_of_ceiling", "least", {None: 92},
               lambda cell, row, groups: cell.dtype == "f32" and cell.m >= 64 and cell.threads == 1 and cell.n > 1)


GOALS = [*ss1_goals(), *scheme_goals(), *dense_goals(), *limit_goals()]
