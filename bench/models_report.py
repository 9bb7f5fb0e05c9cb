# SPDX-License-Identifier: Apache-2.0
"""The section "Whole models" of bench/RESULTS.md, from files of bench/models.py; bench/report.py puts it there."""
import collections
import dataclasses
import math
import statistics
import typing

import stage_bars
from markdown import number, reasons, table

Cell = collections.namedtuple("Cell", ("model", "dtype", "threads", "batch", "tokens"))
TITLES = {"dlrm-v1": "DLRM, MLPerf v1", "dlrm-v2": "DLRM, MLPerf v2 (DCNv2, many indices a bag)", "bert-base": "BERT-base",
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
        yield Goal(f"dense DLRM over the fastest peer, {dtype}, batch <= 128", "dense", "peer", 2, dlrm(1, 128))
        yield Goal(f"the same, {dtype}, batch > 128", "dense", "peer", 1.5, dlrm(129, 1 << 30))
        yield Goal(f"DLRM with SS1, c = 4, over the fastest peer, {dtype}", "c=4", "peer", 3, dlrm(1, 1 << 30))
    for dtype in ("f32", "bf16", "int8"):
        def bert(threads=(), dtype=dtype):
            return lambda cell: cell.model.startswith("bert") and cell.dtype == dtype and (not threads or cell.threads in threads)
        if dtype == "f32":
            yield Goal("dense BERT over the fastest peer, f32", "dense", "peer", 1.2, bert())
        else:
            yield Goal(f"dense BERT over the fastest peer, {dtype}, 1 thread", "dense", "peer", 3, bert((1,)))
            yield Goal(f"the same, {dtype}, 16 threads", "dense", "peer", 4, bert((16,)))
        yield Goal(f"BERT with SS1, c = 8 in half of the layers, over our dense, {dtype}", "c=8 in half", "dense", 1.31, bert())
        yield Goal(f"BERT with SS1, c = 4 in all layers, over our dense, {dtype}", "c=4", "dense", 1.6, bert())
    yield Goal("stages of a DLRM together, share of the run", "", "stages", 0.97, lambda cell: cell.model.startswith("dlrm"))


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def collect(documents):
    """{Cell: entry}, and {Cell: None} for what was wanted and is not there; of a cell measured twice the later file counts."""
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
    """Ratio of each round: how many times as long as `name` the contender `over` took; [] if one is missing."""
    slow, fast = (entry["contenders"].get(each, {}).get("ns", []) for each in (over, name))
    return [a / b for a, b in zip(slow, fast)]


def value_of(goal, entry):
    """What the goal is about, in one cell: a list (of the stages: a value each of our models), empty if it is missing."""
    if goal.over == "stages":
        return [sum(each["stages"]["stages"].values()) / each["stages"]["whole"] for each in entry["contenders"].values()
                if each.get("stages")]
    over = fastest_peer(entry) if goal.over == "peer" else "ss1 dense"
    values = ratios(entry, f"ss1 {goal.variant}", over)
    return [statistics.median(values)] if values else []


def describe(cell):
    model = "" if cell.model == "dlrm-v1" else f"{cell.model}, "
    return f"{model}{cell.dtype}, {cell.threads}T, {stage_bars.size_text(cell)}"


def is_tiles_bert(cell):
    return cell.model.startswith("bert") and cell.dtype != "f32"


# Why goals are missed, as far as it is known, and the cells that it is about.
REASONS = (
    (lambda cell: cell.dtype == "f32", "*f32*: PyTorch's and ONNX Runtime's products run at the machine's FMA rate on one thread, as ours "
     "do; what is left to win is copies, lookups and calls, and weights that come from memory while others are multiplied."),
    (is_tiles_bert, "*bf16 and int8 BERT*: tile products take two to three times as long as from registers (see the linear layers), which "
     "leaves 20 to 40 % of the ceiling; the rest of an encoder layer (rounding, quantising, GELU, exponentials) runs on the vector "
     "units. *int8 with c = 4*: the products of int8 layers are the smallest share of the run, and the attention (in bf16) the "
     "largest."),
    (lambda cell: cell.threads == 16, "*16 threads*: rounds differ by up to a factor of 5, as the host holds threads up; the least cells "
     "are those."),
    (lambda cell: cell.model.startswith("dlrm"), "*Stages*: what is between them and Python's clock is 1 to 14 µs a run."))

MLPERF, BASE = "DLRM of MLPerf v1's shape, batch 1 to 2048", "BERT-base, 1, 8 and 32 sequences of 128 and 384"
MAILS = "32 sequences as long as mails (padding costs us nothing)"


def is_sized(cell):
    return cell.model == "bert-base" and cell.tokens in (128, 384)


def is_mails(cell):
    return cell.model == "bert-base" and cell.tokens == "mails"


# What README.md shows: title, cells, threads, variant of ours.
SHORT = ((f"{MLPERF}: dense, 1 thread", lambda cell: cell.model == "dlrm-v1", 1, "dense"),
         ("16 threads", lambda cell: cell.model == "dlrm-v1", 16, "dense"),
         ("SS1 c = 4 in the wide layers, 1 thread", lambda cell: cell.model == "dlrm-v1", 1, "c=4"),
         ("16 threads", lambda cell: cell.model == "dlrm-v1", 16, "c=4"),
         (f"{BASE}: dense, 1 thread", is_sized, 1, "dense"),
         ("16 threads", is_sized, 16, "dense"),
         ("SS1 c = 4 in all layers, 1 thread", is_sized, 1, "c=4"),
         ("16 threads", is_sized, 16, "c=4"),
         (f"{MAILS}, 16 threads: dense", is_mails, 16, "dense"),
         ("SS1 c = 4", is_mails, 16, "c=4"))


def short_section(cells):
    """The least and the largest ratio over the fastest peer of some cells; "" where they were not measured."""
    rows = []
    for title, chooses, threads, variant in SHORT:
        row = [title]
        for dtype in ("f32", "bf16", "int8"):
            chosen = [entry for cell, entry in cells.items() if entry and chooses(cell) and (cell.threads, cell.dtype) == (threads, dtype)]
            values = [ratios(entry, f"ss1 {variant}", fastest_peer(entry)) for entry in chosen]
            if not all(values) or not values:
                return ""
            ends = [number(choose(map(statistics.median, values)), 2) for choose in (min, max)]
            row.append("–".join(dict.fromkeys(ends)))
        rows.append(row)
    return "\n#### In short\n\nTimes of the fastest peer of the same precision over ours: the least and the largest cell.\n\n" + \
        table(["", "f32", "bf16", "int8"], rows)


def goals_section(cells):
    rows = []
    for goal in goals():
        values = [(value, cell) for cell, entry in cells.items() if entry and goal.chooses(cell) for value in value_of(goal, entry)]
        if values:
            met = sum(value >= goal.target for value, _ in values)
            mean = math.exp(statistics.fmean(math.log(value) for value, _ in values))
            rows.append([goal.text, number(goal.target), f"**{number(mean)}**", "met" if met == len(values) else f"met in {met} of {len(values)}",
                         f"{number(min(values)[0])}: {describe(min(values)[1])}"])
        elif any(goal.chooses(cell) for cell in cells):
            rows.append([goal.text, number(goal.target), "–", "not measured", "–"])
    return table(["goal", "at least", "geometric mean", "cells", "the worst of them"], rows)


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
    """Every time that was measured, and the difference of its outputs from PyTorch's in f32."""
    rows = []
    for cell in sorted((cell for cell in cells if cell.model == model and cells[cell]), key=order):
        for name, each in cells[cell]["contenders"].items():
            ms = [ns / 1e6 for ns in each["ns"]]
            rows.append([describe(cell), name, number(statistics.median(ms)), number(quantile(ms, 0.1)), number(quantile(ms, 0.9)), len(ms),
                         f"{each['difference']['max']:.1e}", f"{each['difference']['mean']:.1e}"])
    return table(["cell", "contender", "ms, median", "p10", "p90", "rounds", "difference, largest", "mean"], rows)


def missing_section(cells):
    """What failed or was not there, and why; cells with the same reason on one line."""
    reasons = collections.defaultdict(list)
    for cell, entry in cells.items():
        for name, reason in (entry["missing"] if entry else {"every contender": "not measured yet"}).items():
            reasons[cell.model, name, reason.replace("|", "/")].append(f"{cell.dtype} {cell.threads}T {cell.batch}" +
                                                                       (f"x{cell.tokens}" if cell.tokens else ""))
    if not reasons:
        return "None.\n"
    return table(["model", "contender", "why", "cells"], [[*key, f"{len(found)}: {', '.join(found[:6])}{', ...' if len(found) > 6 else ''}"]
                                                          for key, found in sorted(reasons.items())])


def machine_section(documents):
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


INTRODUCTION = """
## Whole models

Measured by `bench/models.py`: every contender in a process of its own, on the same cores with as many threads, in turns
A B C A B C ...; medians of the rounds. A ratio is that of one round, peer's time over ours; in brackets its 10th and 90th
percentile. *Fastest peer*: of the same precision, chosen in each cell. ss1 is timed from ss1_session_run() to its return,
PyTorch from the module's call, ONNX Runtime with its inputs and outputs bound. Inputs change from run to run. Outputs were
compared before with PyTorch's in f32; the models have random weights.

Stages are those of `ss1_session_time_stages()`, in runs of their own. What is left of a run holds the call from Python too, whose own
code the weights have driven out of the caches: 1 to 14 µs.
"""

NOTES = {
    "dlrm-v1": "Bottom MLP 13-512-256-128, 26 tables of 128 with at most {rows} rows each, one index a bag, dot products, top MLP "
               "479-1024-1024-512-256-1. Tables are f32, bf16 and int8 (rows as FBGEMM fuses them, PyTorch reads the same bytes; ONNX "
               "Runtime's stay f32). SS1 in the layers that `ss1 convert` picks, scheme mixed unless it says reference.\n",
    "dlrm-v2": "As v1, but with DCNv2's cross network (rank 512, 3 layers) and 214 indices a row: 3,2,1,2,6,1,1,1,1,7,3,8,1,6,9,5,1,1,1,12,"
               "100,27,10,3,1,1.\n",
    "bert-base": "12 layers of 768, no pooler. *mails*: lengths drawn from those of 5,542 mails of the SpamAssassin corpus (bench/shapes/mail_lengths.csv: "
                 "words x 1.3 + 2), padded to the longest of the batch, with a mask. *c=8 in half*: all linear layers of the encoder layers "
                 "that the SS1 authors list for c = 8, counted from 0: 1 and 7 to 11. *c=4*: all linear layers. PyTorch is transformers' "
                 "BertModel with sdpa attention, ONNX Runtime has its fused operators.\n",
    "bert-large": "24 layers of 1024; otherwise as BERT-base. *c=8 in half*: layers 1, 6, 8, 9 and 15 to 23.\n"}


def note_of(model, documents):
    config = next(document["configs"][model] for document in documents if model in document["configs"])
    return NOTES[model].format(rows=f"{max(entry['rows'] for entry in config['tables']):,}" if "tables" in config else "")


def machine_of(document):
    machine = document["machine"]
    return f"{machine['cpus']} CPUs: {machine['cpu']}, family {machine['family']}, model {machine['model']}"


def machine_part(documents, folder):
    """What was measured on one machine: (text, names of the plots)"""
    cells, cpus = collect(documents), documents[0]["machine"]["cpus"]
    measured = {cell: entry for cell, entry in cells.items() if entry}
    text, plots = "\n#### Goals\n\n" + goals_section(cells) + reasons(measured, REASONS) + short_section(cells), []
    for model in [name for name in TITLES if any(cell.model == name for cell in measured)]:
        variants = list(dict.fromkeys(name[4:] for cell, entry in cells.items() if entry and cell.model == model
                                      for name in entry["contenders"] if is_ours(name)))
        text += f"\n#### {TITLES[model]}\n\n{note_of(model, documents)}\n" + model_table(cells, model, variants)
        of_model = {cell: entry for cell, entry in measured.items() if cell.model == model}
        names = stage_bars.write_all(of_model, TITLES[model], cpus, folder)
        text += "".join(f"\n![{name}](plots/{name}.svg)\n" for name in names)
        text += f"\n<details><summary>Every contender</summary>\n\n{every_contender(cells, model)}\n</details>\n"
        plots += names
    text += "\n#### What is missing\n\n" + missing_section(cells)
    return text + "\n#### Machine, versions, command lines\n\n" + machine_section(documents), plots


def section(documents, folder):
    """(text, cells, cells that are missing, plots written to `folder`)"""
    machines = collections.defaultdict(list)
    for document in documents:
        machines[machine_of(document)].append(document)
    text, counts = INTRODUCTION, [0, 0, 0]
    for machine, group in machines.items():
        part, plots = machine_part(group, folder)
        text += f"\n### {machine}\n{part}"
        entries = collect(group).values()
        counts = [counts[0] + sum(map(bool, entries)), counts[1] + sum(not entry for entry in entries), counts[2] + len(plots)]
    return text, *counts
