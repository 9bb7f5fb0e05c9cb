# SPDX-License-Identifier: Apache-2.0
"""Speed-up over M as SVG: one file a shape, a panel for each precision and setting, a line for each c."""
import math

PANEL_WIDTH, PANEL_HEIGHT = 300, 190  # of the axes
LEFT, TOP, GAP_X, GAP_Y, RIGHT, BOTTOM = 54, 64, 74, 58, 56, 46
# The file has two sets of colours, for a light and for a dark page.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-size: 16px; font-weight: 600 } .panel { font-weight: 600 }
.grid { stroke: #ddd } .one { stroke: #777; stroke-width: 1.5 } .paper { fill: #fff }
.line { fill: none; stroke-width: 2 } .mixed { stroke-dasharray: 4 3; stroke-width: 1.5 }
.c1 { stroke: #777 } .c2 { stroke: #1b6ac9 } .c4 { stroke: #c2570c } .c8 { stroke: #0b7a53 } .other { stroke: #8b3fb0 }
text.c1 { fill: #666; stroke: none } text.c2 { fill: #1b6ac9; stroke: none } text.c4 { fill: #c2570c; stroke: none }
text.c8 { fill: #0b7a53; stroke: none } text.other { fill: #8b3fb0; stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .grid { stroke: #3a3a3a } .one { stroke: #999 } .paper { fill: #161616 }
.c1 { stroke: #aaa } .c2 { stroke: #6db0ff } .c4 { stroke: #ff9d5c } .c8 { stroke: #4fd1a1 } .other { stroke: #d29bf0 }
text.c1 { fill: #bbb } text.c2 { fill: #6db0ff } text.c4 { fill: #ff9d5c } text.c8 { fill: #4fd1a1 } text.other { fill: #d29bf0 }
}
"""


def text(x, y, words, css="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{words}</text>'


def line(x1, y1, x2, y2, css):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def colour(c):
    return f"c{c}" if c in (1, 2, 4, 8) else "other"


class Axes:
    """Both logarithmic, to base 2: equal factors are equal lengths."""

    def __init__(self, left, top, ms, low, high):
        self.left, self.top, self.ms, self.low, self.high = left, top, ms, low, high

    def x(self, m):
        first, last = math.log2(self.ms[0]), math.log2(self.ms[-1])
        return self.left + PANEL_WIDTH * ((math.log2(m) - first) / (last - first) if last > first else 0.5)

    def y(self, speedup):
        return self.top + PANEL_HEIGHT * (self.high - math.log2(speedup)) / (self.high - self.low)

    def frame(self, title):
        parts = [text(self.left, self.top - 10, title, "panel")]
        for power in range(self.low, self.high + 1):
            y = self.y(2.0**power)
            label = str(2**power) if power >= 0 else f"1/{2**-power}"
            parts += [line(self.left, y, self.left + PANEL_WIDTH, y, "one" if power == 0 else "grid"),
                      text(self.left - 8, y + 4, label + "×", anchor="end")]
        for m in self.ms:
            if m & (m - 1) == 0:  # 15, 17 and 700 have no room
                parts.append(text(self.x(m), self.top + PANEL_HEIGHT + 16, m, anchor="middle"))
        return parts


def spread(labels, gap=13):
    """Moves labels (y, words, css) apart until none covers another."""
    placed = []
    for y, words, css in sorted(labels):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, words, css))
    return placed


def panel(axes, curves, title):
    parts, labels = axes.frame(title), []
    for (c, scheme), points in sorted(curves.items()):
        css = colour(c)
        path = " ".join(f"{axes.x(m):.1f},{axes.y(speedup):.1f}" for m, speedup in sorted(points.items()))
        parts.append(f'<polyline points="{path}" class="line {css}{" mixed" if scheme == "mixed" else ""}"/>')
        if scheme != "mixed":
            labels.append((axes.y(points[max(points)]) + 4, f"c = {c}" if c > 1 else "dense", css))
    return parts + [text(axes.left + PANEL_WIDTH + 6, y, words, css) for y, words, css in spread(labels)]


def draw(k, n, cells):
    """The SVG of one shape; `cells` {cell: row} are its own."""
    dtypes = [dtype for dtype in ("f32", "bf16", "int8") if any(cell.dtype == dtype for cell in cells)]
    settings = sorted({(cell.threads, cell.weights) for cell in cells}, key=lambda s: (s[0], s[1] != "warm"))
    ms = sorted({cell.m for cell in cells})
    logs = [math.log2(row["speedup"]) for row in cells.values()]
    low, high = min(0, math.floor(min(logs))), max(1, math.ceil(max(logs)))
    width = LEFT + len(dtypes) * (PANEL_WIDTH + GAP_X) - GAP_X + RIGHT
    height = TOP + len(settings) * (PANEL_HEIGHT + GAP_Y) - GAP_Y + BOTTOM
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
             f"<title>Speed-up over the fastest dense peer by M, K = {k}, N = {n}</title><style>{STYLE}</style>",
             f'<rect class="paper" width="{width}" height="{height}"/>',
             text(LEFT, 24, f"K = {k}, N = {n}: speed-up over the fastest dense peer, by rows M (solid: reference, dashed: mixed)", "title")]
    for row, (threads, weights) in enumerate(settings):
        for column, dtype in enumerate(dtypes):
            curves = {}
            for cell, values in cells.items():
                if (cell.dtype, cell.threads, cell.weights) == (dtype, threads, weights):
                    curves.setdefault((cell.c, cell.scheme), {})[cell.m] = values["speedup"]
            if curves:
                axes = Axes(LEFT + column * (PANEL_WIDTH + GAP_X), TOP + row * (PANEL_HEIGHT + GAP_Y), ms, low, high)
                parts += panel(axes, curves, f"{dtype}, {threads} thread{'s' * (threads > 1)}, {weights}")
    return "\n".join(parts + ["</svg>", ""])


def write_all(cells, folder):
    """Writes KxN.svg for every shape that has a speed-up."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, n in sorted({cell[:2] for cell in cells}):
        here = {cell: row for cell, row in cells.items() if cell[:2] == (k, n) and row["speedup"]}
        if here:
            (folder / f"{k}x{n}.svg").write_text(draw(k, n, here))
