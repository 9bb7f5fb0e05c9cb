#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput against latency as SVG, from measurements of `ss1-bench model --rate`: a panel for each model and setting, in it a
line for each percentile. Where requests were dropped or given up, the percentiles beyond have no value and their lines end.

    ss1-bench model model --batch 700 --threads 2 --rate 25-800*2 --deadline-ms 20 -o json > load.json
    python3 bench/latency_curve.py load.json --out latency.svg
"""
import argparse
import html
import json
import math
import pathlib
import sys

import plots

PERCENTILES = {"ns_p50": ("p50", "c1"), "ns_p90": ("p90", "c2"), "ns_p99": ("p99", "c4"), "ns_p999": ("p99.9", "other")}
SETTING = ("model", "dtype", "batch", "least_batch", "tokens", "threads", "workers", "deadline_ms")
COLUMNS = 3


def read_rows(path):
    """Rows of `-o json` or `-o jsonl`."""
    text = path.read_text()
    try:
        rows = json.loads(text)["results"] if text.startswith("{\n") else [json.loads(line) for line in text.splitlines()]
    except (ValueError, KeyError) as error:
        sys.exit(f"{path}: is not output of `ss1-bench model -o json`: {error}")
    loaded = [row for row in rows if "goodput_per_s" in row]
    if not loaded:
        sys.exit(f"{path}: has no row measured with --rate")
    return loaded


def titles_of(setting):
    """What is measured, and how."""
    values = dict(zip(SETTING, setting))
    batch = values["batch"] if values["least_batch"] == values["batch"] else f"{values['least_batch']} to {values['batch']}"
    model = [pathlib.PurePath(values["model"]).name, values["dtype"]]
    run = [f"batch {batch}", f"{values['tokens']} tokens" if values["tokens"] else None,
           f"{values['workers']} × {values['threads']} threads",
           f"deadline {values['deadline_ms']:g} ms" if values["deadline_ms"] else None]
    return tuple(", ".join(part for part in parts if part) for parts in (model, run))


class Axes:
    """Answered requests a second from 0; milliseconds to base 2."""

    def __init__(self, left, top, most, low, high):
        self.left, self.top, self.most, self.low, self.high = left, top, most, low, high

    def x(self, rate):
        return self.left + plots.PANEL_WIDTH * rate / self.most

    def y(self, ms):
        return self.top + plots.PANEL_HEIGHT * (self.high - math.log2(ms)) / (self.high - self.low)

    def frame(self, titles):
        parts = [plots.text(self.left, self.top - 25, html.escape(titles[0]), "panel"),
                 plots.text(self.left, self.top - 10, titles[1])]
        bottom = self.top + plots.PANEL_HEIGHT
        for power in range(self.low, self.high + 1):
            y = self.y(2.0**power)
            parts += [plots.line(self.left, y, self.left + plots.PANEL_WIDTH, y, "grid"),
                      plots.text(self.left - 8, y + 4, f"{2.0**power:g} ms", anchor="end")]
        step = 10**math.floor(math.log10(self.most))
        step = next(size for size in (step / 5, step / 2, step, 2 * step) if self.most / size <= 6)
        for i in range(int(self.most / step) + 1):
            parts += [plots.line(self.x(i * step), bottom, self.x(i * step), bottom + 4, "one"),
                      plots.text(self.x(i * step), bottom + 18, f"{i * step:g}", anchor="middle")]
        return parts + [plots.text(self.left + plots.PANEL_WIDTH / 2, bottom + 36, "answered requests/s", anchor="middle")]


def panel(axes, rows, titles):
    parts, labels = axes.frame(titles), []
    for key, (name, css) in PERCENTILES.items():
        points = [(axes.x(row["answered_per_s"]), axes.y(row[key] / 1e6)) for row in rows if row[key]]
        if points:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{path}" class="line {css}"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="line {css}"/>' for x, y in points]
            labels.append((points[-1][1] + 4, name, css))
    return parts + [plots.text(axes.left + plots.PANEL_WIDTH + 6, y, words, css) for y, words, css in plots.spread(labels)]


def draw(rows):
    """The SVG; all panels have the same latency axis."""
    settings = {}
    for row in sorted(rows, key=lambda row: row["rate"]):
        settings.setdefault(tuple(row[key] for key in SETTING), []).append(row)
    logs = [math.log2(row[key] / 1e6) for row in rows for key in PERCENTILES if row[key]] or [0]
    low, high = math.floor(min(logs)), math.floor(max(logs)) + 1
    columns = min(COLUMNS, len(settings))
    left, gap_x, gap_y = plots.LEFT + 16, plots.GAP_X + 46, plots.GAP_Y + 30
    top = plots.TOP + 14  # a second line of titles
    width = left + columns * (plots.PANEL_WIDTH + gap_x) - gap_x + plots.RIGHT
    height = top + -(-len(settings) // columns) * (plots.PANEL_HEIGHT + gap_y) - gap_y + plots.BOTTOM + 8
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
             f"<title>Latency by throughput under open-loop load</title><style>{plots.STYLE}</style>",
             f'<rect class="paper" width="{width}" height="{height}"/>',
             plots.text(left, 24, "Latency from scheduled arrival, by throughput (Poisson arrivals)", "title")]
    for i, (setting, measured) in enumerate(settings.items()):
        most = max(row["answered_per_s"] for row in measured) * 1.05 or 1
        axes = Axes(left + i % columns * (plots.PANEL_WIDTH + gap_x), top + i // columns * (plots.PANEL_HEIGHT + gap_y),
                    most, low, high)
        parts += panel(axes, measured, titles_of(setting))
    return "\n".join(parts + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="output of ss1-bench model --rate -o json (or jsonl)")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="SVG file to write")
    options = parser.parse_args()
    options.out.write_text(draw([row for path in options.files for row in read_rows(path)]))


if __name__ == "__main__":
    main()
