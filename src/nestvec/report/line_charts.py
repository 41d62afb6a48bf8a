"""Two pictures of lines: quality by dims, and retention as the corpus grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.errors import InvalidArgument
from nestvec.report.canvas import GAP, Canvas, draw_singles, floor_below, spread
from nestvec.report.captions import axis_title, describe_dims, note, title
from nestvec.report.kept import Kept
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
        _name_precisions(canvas, ends, min(kept.dims), max(heights) - floor)
        canvas.axes.set_xlabel("Dims kept, log scale", color=canvas.theme.muted)
        canvas.title(title(kept), note(kept, floor, below=0))
        canvas.figure.set_label(describe_dims(kept))
    return canvas.figure


def _name_precisions(canvas: Canvas, ends: dict[str, float], x: float, height: float) -> None:
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


def has_sizes(kept: Kept) -> bool:
    """Tell whether the curve was measured at two sizes of the corpus or more."""
    return len(kept.curve.full.by_size.get(kept.metric, ())) > 1


def size_rows(kept: Kept, chosen: OperatingPoint | None) -> tuple[CurvePoint, ...]:
    """Pick the rows to show: the chosen one, few bits at full width, few dims at full precision."""
    few_bits = (kept.singles(kept.name, precision) for precision in _CHEAP)
    wide = (rows[kept.dims[0]] for rows in few_bits if kept.dims[0] in rows)
    narrow = [*kept.singles(kept.name, "float32").values()][1:]
    places = np.linspace(0, len(narrow) - 1, min(_MOST_DIMS, len(narrow))).round().astype(int)
    picked = chain(wide, (narrow[place] for place in places))
    rows = {row.point: row for row in picked if kept.metric in row.by_size}
    if chosen is not None and kept.metric in kept.curve[chosen].by_size:
        rows = {chosen: kept.curve[chosen]} | rows
    return tuple(rows.values())


def size_chart(kept: Kept, chosen: OperatingPoint | None = None, *, dark: bool = False) -> Figure:
    """Draw what points keep of full width, against the number of documents.

    Raises:
        InvalidArgument: If the curve was not measured at two sizes or more.
        MissingExtra: If matplotlib is not installed.
    """
    if not has_sizes(kept):
        raise InvalidArgument(f"{kept.name} was measured at one size of its corpus only")
    rows = size_rows(kept, chosen)
    with drawing():
        canvas = Canvas.new(DARK if dark else LIGHT)
        heights = [100 * size.retention for row in rows for size in row.by_size[kept.metric]]
        floor, top = floor_below(heights), max(100, *heights)
        canvas.percent_y(floor, top, room=max(1, (top - floor) * 0.04))
        sizes = [each.n_documents for each in rows[0].by_size[kept.metric]]
        canvas.log_x({size: f"{size:,}" for size in sizes}, left=0.15, right=0.9)
        for row in rows:
            _draw(canvas, kept, row, is_chosen=row.point == chosen)
        _name_ends(canvas, kept, rows, chosen, gap=GAP * (top - floor))
        _end_of_the_measured(canvas, max(sizes))
        note = f"100 % is full width, float32, at the same size. The axis begins at {floor:g} %."
        canvas.title(axis_title(kept), note)
        canvas.figure.set_label(_describe(kept, rows))
    return canvas.figure


def _draw(canvas: Canvas, kept: Kept, row: CurvePoint, *, is_chosen: bool) -> None:
    sizes = row.by_size[kept.metric]
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
    kept: Kept,
    rows: Sequence[CurvePoint],
    chosen: OperatingPoint | None,
    *,
    gap: float,
) -> None:
    last = [row.by_size[kept.metric][-1] for row in rows]
    places = spread([100 * each.retention for each in last], gap)
    for row, end, y in zip(rows, last, places, strict=True):
        color = canvas.theme.accent if row.point == chosen else None
        name = str(row.point) if row.point != chosen else "the chosen point"
        canvas.text([name], (end.n_documents, y), offset=(9, 0), color=color)


def _end_of_the_measured(canvas: Canvas, n_documents: int) -> None:
    canvas.axes.axvline(n_documents, color=canvas.theme.rule, linewidth=1, zorder=0)
    label = f"Documents, log scale; not measured beyond {n_documents:,}"
    canvas.axes.set_xlabel(label, color=canvas.theme.muted)


def _describe(kept: Kept, rows: Sequence[CurvePoint]) -> str:
    parts = []
    for row in rows:
        first, last = row.by_size[kept.metric][0], row.by_size[kept.metric][-1]
        parts.append(
            f"{row.point} {percent(first.retention)} at {first.n_documents:,} documents, "
            f"{percent(last.retention)} at {last.n_documents:,}"
        )
    return f"Chart: what is kept as the corpus grows. {'; '.join(parts)}."
