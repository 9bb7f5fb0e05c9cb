# SPDX-License-Identifier: Apache-2.0
"""Tables of whole models from files of bench/models.py; bench/report.py prints them."""
import collections
import dataclasses
import math
import statistics
import typing

import stage_bars
from markdown import number, table

Cell = collections.namedtuple("Cell", ("model", "dtype", "threads", "batch", "tokens"))
TITLES = {"dlrm-v1": "DLRM, MLPerf v1", "dlrm-v2": "DLRM, MLPerf v2", "bert-base": "BERT-base",
          "bert-large": "BERT-large"}


@dataclasses.dataclass
class Goal:
    text: str
    variant: str  # of ours
    over: str  # "peer": the fastest one; "dense": our own dense model; "stages": their sum over the whole run
    target: float
    chooses: typing.Callable  # Cell -> bool


def goals():
    for dtype in ("f32", "bf16", "int8"):
        def dlrm(low, high, dtype=dtype):
            return lambda cell: cell.model == "dlrm-v1" and cell.dtype == dtype and low <= cell.batch <= high
        yield Goal(f"{dtype} DLRM, batch <= 128: dense over peer", "dense", "peer", 2, dlrm(1, 128))
        yield Goal(f"{dtype} DLRM, batch > 128: dense over peer", "dense", "peer", 1.5, dlrm(129, 1 << 30))
        yield Goal(f"{dtype} DLRM: SS1, c = 4, over peer", "c=4", "peer", 3, dlrm(1, 1 << 30))
    for dtype in ("f32", "bf16", "int8"):
        def bert(threads=(), dtype=dtype):
            return lambda cell: cell.model.startswith("bert") and cell.dtype == dtype and (not threads or cell.threads in threads)
        if dtype == "f32":
            yield Goal("f32 BERT: dense over peer", "dense", "peer", 1.2, bert())
        else:
            yield Goal(f"{dtype} BERT, 1 thread: dense over peer", "dense", "peer", 3, bert((1,)))
            yield Goal(f"{dtype} BERT, 16 threads: dense over peer", "dense", "peer", 4, bert((16,)))
        yield Goal(f"{dtype} BERT: SS1, c = 8 in half, over our dense", "c=8 in half", "dense", 1.31, bert())
        yield Goal(f"{dtype} BERT: SS1, c = 4, over our dense", "c=4", "dense", 1.6, bert())
    yield Goal("stages of a DLRM: their share of the run", "", "stages", 0.97, lambda cell: cell.model.startswith("dlrm"))


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def collect(documents):
    """{Cell: entry}, None for a wanted cell that was not measured; the later file replaces a cell of an earlier one."""
    cells = {}
    for document in documents:
        for entry in document["wanted"]:
            cells.setdefault(Cell(*entry), None)
        for entry in document["cells"]:
            cells[Cell(*(entry[key] for key in Cell._fields))] = entry
    return cells


def is_ours(name):
    return name.startswith("ss1 ")


def fastest_peer(entry):
    peers = [name for name in entry["contenders"] if not is_ours(name)]
    return min(peers, key=lambda name: statistics.median(entry["contenders"][name]["ns"]), default=None)


def milliseconds(entry, name):
    found = entry["contenders"].get(name)
    return statistics.median(found["ns"]) / 1e6 if found else None


def ratios(entry, name, over):
    """Ratio of each round: time of the contender `over` divided by that of `name`; [] if one is missing."""
    slow, fast = (entry["contenders"].get(each, {}).get("ns", []) for each in (over, name))
    return [a / b for a, b in zip(slow, fast)]


def value_of(goal, entry):
    """The values of one cell that the goal speaks of (stages: one for each of our models); empty if they were not measured."""
    if goal.over == "stages":
        return [sum(each["stages"]["stages"].values()) / each["stages"]["whole"] for each in entry["contenders"].values()
                if each.get("stages")]
    over = fastest_peer(entry) if goal.over == "peer" else "ss1 dense"
    values = ratios(entry, f"ss1 {goal.variant}", over)
    return [statistics.median(values)] if values else []


