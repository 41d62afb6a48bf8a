"""Charts of the comparison page: the distribution of overlap, and the change of each query."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nestvec.operate.comparison_report import ComparisonReport
from nestvec.report.canvas import Canvas
from nestvec.report.svg import drawing
from nestvec.report.theme import DARK, LIGHT
from nestvec.wording import count_text, metric_name, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOW = 0.5  # queries below this overlap are highlighted
_HEADROOM = 1.12  # for the counts above the bars
_HEIGHT = 4.0  # inches
_AXES = (0.07, 0.13, 0.915, 0.7)  # left, bottom, width, height, of the figure


def overlap_chart(report: ComparisonReport, *, dark: bool = False) -> Figure:
    """Draw how many queries have which overlap@k.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    counts = () if report.overlap is None else report.overlap.histogram
    with drawing():
        canvas = _canvas(dark=dark)
        bins = len(counts) - 1
        colors = [
            canvas.theme.accent if n / bins < _LOW else canvas.theme.ink for n in range(len(counts))
        ]
        canvas.axes.bar(range(len(counts)), counts, color=colors, width=0.8, zorder=2)
        for n, count in enumerate(counts):
            if count:
                canvas.text([f"{count:,}"], (n, count), offset=(0, 7), align="center")
        names = [f"{n / bins:.1f}–{(n + 1) / bins:.1f}" for n in range(bins)]
        canvas.axes.set_xticks(range(len(counts)), [*names, "1"])
        canvas.axes.set_ylim(0, max(counts) * _HEADROOM)
        canvas.axes.set_xlabel(f"Overlap@{report.k}", color=canvas.theme.muted)
        low = sum(count for n, count in enumerate(counts) if n / bins < _LOW)
        note = f"1: all {report.k} results are the same. {count_text(low, 'query')} below {_LOW:g}."
        canvas.title("Queries by overlap of OLD and NEW", note)
        canvas.figure.set_label(f"Histogram of overlap@{report.k}. {note}")
    return canvas.figure


def gain_chart(report: ComparisonReport, *, dark: bool = False) -> Figure:
    """Draw the change of the metric of each query with labels, from loss to gain.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    gains = sorted(row.gain for row in report.queries if row.old_score is not None)
    found = report.relevance
    name = "" if found is None else metric_name(found.metric)
    with drawing():
        canvas = _canvas(dark=dark)
        colors = [canvas.theme.accent if gain < 0 else canvas.theme.ink for gain in gains]
        x = [(n + 0.5) / len(gains) * 100 for n in range(len(gains))]
        canvas.axes.bar(x, gains, color=colors, width=100 / len(gains), zorder=2)
        most = max(0.1, math.ceil(10 * max(map(abs, gains), default=0)) / 10)
        canvas.axes.set_ylim(-most, most)
        canvas.axes.set_xlim(0, 100)
        canvas.axes.set_xlabel(
            "Percent of the queries with labels, sorted by change", color=canvas.theme.muted
        )
        worse, better = (sum(sign * gain > 0 for gain in gains) for sign in (-1, 1))
        note = (
            f"NEW − OLD. {percent(worse / len(gains))} of the queries are worse, "
            f"{percent(better / len(gains))} are better."
        )
        canvas.title(f"Change of {name} of each query", note)
        canvas.figure.set_label(f"Chart of the change of {name} of each query. {note}")
    return canvas.figure


def _canvas(*, dark: bool) -> Canvas:
    canvas = Canvas.new(DARK if dark else LIGHT)
    canvas.figure.set_size_inches(canvas.figure.get_figwidth(), _HEIGHT)
    canvas.axes.set_position(_AXES)
    return canvas
