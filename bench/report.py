#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write bench/RESULTS.md and bench/plots/*.svg from the files of bench/grid.py and bench/models.py.

  bench/report.py bench/results/xeon-16.json.gz bench/results/xeon-32.json.gz bench/results/models-xeon-32.json.gz
  bench/report.py bench/results/xeon-2.json.gz bench/results/models-xeon-2.json.gz --out bench/xeon-2
  bench/report.py bench/results/epyc-2.json.gz bench/results/models-epyc-2.json.gz --out bench/epyc-2

Layers of several files are one grid, of one kind of CPU; of a cell measured twice the later file counts.
"""
import argparse
import collections
import math
import pathlib
import re
import shlex
import statistics

import goals
import models_report
import plots
from grid import load
from markdown import number, reasons, table

KEYS = ("k", "n", "dtype", "threads", "weights", "m", "c", "scheme")
Cell = collections.namedtuple("Cell", KEYS)
MEMORY_GBYTES_S = 25  # of one core from L3, for the roof of goal 3


def schemes_of(c, schemes):
    return ["dense"] if c == 1 else schemes


def collect(documents):
    """({cell: row}, [(cell, reason)] for what was wanted and is not there)."""
    cells, wanted, reasons = {}, {}, {}
    for document in documents:
        axes = document["wanted"]
        for shape in axes["shapes"]:
            for dtype in axes["dtype"]:
                for threads in axes["threads"]:
                    for weights in axes["weights"]:
                        for m in axes["m"]:
                            for c in axes["c"]:
                                for scheme in schemes_of(c, axes["scheme"]):
                                    wanted[Cell(*shape, dtype, threads, weights, m, c, scheme)] = True
        for run in document["runs"]:
            reason = run["message"].splitlines()[0] if run["message"] else "no row in the output"
            reasons[(*run["shape"], run["dtype"], run["threads"], run["weights"])] = f'{run["status"]}: {reason}'
            for row in run["rows"]:
                cells[Cell(row["k"], row["n"], row["dtype"], row["threads"], run["weights"], row["m"], row["c"], row["scheme"])] = row
    missing = [(cell, reasons.get(cell[:5], "not measured yet")) for cell in wanted if cell not in cells]
    add_derived(cells)
    return cells, missing


def add_derived(cells):
    """What needs other cells, or a formula: speed-up over our dense layer and over the other scheme, share of the roof."""
    for cell, row in cells.items():
        dense = cells.get(cell._replace(c=1, scheme="dense"))
        row["over_own_dense"] = dense["ns_median"] / row["ns_median"] if dense and cell.c > 1 else None
        reference = cells.get(cell._replace(scheme="reference"))
        row["mixed_over_reference"] = reference["ns_median"] / row["ns_median"] if reference and cell.scheme == "mixed" else None
        row["percent_of_roof"] = None
        if row["ceiling_gflops"]:
            y_bytes = cell.m * cell.n * (4 if cell.dtype == "f32" else 2)
            product_ns = row["gflops_done"] * row["ns_median"] / row["ceiling_gflops"] / 0.85
            memory_ns = (row["bytes"] + y_bytes) / (MEMORY_GBYTES_S * cell.threads)
            row["percent_of_roof"] = 100 * max(product_ns, memory_ns) / row["ns_median"]


def short_peer(name):
    """Without the version, which stands above."""
    return re.sub(r" \d\S*( [A-Z]\w+)?", "", name) if name else "–"


STATISTICS = {"geometric mean": lambda values: math.exp(statistics.fmean(map(math.log, values))), "least": min,
              "median": statistics.median}


def goals_section(cells, groups):
    rows = []
    for goal in goals.GOALS:
        chosen = [(row[goal.value], cell) for cell, row in cells.items()
                  if row.get(goal.value) is not None and goal.chooses(cell, row, groups.get(cell[:2], []))]
        measured = {}
        for c in goal.targets:
            values = [value for value, cell in chosen if c in (None, cell.c)]
            measured[c] = STATISTICS[goal.statistic](values) if values else None
        if not chosen:
            continue
        met = [measured[c] >= target for c, target in goal.targets.items() if measured[c] is not None]
        verdict = "met" if sum(met) == len(goal.targets) else "missed" if not any(met) else f"{sum(met)} of {len(goal.targets)} met"
        worst = "{0}: ({1.k},{1.n}) M={1.m} c={1.c} {1.threads}T {1.weights}".format(number(min(chosen)[0]), min(chosen)[1])
        text = goal.text + (", c = " + " / ".join(map(str, goal.targets)) if None not in goal.targets else "")
        rows.append([goal.number, text, goal.statistic, " / ".join(map(number, goal.targets.values())),
                     "**" + " / ".join(map(number, measured.values())) + "**", verdict, len(chosen), worst])
    return table(["goal", "what", "statistic", "at least", "measured", "", "cells", "the worst of them"], rows)


def summary_section(cells, groups):
    """Geometric means over the shapes of a group, by precision, threads, weights and m."""
    means = collections.defaultdict(lambda: collections.defaultdict(list))
    for cell, row in cells.items():
        for group in groups.get(cell[:2], ["other"]):
            if row["speedup"] and cell.scheme != "mixed":
                means[cell.dtype, cell.threads, cell.weights, group, cell.m][cell.c].append(row["speedup"])
    used = sorted({c for by_c in means.values() for c in by_c})
    rows = []
    for (dtype, threads, weights, group, m), by_c in sorted(means.items(), key=lambda item: item[0]):
        rows.append([dtype, threads, weights, group, m] +
                    [number(math.exp(statistics.fmean(map(math.log, by_c[c])))) if c in by_c else "–" for c in used])
    return table(["type", "threads", "weights", "shapes", "M"] + [f"c = {c}" for c in used], rows)


def full_tables(cells):
    text = ""
    for dtype, threads, weights in sorted({cell[2:5] for cell in cells}):
        here = {cell: row for cell, row in cells.items() if cell[2:5] == (dtype, threads, weights)}
        variants = sorted({(cell.c, cell.scheme) for cell in here}, key=lambda v: (v[0], v[1] != "reference"))
        rows = []
        for k, n, m in sorted({(cell.k, cell.n, cell.m) for cell in here}):
            found = [here.get(Cell(k, n, dtype, threads, weights, m, c, scheme)) for c, scheme in variants]
            first = next(row for row in found if row)
            rows.append([f"({k},{n})", m, number(first["peer_ns_median"] and first["peer_ns_median"] / 1e3), short_peer(first["fastest_peer"])] +
                        [describe(row, c) for row, (c, _) in zip(found, variants)])
        titles = ["(K,N)", "M", "peer µs", "fastest peer"] + ["c = 1" if c == 1 else f"c = {c} {scheme}" for c, scheme in variants]
        text += f"\n<details><summary>{dtype}, {threads} thread{'s' * (threads > 1)}, {weights} ({len(here)} cells)</summary>\n\n"
        text += table(titles, rows) + "\n</details>\n"
    return text


def describe(row, c):
    """µs · over the fastest peer · over the composition · % of the ceiling; d: ran as a dense layer."""
    if row is None:
        return "missing"
    dense = " d" if c > 1 and (row["ran_as"] == "dense" or "dense" in row["kernel"]) else ""
    return " · ".join([number(row["ns_median"] / 1e3), number(row["speedup"]), number(row["composition_ratio"]),
                       number(row["percent_of_ceiling"], 2)]) + dense


def missing_section(missing):
    if not missing:
        return "None: every cell of the grid is measured.\n"
    counts = collections.Counter((cell.dtype, cell.threads, cell.weights, f"({cell.k},{cell.n})", reason) for cell, reason in missing)
    merged = collections.defaultdict(list)
    for (dtype, threads, weights, shape, reason), count in counts.items():
        merged[dtype, threads, weights, reason].append((shape, count))
    return table(["type", "threads", "weights", "cells", "(K,N)", "why"],
                 [[*key[:3], sum(count for _, count in shapes), " ".join(shape for shape, _ in shapes), key[3].replace("|", "/")]
                  for key, shapes in sorted(merged.items())])


def kernels_section(cells):
    counts = collections.Counter((cell.dtype, row["ran_as"], row["kernel"]) for cell, row in cells.items())
    return table(["type", "ran as", "kernels, as the layer tells them", "cells"], [[*key, count] for key, count in sorted(counts.items())])


def machine_section(documents):
    text = ""
    for document in documents:
        machine = document["machine"]
        heads = [run["head"] for run in document["runs"] if run["head"]]
        head = heads[-1] if heads else {}
        dropped = [row for run in document["runs"] for row in run["rows"] if row.get("rounds_dropped")]
        text += f"- {machine['cpu']} (family {machine['family']}, model {machine['model']}), {machine['cpus']} CPUs, " \
                f"{machine['memory_gib']} GiB, {machine['system']}; load at the start {machine['load_at_start']}\n"
        text += f"  - ss1 {head.get('ss1')}, {head.get('compiler')}; peers: {', '.join(head.get('peers', [])) or 'none'}" \
                f"{'; missing: ' + '; '.join(head['peers_missing']) if head.get('peers_missing') else ''}\n"
        text += f"  - environment: {' '.join(f'{name}={value}' for name, value in head.get('environment', {}).items())}\n"
        text += f"  - {sum(len(run['rows']) for run in document['runs'])} rows in {sum(run['seconds'] for run in document['runs']) / 60:.0f}" \
                f" minutes; rounds dropped for disturbed tile loads in {len(dropped)} rows" \
                f" ({sum(row['rounds_dropped'] for row in dropped)} rounds)\n"
        text += f"  - {document['note']}\n" if document.get("note") else ""
        commands = {re.sub(r" -k \d+ -n \d+", " -k K -n N", run["command"]): run for run in document["runs"]}
        text += "\n<details><summary>Command lines</summary>\n\n```\n" + "\n".join(commands) + "\n```\n\n</details>\n\n"
    return text


INTRODUCTION = """# Results

