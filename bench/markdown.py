# SPDX-License-Identifier: Apache-2.0
"""Numbers and tables of the reports."""
import math


def number(value, digits=3):
    """Rounds to `digits` significant digits, never in scientific notation."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return str(value)
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def table(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"
