"""What the pictures draw alike: the lines of points of one stage, and where an axis begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nestvec.curve.point import CurvePoint
from nestvec.report.canvas import Canvas
from nestvec.report.kept import Kept
from nestvec.types import Precision

GAP = 0.042  # of the axis: labels nearer than this touch
_STEP = 10  # percent; a vertical axis begins at a multiple
_FLOAT32: Precision = "float32"


def singles(kept: Kept) -> list[tuple[str, Precision]]:
    """List the lines of one stage: the other curves' float32, then the first's precisions."""
    others = [(name, _FLOAT32) for name in kept.curves if name != kept.name]
    return [*others, *((kept.name, precision) for precision in kept.precisions)]


def draw_singles(
    canvas: Canvas, kept: Kept, place: Callable[[CurvePoint], float]
) -> dict[str, list[tuple[float, float]]]:
    """Draw the lines of ``singles``, the first curve's with marks and intervals.

    Args:
        canvas: What to draw on.
        kept: What to draw.
        place: Where a row stands on the horizontal axis.

    Returns:
        The points (x, percent) of each line, by its name.
    """
    drawn = {}
    for name, precision in singles(kept):
        rows = [*kept.singles(name, precision).values()]
        points = [(place(row), height(kept, row)) for row in rows]
        if name != kept.name:
            canvas.line(points, canvas.theme.twin, dashed=True)
            drawn[f"{name} {precision}"] = points
            continue
        color = canvas.theme.precisions[precision]
        canvas.line(points, color)
        canvas.marks(points, precision)
        canvas.bars(interval_ends(kept, rows, [x for x, _ in points]), color)
        drawn[precision] = points
    return drawn


def height(kept: Kept, row: CurvePoint) -> float:
    """Return what a row keeps, in percent."""
    return 100 * kept.share(row)


def interval_ends(
    kept: Kept, rows: Sequence[CurvePoint], places: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Return (x, low, high) in percent of the rows whose interval is known."""
    known = ((x, kept.interval(row)) for x, row in zip(places, rows, strict=True))
    return [(x, 100 * ends.low, 100 * ends.high) for x, ends in known if ends is not None]


def floor_below(heights: Sequence[float]) -> float:
    """Return the percentage at which an axis begins that shows these."""
    return max(0, _STEP * math.floor((min(heights) - 1) / _STEP))