Written by `bench/report.py {files}`: [linear layers](#linear-layers), [whole models](#whole-models).
"""

LAYERS = """
## Linear layers

From what `bench/grid.py` measured: `ss1 bench linear` over the grid in `bench/shapes`. All layers of
a shape and M, the peers and the machine's ceiling take turns in one process; medians. *Ratio*: time of the fastest peer of the
same precision over ours. *Composition*: the time of "a sketch pass, then oneDNN's product with K/c inputs" over ours. *% of
ceiling*: the operations really done against a loop of the same unit from registers, timed in the same rounds. *warm*: the same
layer again and again; *cold*: 400 MiB of copies go round, as in a deep net. bf16 layers take and give bf16; int8 layers have int8
weights and take and give bf16, their peers get X as u8 ready-made. A peer counts with f32 output too, where it is faster so.
"""


# Why goals are missed, as far as it is known, and the cells that it is about.
REASONS = (
    (lambda cell: cell.dtype != "f32", "*Tiles (bf16, int8)*: the ceiling is a loop from registers, while a product of a layer needs a "
     "tile from memory: on these shared machines it took up to 18 ns with its load, as neighbours allow, where registers alone allow "
     "7.5 (`ss1 bench linear` times both loops)."),
    (lambda cell: cell.c == 8, "*c = 8*: the sketch, the rounding and the outputs do not shrink with the products."),
    (lambda cell: cell.dtype == "int8", "*int8*: rows are quantised after their sketch, the peers get theirs ready-made."),
    (lambda cell: cell.threads == 16, "*16 threads, small M*: a layer takes 5 to 20 µs and the host holds threads up for 1 to 4 ms; "
     "medians of few rounds can hold such stalls, ours or the peers', and the least cells are those."),
    (lambda cell: cell.weights == "cold", "*Cold weights, few rows*: they come at the rate at which a core reads memory, to us as to the "
     "peers."),
    (lambda cell: cell.scheme == "mixed", "*`mixed`*: each output block has a sketch of its own."),
    (lambda cell: cell.k == 13, "*(13,512)*: outputs are written faster than 13 products each fill the FMA units."))


def write_report(documents, files, out):
    """(cells, missing cells, plots), of layers and models together."""
    layers = [document for document in documents if "runs" in document]
    models = [document for document in documents if "cells" in document]
    text, counts = INTRODUCTION.format(files=files), [0, 0, 0]
    for part, measured in ((layers_section, layers), (models_report.section, models)):
        if measured:
            section, *found = part(measured, out / "plots")
            text += section
            counts = [sum(pair) for pair in zip(counts, found)]
    (out / "RESULTS.md").write_text(text)
    return counts


def layers_section(documents, folder):
    cells, missing = collect(documents)
    groups = {tuple(entry["shape"]): entry["groups"] for document in documents for entry in document["groups"]}
    names = plots.write_all(cells, folder)
    text = LAYERS + "\n### Goals\n\n" + goals_section(cells, groups) + reasons(cells, REASONS)
    text += "\n### Ratio over the fastest peer\n\nGeometric means over the shapes of a group, scheme `reference`; c = 1 is our dense layer.\n\n"
    text += summary_section(cells, groups)
    text += "\n### Speed-up over M\n\n" + "".join(f"![{name}](plots/{name}.svg)\n" for name in names)
    text += "\n### Cells that are missing\n\n" + missing_section(missing)
    text += "\n### Machine, versions, command lines\n\n" + machine_section(documents)
    text += "### Kernels\n\n" + kernels_section(cells)
    text += "\n### Every cell\n\nIn a cell: µs · ratio · composition ratio · % of ceiling; d: ran as a dense layer.\n" + full_tables(cells)
    return text, len(cells), len(missing), len(names)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="of bench/grid.py or bench/models.py")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent,
                        help="folder for RESULTS.md and plots/ (default: %(default)s)")
    options = parser.parse_args()
    documents = [load(path) for path in options.files]
    kinds = {(document["machine"]["cpu"], document["machine"]["family"], document["machine"]["model"])
             for document in documents if "runs" in document}
    if len(kinds) > 1:
        parser.error(f"layers of {len(kinds)} kinds of CPU are not one grid: {'; '.join(' '.join(map(str, kind)) for kind in sorted(kinds))}")
    options.out.mkdir(parents=True, exist_ok=True)
    cells, missing, drawn = write_report(documents, shlex.join(path.name for path in options.files), options.out)
    print(f"{options.out / 'RESULTS.md'}: {cells} cells, {missing} missing, {drawn} plots")


if __name__ == "__main__":
    main()
