"""The picture of quality by dims: each precision alone, without a second stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nestvec.curve.curve import Curve
from nestvec.report.canvas import Canvas, spread
from nestvec.report.captions import describe_dims, note, title
from nestvec.report.kept import Kept
from nestvec.report.lines import GAP, draw_singles, floor_below
from nestvec.report.svg import drawing
from nestvec.report.theme import DARK, LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def dims_chart(
    curves: Mapping[str, Curve], metric: str = "ndcg@10", *, dark: bool = False
) -> Figure:
    """Draw what is kept by dims: each precision of the first curve, float32 of the others.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, or full width scores 0.
        MissingExtra: If matplotlib is not installed.
    """
    kept = Kept(curves, metric)
    with drawing():
        canvas = Canvas.new(DARK if dark else LIGHT)
        lines = draw_singles(canvas, kept, lambda row: row.point.stages[0].dim)
        ends = {name: points[-1][1] for name, points in lines.items()}
        heights = [y for points in lines.values() for _, y in points]
        floor = floor_below(heights)
        canvas.percent_y(floor, max(heights), room=1)
        canvas.log_x({dim: f"{dim:,}" for dim in sorted(kept.dims)}, left=1.3, right=0.1)
        _name_ends(canvas, ends, min(kept.dims), max(heights) - floor)
        canvas.axes.set_xlabel("Dims kept, log scale", color=canvas.theme.muted)
        canvas.title(title(kept), note(kept, floor, below=0))
        canvas.figure.set_label(describe_dims(kept))
    return canvas.figure


def _name_ends(canvas: Canvas, ends: dict[str, float], x: float, height: float) -> None:
    """Write the names of lines left of where they end; lines that end as one share a text."""
    groups: list[tuple[float, list[str]]] = []
    for name, y in sorted(ends.items(), key=lambda end: -end[1]):
        if groups and groups[-1][0] - y < GAP / 2 * height:
            groups[-1][1].append(name)
        else:
            groups.append((y, [name]))
    places = spread([y for y, _ in groups], GAP * height)
    for (_, names), y in zip(groups, places, strict=True):
        ordered = sorted(names, key=list(ends).index)
        canvas.text([", ".join(ordered)], (x, y), offset=(-9, 0), align="right")