def describe(cell):
    model = "" if cell.model == "dlrm-v1" else f"{cell.model}, "
    return f"{model}{cell.dtype}, {cell.threads}T, {stage_bars.size_text(cell)}"


def is_sized(cell):
    return cell.model == "bert-base" and cell.tokens in (128, 384)


def is_mails(cell):
    return cell.model == "bert-base" and cell.tokens == "mails"


def is_mlperf(cell):
    return cell.model == "dlrm-v1"


# README.md shows this table: title, cells, variant of ours.
SHORT = (("DLRM, batch 1 to 2048: dense", is_mlperf, "dense"), ("DLRM: SS1, c = 4", is_mlperf, "c=4"),
         ("BERT-base, 1 to 32 sequences: dense", is_sized, "dense"), ("BERT-base: SS1, c = 4", is_sized, "c=4"),
         ("BERT-base, 32 mails: dense", is_mails, "dense"), ("BERT-base, 32 mails: SS1, c = 4", is_mails, "c=4"))
SHORT_COLUMNS = [(dtype, threads) for dtype in ("f32", "bf16", "int8") for threads in (1, 16)]


def short_table(cells):
    """The least and the largest ratio over the fastest peer among some cells."""
    rows = []
    for title, chooses, variant in SHORT:
        row = [title]
        for dtype, threads in SHORT_COLUMNS:
            chosen = [entry for cell, entry in cells.items() if chooses(cell) and (cell.threads, cell.dtype) == (threads, dtype)]
            medians = [statistics.median(ratios(entry, f"ss1 {variant}", fastest_peer(entry))) for entry in chosen]
            row.append("–".join(dict.fromkeys(number(end, 2) for end in (min(medians), max(medians)))))
        rows.append(row)
    return table(["peer's time over ours", *(f"{dtype}, {threads}T" for dtype, threads in SHORT_COLUMNS)], rows)


def goals_table(cells):
    rows = []
    for goal in goals():
        values = [(value, cell) for cell, entry in cells.items() if entry and goal.chooses(cell) for value in value_of(goal, entry)]
        if values:
            met = sum(value >= goal.target for value, _ in values)
            mean = math.exp(statistics.fmean(math.log(value) for value, _ in values))
            rows.append([goal.text, number(goal.target), number(mean), "**met**" if met == len(values) else f"{met} of {len(values)}",
                         f"{number(min(values)[0])}: {describe(min(values)[1])}"])
        elif any(goal.chooses(cell) for cell in cells):
            rows.append([goal.text, number(goal.target), "–", "not measured", "–"])
    return table(["goal", "at least", "mean", "cells that meet it", "worst cell"], rows)


def ratios_table(cells, model):
    """A line for each precision and thread count; a cell has the ratios of our dense model and of SS1 at c = 4."""
    def ratio(cell, variant):
        values = ratios(cells[cell], f"ss1 {variant}", fastest_peer(cells[cell])) if cells.get(cell) else []
        return number(statistics.median(values) if values else None)

    here = [cell for cell in sorted(cells, key=order) if cell.model == model]
    sizes = sorted({(str(cell.tokens).rjust(9), cell.batch, cell.tokens) for cell in here})
    rows = [[f"{dtype}, {threads}T"] + [" · ".join(ratio(Cell(model, dtype, threads, batch, tokens), variant) for variant in ("dense", "c=4"))
                                        for _, batch, tokens in sizes]
            for dtype, threads in dict.fromkeys((cell.dtype, cell.threads) for cell in here)]
    return table(["dense · c = 4", *(f"{batch} × {tokens}" if tokens else f"batch {batch}" for _, batch, tokens in sizes)], rows)


def ratio_text(entry, name, over):
    values = ratios(entry, name, over) if over else []
    return f"{number(statistics.median(values))} ({number(quantile(values, 0.1))}–{number(quantile(values, 0.9))})" if values else "–"


