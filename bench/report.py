#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Report the measurements of bench/grid.py and bench/models.py.

  bench/report.py
      Fills in the tables of bench/RESULTS.md from the files in bench/results and draws the plots that the page links to.

  bench/report.py bench/results/xeon-16.json.gz bench/results/xeon-32.json.gz > build/layers.md
  bench/report.py bench/results/models-xeon-32.json.gz --plots build/plots > build/models.md
      Prints the full tables of these files: every cell, every contender, kernels, versions, command lines. Layers of several
      files form one grid, of one kind of CPU; the later file replaces a cell that an earlier one has.
"""
import argparse
import collections
import math
import pathlib
import re
import statistics
import sys

import goals
import models_report
import plots
import stage_bars
from grid import load
from markdown import number, table

BENCH = pathlib.Path(__file__).resolve().parent
# Machines of the page, by the names that its tables and plots have: files in bench/results.
MACHINES = {"xeon": ("xeon-16", "xeon-32", "models-xeon-32"), "xeon-2": ("xeon-2", "models-xeon-2"), "epyc-2": ("epyc-2", "models-epyc-2")}
ROWS_OF_THE_PAGE = (1, 16, 64, 256, 2048)  # of the grid's 14
KEYS = ("k", "n", "dtype", "threads", "weights", "m", "c", "scheme")
Cell = collections.namedtuple("Cell", KEYS)
MEMORY_GBYTES_S = 25  # of one core from L3, for the roof of the goals


class Layers:
    """The content of files of bench/grid.py: cells {cell: row}, missing [(cell, reason)], groups {(k, n): names}."""

    def __init__(self, documents):
        self.documents = documents
        self.cells, self.missing = collect(documents)
        self.groups = {tuple(entry["shape"]): entry["groups"] for document in documents for entry in document["groups"]}


class Models:
    """The content of files of bench/models.py: cells {cell: entry}, None for a wanted cell that was not measured."""

    def __init__(self, documents):
        self.documents = documents
        self.cells = models_report.collect(documents)
        self.measured = {cell: entry for cell, entry in self.cells.items() if entry}
        self.cpus = documents[0]["machine"]["cpus"]


def schemes_of(c, schemes):
    return ["dense"] if c == 1 else schemes


def collect(documents):
    """({cell: row}, [(cell, reason)] for wanted cells that were not measured)."""
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
    """Values that need other cells, or a formula: speed-up over our dense layer and over the other scheme, share of the roof."""
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
    """Without the version, which the list of machines has."""
    return re.sub(r" \d\S*( [A-Z]\w+)?", "", name) if name else "–"


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


STATISTICS = {"mean": geometric_mean, "least": min, "median": statistics.median}


def layer_goals(layers):
    rows = []
    for goal in goals.GOALS:
        chosen = [(row[goal.value], cell) for cell, row in layers.cells.items()
                  if row.get(goal.value) is not None and goal.chooses(cell, row, layers.groups.get(cell[:2], []))]
        if not chosen:
            continue
        measured = {}
        for c in goal.targets:
            values = [value for value, cell in chosen if c in (None, cell.c)]
            measured[c] = STATISTICS[goal.statistic](values) if values else None
        shares = [measured[c] and 100 * measured[c] / target for c, target in goal.targets.items()]
        met = all(share and share >= 100 for share in shares)
        worst = "{0}: {1.k}×{1.n}, M={1.m}, c={1.c}, {1.threads}T {1.weights}".format(number(min(chosen)[0]), min(chosen)[1])
        rows.append([goal.text, goal.statistic, " / ".join(map(number, goal.targets.values())), " / ".join(map(number, measured.values())),
                     "**met**" if met else " / ".join("–" if share is None else str(int(share)) for share in shares) + " %", worst])
    return table(["goal", "value", "at least", "measured", "of the goal", "worst cell"], rows)


def ratios_by_group(layers):
    """{(dtype, threads, weights, group, m): {c: geometric mean over the shapes of the group}}, scheme reference."""
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    for cell, row in layers.cells.items():
        for group in layers.groups.get(cell[:2], ["other"]):
            if row["speedup"] and cell.scheme != "mixed":
                values[cell.dtype, cell.threads, cell.weights, group, cell.m][cell.c].append(row["speedup"])
    return {key: {c: geometric_mean(of_c) for c, of_c in by_c.items()} for key, by_c in sorted(values.items())}


def layer_ratios(layers):
    """A line for each setting; a cell has the ratios of our dense layer and of SS1 at c = 4."""
    means = ratios_by_group(layers)
    lines = dict.fromkeys(key[:4] for key in means)
    rows = [[f"{dtype}, {threads}T, {weights}, {group.upper()}"] +
            [" · ".join(number(means.get((dtype, threads, weights, group, m), {}).get(c), 2) for c in (1, 4)) for m in ROWS_OF_THE_PAGE]
            for dtype, threads, weights, group in sorted(lines, key=lambda line: (line[0] != "f32", line))]
    return table(["dense · c = 4", *(f"M = {m}" for m in ROWS_OF_THE_PAGE)], rows)


def all_layer_ratios(layers):
    means = ratios_by_group(layers)
    used = sorted({c for by_c in means.values() for c in by_c})
    return table(["type", "threads", "weights", "shapes", "M"] + [f"c = {c}" for c in used],
                 [[*key, *(number(by_c.get(c)) for c in used)] for key, by_c in means.items()])


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
        text += f"\n### {dtype}, {threads} thread{'s' * (threads > 1)}, {weights}: {len(here)} cells\n\n" + table(titles, rows)
    return text


def describe(row, c):
    """µs · over the fastest peer · over the composition · % of the ceiling; d: ran as a dense layer."""
    if row is None:
        return "missing"
    dense = " d" if c > 1 and (row["ran_as"] == "dense" or "dense" in row["kernel"]) else ""
    return " · ".join([number(row["ns_median"] / 1e3), number(row["speedup"]), number(row["composition_ratio"]),
                       number(row["percent_of_ceiling"], 2)]) + dense


def missing_cells(missing):
    if not missing:
        return "None: every cell of the grid is measured.\n"
    counts = collections.Counter((cell.dtype, cell.threads, cell.weights, f"({cell.k},{cell.n})", reason) for cell, reason in missing)
    merged = collections.defaultdict(list)
    for (dtype, threads, weights, shape, reason), count in counts.items():
        merged[dtype, threads, weights, reason].append((shape, count))
    return table(["type", "threads", "weights", "cells", "(K,N)", "why"],
                 [[*key[:3], sum(count for _, count in shapes), " ".join(shape for shape, _ in shapes), key[3].replace("|", "/")]
                  for key, shapes in sorted(merged.items())])


def kernels_used(cells):
    counts = collections.Counter((cell.dtype, row["ran_as"], row["kernel"]) for cell, row in cells.items())
    return table(["type", "ran as", "kernels", "cells"], [[*key, count] for key, count in sorted(counts.items())])


def machines_and_commands(documents):
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
        commands = dict.fromkeys(re.sub(r" -k \d+ -n \d+", " -k K -n N", run["command"]) for run in document["runs"])
        text += "\n```\n" + "\n".join(commands) + "\n```\n\n"
    return text


def full_layers(layers):
    return "# Linear layers\n\n## Goals\n\n" + layer_goals(layers) + \
        "\n## Ratio over the fastest peer\n\nGeometric means over the shapes of a group, scheme `reference`; c = 1 is our dense layer.\n\n" + \
        all_layer_ratios(layers) + "\n## Missing cells\n\n" + missing_cells(layers.missing) + \
        "\n## Machines and command lines\n\n" + machines_and_commands(layers.documents) + "## Kernels\n\n" + kernels_used(layers.cells) + \
        "\n## Every cell\n\nIn a cell: µs · ratio · composition ratio · % of ceiling; d: ran as a dense layer.\n" + full_tables(layers.cells)


def counts(layers, models):
    """A line of the page: how many of the wanted cells are measured."""
    total, of_models = len(layers.cells) + len(layers.missing), len(models.cells)
    return f"Measured: {len(layers.cells):,} of {total:,} cells of layers, {len(models.measured):,} of {of_models:,} cells of models.\n"


# Tables of the page by the first word of their marker; the second is the machine, a third the model.
TABLES = {"counts": counts,
          "layer-goals": lambda layers, models: layer_goals(layers),
          "layer-ratios": lambda layers, models: layer_ratios(layers),
          "model-goals": lambda layers, models: models_report.goals_table(models.cells),
          "model-ratios": lambda layers, models, model: models_report.ratios_table(models.cells, model),
          "short": lambda layers, models: models_report.short_table(models.measured)}


def documents_of(paths):
    documents = [load(path) for path in paths]
    return [document for document in documents if "runs" in document], [document for document in documents if "cells" in document]


def draw(name, layers, models):
    """The SVG that NAME of plots/MACHINE-NAME.svg stands for: KxN, or stages-MODEL-THREADS."""
    shape = re.fullmatch(r"(\d+)x(\d+)", name)
    if shape:
        k, n = map(int, shape.groups())
        return plots.draw(k, n, {cell: row for cell, row in layers.cells.items() if cell[:2] == (k, n) and row["speedup"]})
    model, threads = re.fullmatch(r"stages-([\w-]+)-(\d+)", name).groups()
    return stage_bars.draw_model(models.measured, models_report.TITLES[model], model, int(threads), models.cpus)


def update(page):
    """Replaces the tables between the markers of the page, and draws the plots that it links to."""
    measured = {}
    for machine, names in MACHINES.items():
        layers, models = documents_of(BENCH / "results" / f"{name}.json.gz" for name in names)
        measured[machine] = Layers(layers), Models(models)

    def replace(found):
        kind, machine, *rest = found[2].split()
        return f"{found[1]}\n\n{TABLES[kind](*measured[machine], *rest)}\n{found[3]}"

    text, tables = re.subn(r"(<!-- table: ([\w -]+) -->)(?:(?!<!--).)*(<!-- end -->)", replace, page.read_text(), flags=re.DOTALL)
    page.write_text(text)
    folder = page.parent / "plots"
    folder.mkdir(exist_ok=True)
    links = [link for link in re.findall(r"\(plots/([\w-]+)\.svg\)", text)]
    for link in links:
        machine = max((name for name in MACHINES if link.startswith(name + "-")), key=len)
        (folder / f"{link}.svg").write_text(draw(link[len(machine) + 1:], *measured[machine]))
    print(f"{page}: {tables} tables, {len(links)} plots")


def print_full(paths, folder):
    layers, models = documents_of(paths)
    kinds = {models_report.kind_of(document) for document in layers}
    if len(kinds) > 1:
        sys.exit(f"report.py: layers of {len(kinds)} kinds of CPU are not one grid: {'; '.join(sorted(kinds))}")
    if layers:
        found = Layers(layers)
        print(full_layers(found))
        if folder:
            plots.write_all(found.cells, folder)
    machines = collections.defaultdict(list)
    for document in models:
        machines[models_report.machine_of(document)].append(document)
    for machine, group in machines.items():
        found = Models(group)
        print(f"# Whole models: {machine}\n\n{models_report.full_tables(found)}")
        if folder:
            stage_bars.write_all(found.measured, models_report.TITLES, found.cpus, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="files of bench/grid.py or bench/models.py, to print in full")
    parser.add_argument("--plots", type=pathlib.Path, metavar="FOLDER", help="with FILES: draw all their plots there")
    parser.add_argument("--page", type=pathlib.Path, default=BENCH / "RESULTS.md",
                        help="without FILES: the page to update, with plots/ beside it (default: %(default)s)")
    options = parser.parse_args()
    if options.files:
        print_full(options.files, options.plots)
    else:
        update(options.page)


if __name__ == "__main__":
    main()
