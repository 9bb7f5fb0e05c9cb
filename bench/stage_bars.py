# SPDX-License-Identifier: Apache-2.0
"""Time by stage as SVG: a file for each model and thread count, a panel for each size and precision, a stacked bar for each of our
models; its length is the time of the run."""
import plots

BAR, GAP, WIDTH, LABEL, VALUE = 13, 4, 210, 96, 62  # of a panel: heights, the dense bar, the names left of it, the times right of it
COLUMN_GAP, ROW_GAP = 18, 40
STYLE = """
.s0 { fill: #1b6ac9 } .s1 { fill: #c2570c } .s2 { fill: #0b7a53 } .s3 { fill: #8b3fb0 } .s4 { fill: #b59a00 } .s5 { fill: #2a9aa8 }
.s6 { fill: #d0467f } .s7 { fill: #5c6b7a } .rest { fill: #bbb }
@media (prefers-color-scheme: dark) {
.s0 { fill: #6db0ff } .s1 { fill: #ff9d5c } .s2 { fill: #4fd1a1 } .s3 { fill: #d29bf0 } .s4 { fill: #e6cf4d } .s5 { fill: #6fd3df }
.s6 { fill: #ff8fb8 } .s7 { fill: #9aa9b8 } .rest { fill: #555 } }
"""


def size_text(cell):
    """`cell` has a batch and the tokens of its sequences: a number, a word for varying lengths, or 0 for a DLRM."""
    tokens = "" if not cell.tokens else f", {cell.tokens} tokens" if isinstance(cell.tokens, int) else f", {cell.tokens}"
    return f"batch {cell.batch}{tokens}"


def rectangle(x, y, width, css):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{BAR}" class="{css}"/>'


def time_text(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def panel(left, top, title, bars, names):
    """`bars`: {name: {"whole", "stages"}}. The longest bar is as wide as the panel."""
    longest = max(bar["whole"] for bar in bars.values())
    parts = [plots.text(left + LABEL, top - 6, title, "panel")]
    for row, (name, bar) in enumerate(bars.items()):
        x, y, scale = left + LABEL, top + row * (BAR + GAP), WIDTH / longest
        parts.append(plots.text(x - 6, y + BAR - 2, name, anchor="end"))
        for stage, seconds in bar["stages"].items():
            parts.append(rectangle(x, y, seconds * scale, f"s{names.index(stage)}"))
            x += seconds * scale
        end = left + LABEL + bar["whole"] * scale
        parts += [rectangle(x, y, end - x, "rest"), plots.text(max(end, x) + 5, y + BAR - 2, time_text(bar["whole"]))]
    return parts


def draw(cells, title):
    """The SVG of {cell: entry} of one model and thread count."""
    dtypes = [dtype for dtype in ("f32", "bf16", "int8") if any(cell.dtype == dtype for cell in cells)]
    sizes = sorted({(str(cell.tokens).rjust(9), cell.batch, cell.tokens) for cell in cells})
    bars = {cell: {name[4:]: each["stages"] for name, each in entry["contenders"].items() if each.get("stages")}
            for cell, entry in cells.items()}
    names = list(dict.fromkeys(stage for group in bars.values() for bar in group.values() for stage in bar["stages"]))
    height_of_panel = max(map(len, bars.values())) * (BAR + GAP)
    column = LABEL + WIDTH + VALUE + COLUMN_GAP
    width, height = len(dtypes) * column + 10, plots.TOP + 24 + len(sizes) * (height_of_panel + ROW_GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
             f"<title>{title}: time by stage</title><style>{plots.STYLE}{STYLE}</style>",
             f'<rect class="paper" width="{width}" height="{height}"/>', plots.text(10, 24, f"{title}: time by stage", "title")]
    x = 10
    for stage, css in [*((stage, f"s{i}") for i, stage in enumerate(names)), ("rest of the run", "rest")]:
        parts += [rectangle(x, 38, BAR, css), plots.text(x + BAR + 5, 38 + BAR - 2, stage)]
        x += BAR + 24 + 7 * len(stage)
    for cell, group in bars.items():
        if group:
            row = next(i for i, size in enumerate(sizes) if size[1:] == (cell.batch, cell.tokens))
            parts += panel(10 + dtypes.index(cell.dtype) * column, plots.TOP + 24 + row * (height_of_panel + ROW_GAP),
                           f"{cell.dtype}, {size_text(cell)}", group, names)
    return "\n".join(parts + ["</svg>", ""])


def draw_model(cells, title, model, threads, cpus):
    """The SVG of one model and thread count, None where no stage was timed."""
    here = {cell: entry for cell, entry in cells.items() if (cell.model, cell.threads) == (model, threads)}
    if not any(each.get("stages") for entry in here.values() for each in entry["contenders"].values()):
        return None
    return draw(here, f"{title}, {threads} thread{'s' * (threads > 1)} of {cpus} CPUs")


def write_all(cells, titles, cpus, folder):
    """Writes stages-MODEL-THREADS-of-CPUS.svg for every model and thread count of one machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for model, threads in sorted({(cell.model, cell.threads) for cell in cells}):
        svg = draw_model(cells, titles[model], model, threads, cpus)
        if svg:
            (folder / f"stages-{model}-{threads}-of-{cpus}.svg").write_text(svg)
