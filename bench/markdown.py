# SPDX-License-Identifier: Apache-2.0
"""Numbers, tables and paragraphs of the reports."""
import math
import textwrap


def number(value, digits=3):
    """So many significant digits, never in scientific notation."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return str(value)
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def table(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def reasons(cells, known):
    """A paragraph of those that have a cell. `known`: [(cell -> whether it is about it, text)]."""
    found = [text for chooses, text in known if any(map(chooses, cells))]
    text = " ".join(["Why goals are missed, as far as it is known.", *found])
    return f"\n{textwrap.fill(text, 128, break_on_hyphens=False)}\n" if found else ""
