#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One HTML page of what ./demo.sh measured: quality and latency, dense against SS1, with the command behind each picture.

    demo_page.py FOLDER            writes FOLDER/demo.html
    demo_page.py --table FILE      prints the latencies of one file as text

FOLDER has, from demo.sh: info.json (ss1 info -o json), quality-dense.json and quality-ss1.json (ss1 run --summary),
latency-dlrm.json and latency-encoder.json (ss1-bench model -o json: the dense model first), search.txt (examples/search.py), and
beside each NAME.json or .txt the command that made it, NAME.cmd.
"""
import argparse
import html
import json
import math
import pathlib

STYLE = """
:root { --paper: #fff; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --dense: #7a828c; --ss1: #1b6ac9; --code: #f3f5f7 }
@media (prefers-color-scheme: dark) {
:root { --paper: #14171a; --ink: #e6e9ec; --soft: #9aa4ae; --line: #333a41; --dense: #9aa4ae; --ss1: #6db0ff; --code: #1d2125 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 52rem; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem }
p { margin: .25rem 0 1rem } .soft { color: var(--soft) }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.5rem 0 }
.facts div { min-width: 7rem } .facts b { display: block; font-size: 1.7rem; line-height: 1.2 } .facts span { color: var(--soft) }
svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: .5rem 0 } text { font: 13px system-ui, sans-serif; fill: var(--ink) }
.dense { fill: var(--dense) } .ss1 { fill: var(--ss1) } .soft-text { fill: var(--soft) } .axis { stroke: var(--line) }
.area { opacity: .55 }
pre { background: var(--code); padding: .6rem .8rem; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
      font: 13px/1.45 ui-monospace, monospace; margin: .5rem 0 }
"""
WIDTH, LABEL, BAR = 420, 56, 16  # of a picture; a phone shows it a little smaller, a desktop larger


def time_text(ns):
    return f"{ns / 1e6:.3g} ms" if ns >= 1e6 else f"{ns / 1e3:.3g} µs"


def svg(height, parts, label):
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{html.escape(label)}">' + "".join(parts) + "</svg>")


def text(x, y, words, css="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{html.escape(words)}</text>'


def bars(groups, label):
    """Bars of [(group, [(css, name, share of the longest, words)])]."""
    parts, y, room = [], 4, WIDTH - LABEL - 104
    for group, rows in groups:
        if group:
            parts.append(text(0, y + 13, group, "soft-text"))
            y += 20
        for css, name, share, words in rows:
            parts += [text(LABEL - 8, y + 13, name, anchor="end"),
                      f'<rect x="{LABEL}" y="{y}" width="{max(share * room, 1):.1f}" height="{BAR}" rx="2" class="{css}"/>',
                      text(LABEL + share * room + 6, y + 13, words)]
            y += BAR + 5
        y += 8
    return svg(y, parts, label)


def quality_bars(dense, ss1):
    rows = [(css, name, model["auc"], f"AUC {model['auc']:.4f}") for css, name, model in (("dense", "dense", dense), ("ss1", "SS1", ss1))]
    return bars([("", rows)], f"AUC {dense['auc']:.4f} dense, {ss1['auc']:.4f} SS1")


def pairs_of(rows):
    """[(batch, dense row, SS1 row)] of a document's results."""
    by_batch = {}
    for row in rows:
        by_batch.setdefault(row["batch"], []).append(row)
    return [(batch, *pair) for batch, pair in by_batch.items()]


def latency_bars(rows, unit):
    groups = []
    for batch, dense, ss1 in pairs_of(rows):
        longest = max(dense["ns_p50"], ss1["ns_p50"])
        groups.append((f"{batch} {unit}{'s' if batch > 1 else ''}",
                       [("dense", "dense", dense["ns_p50"] / longest, time_text(dense["ns_p50"])),
                        ("ss1", "SS1", ss1["ns_p50"] / longest, f"{time_text(ss1['ns_p50'])}  ({ss1['speedup']:.2f}×)")]))
    return bars(groups, "median latency")


def density(percentiles, edges):
    """The share of the samples in each bin, from their percentiles 0, 1, ... 100: samples between two lie evenly."""
    def share_below(x):
        if x <= percentiles[0]:
            return 0.0
        for i in range(100):
            low, high = percentiles[i], percentiles[i + 1]
            if x < high:
                return (i + (x - low) / (high - low)) / 100
        return 1.0
    below = [share_below(edge) for edge in edges]
    return [b - a for a, b in zip(below, below[1:])]


def histogram(dense, ss1):
    """Both on one logarithmic axis of time; the slowest of 100 runs are left out on both sides."""
    both = [("dense", dense["ns_percentiles"]), ("ss1", ss1["ns_percentiles"])]
    low, high = min(p[0] for _, p in both) * 0.97, max(p[99] for _, p in both) * 1.03
    bins, height = 72, 130
    edges = [low * (high / low) ** (i / bins) for i in range(bins + 1)]
    x_of = lambda ns: WIDTH * math.log(ns / low) / math.log(high / low)
    parts, shares = [], {css: density(p, edges) for css, p in both}
    highest = max(max(s) for s in shares.values())
    for css, values in shares.items():
        for i, value in enumerate(values):
            if value > 0:
                parts.append(f'<rect x="{x_of(edges[i]):.1f}" y="{height - value / highest * (height - 22):.1f}" '
                             f'width="{WIDTH / bins:.1f}" height="{value / highest * (height - 22):.1f}" class="{css} area"/>')
    parts.append(f'<line x1="0" y1="{height}" x2="{WIDTH}" y2="{height}" class="axis"/>')
    for css, name, row in (("dense", "dense", dense), ("ss1", "SS1", ss1)):
        x = x_of(row["ns_p50"])
        parts.append(text(min(max(x, 20), WIDTH - 20), 14, name, css, "middle"))
    parts += [text(0, height + 17, time_text(low), "soft-text", "start"), text(WIDTH, height + 17, time_text(high), "soft-text", "end")]
    return svg(height + 24, parts, "latency histogram")


def section(title, words, picture, *commands):
    listing = "".join(f"<pre>{html.escape(command)}</pre>" for command in commands)
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(words)}</p>{picture}{listing}"