def model_table(cells, model, variants):
    titles = ["type", "threads", "batch", "tokens", "fastest peer", "ms", "our dense, ms"] + [f"{variant} over it" for variant in variants]
    rows = []
    for cell in sorted((cell for cell in cells if cell.model == model), key=order):
        entry = cells[cell]
        begin = [cell.dtype, cell.threads, cell.batch, cell.tokens or "–"]
        if entry is None:
            rows.append([*begin, "not measured", *["–"] * (len(titles) - 5)])
            continue
        peer = fastest_peer(entry)
        rows.append([*begin, peer or "–", number(milliseconds(entry, peer)), number(milliseconds(entry, "ss1 dense")),
                     *(ratio_text(entry, f"ss1 {variant}", peer) for variant in variants)])
    if not any(cell.tokens for cell in cells if cell.model == model):
        titles, rows = ([line[:3] + line[4:] for line in part] for part in ([titles], rows))
        titles = titles[0]
    return table(titles, rows)


def order(cell):
    return ("f32", "bf16", "int8").index(cell.dtype), cell.threads, str(cell.tokens).rjust(9), cell.batch


def every_contender(cells, model):
    """Every measured time, and the difference of the outputs from PyTorch's in f32."""
    rows = []
    for cell in sorted((cell for cell in cells if cell.model == model and cells[cell]), key=order):
        for name, each in cells[cell]["contenders"].items():
            ms = [ns / 1e6 for ns in each["ns"]]
            rows.append([describe(cell), name, number(statistics.median(ms)), number(quantile(ms, 0.1)), number(quantile(ms, 0.9)), len(ms),
                         f"{each['difference']['max']:.1e}", f"{each['difference']['mean']:.1e}"])
    return table(["cell", "contender", "ms, median", "p10", "p90", "rounds", "difference, largest", "mean"], rows)


def missing_contenders(cells):
    """Contenders that failed or were not there, and why; cells with the same reason on one line."""
    reasons = collections.defaultdict(list)
    for cell, entry in cells.items():
        for name, reason in (entry["missing"] if entry else {"every contender": "not measured yet"}).items():
            reasons[cell.model, name, reason.replace("|", "/")].append(f"{cell.dtype} {cell.threads}T {cell.batch}" +
                                                                       (f"x{cell.tokens}" if cell.tokens else ""))
    if not reasons:
        return "None.\n"
    return table(["model", "contender", "why", "cells"], [[*key, f"{len(found)}: {', '.join(found[:6])}{', ...' if len(found) > 6 else ''}"]
                                                          for key, found in sorted(reasons.items())])


def machines_and_commands(documents):
    text = ""
    for document in documents:
        machine = document["machine"]
        libraries = sorted({info["library"] for info in document["contenders"].values()})
        text += f"- {machine['cpu']} (family {machine['family']}, model {machine['model']}), {machine['cpus']} CPUs, " \
                f"{machine['memory_gib']} GiB, {machine['system']}; {', '.join(libraries)}; Python {document['python']}; " \
                f"environment {' '.join(f'{name}={value}' for name, value in document['environment'].items())}; " \
                f"{len(document['cells'])} cells in {sum(cell['seconds'] for cell in document['cells']) / 60:.0f} minutes\n"
        text += f"  - {document['note']}\n" if document.get("note") else ""
        text += "".join(f"  - `{command}`\n" for command in document["commands"])
    return text


def kind_of(document):
    machine = document["machine"]
    return f"{machine['cpu']}, family {machine['family']}, model {machine['model']}"


def machine_of(document):
    return f"{document['machine']['cpus']} CPUs: {kind_of(document)}"


def full_tables(models):
    """Everything measured on one machine."""
    text = "## Goals\n\n" + goals_table(models.cells)
    for model in [name for name in TITLES if any(cell.model == name for cell in models.measured)]:
        variants = list(dict.fromkeys(name[4:] for cell, entry in models.measured.items() if cell.model == model
                                      for name in entry["contenders"] if is_ours(name)))
        text += f"\n## {TITLES[model]}\n\n" + model_table(models.cells, model, variants)
        text += f"\n### Every contender\n\n{every_contender(models.cells, model)}"
    return text + "\n## Missing\n\n" + missing_contenders(models.cells) + \
        "\n## Machines and command lines\n\n" + machines_and_commands(models.documents)
