"""What the pictures draw alike: the lines of points of one stage, and where an axis begins."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nestvec.curve_point import CurvePoint
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


def draw_single(
    canvas: Canvas,
    kept: Kept,
    line: tuple[str, Precision],
    points: Sequence[tuple[float, float]],
) -> None:
    """Draw a line of ``singles`` through points (x, percent)."""
    name, precision = line
    if name != kept.name:
        canvas.line(points, canvas.theme.twin, dashed=True)
        return
    canvas.line(points, canvas.theme.precisions[precision])
    canvas.marks(points, precision)


def line_name(kept: Kept, line: tuple[str, Precision]) -> str:
    """Name a line of ``singles``."""
    name, precision = line
    return precision if name == kept.name else f"{name} {precision}"


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
