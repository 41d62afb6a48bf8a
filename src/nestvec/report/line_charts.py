"""Two line charts: retention by dims, and retention by corpus size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.errors import InvalidArgument
from nestvec.report.canvas import GAP, Canvas, draw_single_stage, floor_below, spread
from nestvec.report.captions import axis_title, describe_dims, measure_name, note
from nestvec.report.comparison import CurveComparison
from nestvec.report.svg import drawing
from nestvec.report.theme import DARK, LIGHT
from nestvec.types import OperatingPoint, Precision
from nestvec.wording import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_CHEAP: tuple[Precision, ...] = ("int2", "binary")
_MOST_DIMS = 3


def dims_chart(
    curves: Mapping[str, Curve], metric: str = "ndcg@10", *, dark: bool = False
) -> Figure:
    """Draw retention by dims: each precision of the first curve, float32 of the other curves.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, or full
            precision scores 0.
        MissingExtra: If matplotlib is not installed.
    """
    comparison = CurveComparison(curves, metric)
    with drawing():
        canvas = Canvas.new(DARK if dark else LIGHT)
        lines = draw_single_stage(canvas, comparison, lambda row: row.point.stages[0].dim)
        ends = {name: points[-1][1] for name, points in lines.items()}
        heights = [y for points in lines.values() for _, y in points]
        floor = floor_below(heights)
        canvas.percent_y(floor, max(heights), room=1)
        canvas.log_x({dim: f"{dim:,}" for dim in sorted(comparison.dims)}, left=1.3, right=0.1)
        _name_precisions(canvas, ends, min(comparison.dims), max(heights) - floor)
        canvas.axes.set_xlabel("Dims, log scale", color=canvas.theme.muted)
        canvas.title(axis_title(comparison), note(comparison, floor, below=0))
        canvas.figure.set_label(describe_dims(comparison))
    return canvas.figure


def _name_precisions(canvas: Canvas, ends: dict[str, float], x: float, height: float) -> None:
    """Write the names of the lines left of their ends; lines with nearby ends share one label."""
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


def has_sizes(comparison: CurveComparison) -> bool:
    """Return whether the curve was measured with two or more corpus sizes."""
    return len(comparison.curve.full.by_size.get(comparison.metric, ())) > 1


def size_rows(comparison: CurveComparison, chosen: OperatingPoint | None) -> tuple[CurvePoint, ...]:
    """Select the rows to show: the chosen row, few bits at full width, few dims at float32."""
    few_bits = (comparison.single_stage(comparison.name, precision) for precision in _CHEAP)
    wide = (rows[comparison.dims[0]] for rows in few_bits if comparison.dims[0] in rows)
    narrow = [*comparison.single_stage(comparison.name, "float32").values()][1:]
    places = np.linspace(0, len(narrow) - 1, min(_MOST_DIMS, len(narrow))).round().astype(int)
    picked = chain(wide, (narrow[place] for place in places))
    rows = {row.point: row for row in picked if comparison.metric in row.by_size}
    if chosen is not None and comparison.metric in comparison.curve[chosen].by_size:
        rows = {chosen: comparison.curve[chosen]} | rows
    return tuple(rows.values())


def size_chart(
    comparison: CurveComparison, chosen: OperatingPoint | None = None, *, dark: bool = False
) -> Figure:
    """Draw the retention of several points against the number of documents.

    Raises:
        InvalidArgument: If the curve was not measured with two or more corpus sizes.
        MissingExtra: If matplotlib is not installed.
    """
    if not has_sizes(comparison):
        raise InvalidArgument(
            f"{comparison.name} was measured with one corpus size. Evaluate with two or more sizes."
        )
    rows = size_rows(comparison, chosen)
    with drawing():
        canvas = Canvas.new(DARK if dark else LIGHT)
        heights = [100 * size.retention for row in rows for size in row.by_size[comparison.metric]]
        floor, top = floor_below(heights), max(100, *heights)
        canvas.percent_y(floor, top, room=max(1, (top - floor) * 0.04))
        sizes = [each.n_documents for each in rows[0].by_size[comparison.metric]]
        canvas.log_x({size: f"{size:,}" for size in sizes}, left=0.15, right=0.9)
        for row in rows:
            _draw(canvas, comparison, row, is_chosen=row.point == chosen)
        _name_ends(canvas, comparison, rows, chosen, gap=GAP * (top - floor))
        _mark_largest_size(canvas, max(sizes))
        note = f"100 % is full precision on the same documents. The axis starts at {floor:g} %."
        canvas.title(axis_title(comparison), note)
        canvas.figure.set_label(_describe(comparison, rows))
    return canvas.figure


def _draw(canvas: Canvas, comparison: CurveComparison, row: CurvePoint, *, is_chosen: bool) -> None:
    sizes = row.by_size[comparison.metric]
    points = [(size.n_documents, 100 * size.retention) for size in sizes]
    ends = [(size.n_documents, 100 * size.low, 100 * size.high) for size in sizes]
    if is_chosen:
        canvas.band(ends, canvas.theme.accent)
        canvas.heavy_line(points, canvas.theme.accent)
        return
    precision = row.point.stages[0].precision
    canvas.line(points, canvas.theme.precisions[precision])
    canvas.marks(points, precision)
    canvas.bars(ends, canvas.theme.precisions[precision])


def _name_ends(
    canvas: Canvas,
    comparison: CurveComparison,
    rows: Sequence[CurvePoint],
    chosen: OperatingPoint | None,
    *,
    gap: float,
) -> None:
    last = [row.by_size[comparison.metric][-1] for row in rows]
    places = spread([100 * each.retention for each in last], gap)
    for row, end, y in zip(rows, last, places, strict=True):
        color = canvas.theme.accent if row.point == chosen else None
        name = str(row.point) if row.point != chosen else "the chosen point"
        canvas.text([name], (end.n_documents, y), offset=(9, 0), color=color)


def _mark_largest_size(canvas: Canvas, n_documents: int) -> None:
    canvas.axes.axvline(n_documents, color=canvas.theme.rule, linewidth=1, zorder=0)
    label = f"Documents, log scale; not measured beyond {n_documents:,}"
    canvas.axes.set_xlabel(label, color=canvas.theme.muted)


def _describe(comparison: CurveComparison, rows: Sequence[CurvePoint]) -> str:
    parts = []
    for row in rows:
        first, last = row.by_size[comparison.metric][0], row.by_size[comparison.metric][-1]
        parts.append(
            f"{row.point} {percent(first.retention)} at {first.n_documents:,} documents, "
            f"{percent(last.retention)} at {last.n_documents:,}"
        )
    return f"Chart of {measure_name(comparison)} by corpus size, in percent. {'; '.join(parts)}."