def fact(value, words):
    return f"<div><b>{html.escape(value)}</b><span>{html.escape(words)}</span></div>"


def page(folder):
    read = lambda name: json.loads((folder / f"{name}.json").read_text())
    command = lambda name: (folder / f"{name}.cmd").read_text().strip()
    info, dense, ss1 = read("info"), read("quality-dense"), read("quality-ss1")
    dlrm, encoder = read("latency-dlrm")["results"], read("latency-encoder")["results"]
    batch, slow, fast = pairs_of(dlrm)[len(pairs_of(dlrm)) // 2]
    _, slow_encoder, fast_encoder = pairs_of(encoder)[0]
    parts = [
        "<h1>SS1 layers against dense ones, on this machine</h1>",
        f'<p class="soft">{html.escape(info["cpu"])}, {info["threads"]} threads, ss1 {html.escape(info["ss1"])}, f32</p>',
        '<div class="facts">' + fact(f"{fast['speedup']:.2f}×", f"faster DLRM, batch {batch}") +
        fact(f"{fast_encoder['speedup']:.2f}×", f"faster encoder, {fast_encoder['tokens']} tokens") +
        fact(f"{ss1['auc'] - dense['auc']:+.4f}".replace("-", "\u2212"), "AUC of SS1 beside dense") + "</div>",
        section("Quality", f"Will a student rate a lecture 4 or 5? The area under the ROC curve on {dense['n']:,} held-out rows of "
                "InstEval; 0.5 is a guess, 1 is perfect.", quality_bars(dense, ss1), command("quality-dense"), command("quality-ss1")),
        section("Latency of the DLRM", "Medians of both models, which take turns in one process on the same rows. A bar compares only "
                "with the one beside it.", latency_bars(dlrm, "row"), command("latency-dlrm")),
        section(f"Every run, batch {batch}", f"How often each latency occurred, of {slow['samples']:,} runs of each model.",
                histogram(slow, fast), command("latency-dlrm")),
        section("Latency of an encoder", f"BERT-base's shape with random weights, one sequence of {slow_encoder['tokens']} tokens.",
                latency_bars(encoder, "sequence"), command("latency-encoder")),
        section("Search", "Of 100 lines that describe commands, those nearest to a word, by the cosine of their embeddings.",
                f"<pre>{html.escape((folder / 'search.txt').read_text())}</pre>", command("search"))]
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
            f'initial-scale=1"><title>ss1 demo</title><style>{STYLE}</style></head><body>' + "\n".join(parts) + "</body></html>\n")


def print_table(path):
    print(f"{'batch':>6} {'dense':>10} {'SS1':>10} {'ratio':>6}")
    for batch, dense, ss1 in pairs_of(json.loads(path.read_text())["results"]):
        print(f"{batch:>6} {time_text(dense['ns_p50']):>10} {time_text(ss1['ns_p50']):>10} {ss1['speedup']:>6.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--table", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args()
    if (arguments.folder is None) == (arguments.table is None):
        parser.error("give either FOLDER or --table FILE")
    if arguments.table:
        print_table(arguments.table)
    else:
        (arguments.folder / "demo.html").write_text(page(arguments.folder))


main()
