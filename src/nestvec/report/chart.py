"""The main chart: retention against memory per vector.

The chart uses only ``Figure`` of matplotlib, not the global state of ``pyplot``. Each line has its
name at its end instead of a legend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.planning.choose import Plan
from nestvec.report.canvas import (
    GAP,
    Canvas,
    draw_single_stage,
    floor_below,
    height,
    interval_ends,
    single_stage,
    spread,
)
from nestvec.report.captions import axis_title, chosen_note, describe_quality, note, target_share
from nestvec.report.comparison import CurveComparison
from nestvec.report.svg import drawing, save_chart
from nestvec.report.theme import DARK, LIGHT
from nestvec.wording import bytes_text, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["quality_chart", "save_chart"]

_HEADROOM = 0.17  # of the range drawn, for the label of the chosen point
_BYTES = 4  # of a float32


def quality_chart(
    curves: Mapping[str, Curve],
    plan: Plan | None = None,
    *,
    metric: str = "ndcg@10",
    dark: bool = False,
) -> Figure:
    """Draw retention against memory per vector in bytes.

    100 % is the first curve at full precision. The vertical axis starts at the multiple of ten
    below all float32 points and baselines. A note counts the points below the axis.

    Args:
        curves: Curves by display name, the main curve first; only float32 of the others is drawn.
        plan: Plan whose point and target are marked, or None.
        metric: The metric to draw.
        dark: Draw light lines on a dark background.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, or full precision
            scores 0.
        MissingExtra: If matplotlib is not installed.
    """
    comparison = CurveComparison(curves, metric)
    with drawing():
        picture = _QualityPicture(Canvas.new(DARK if dark else LIGHT), comparison)
        picture.draw_levels(None if plan is None else target_share(plan))
        picture.draw_lines()
        picture.draw_rescored()
        picture.draw_full_precision()
        if plan is not None:
            picture.draw_chosen(plan)
        picture.canvas.figure.set_label(describe_quality(comparison, plan))
    return picture.canvas.figure


class _QualityPicture:
    """Quality against memory, drawn in steps."""

    def __init__(self, canvas: Canvas, comparison: CurveComparison) -> None:
        self.canvas, self._comparison = canvas, comparison
        heights = [
            *self._float32_heights(),
            *(100 * y for y in _baseline_shares(comparison).values()),
        ]
        self._floor = floor_below(heights)
        rows = comparison.rows(comparison.name)
        top = max(100, *heights, *(height(comparison, row) for row in rows))
        self._range = (top - self._floor) * (1 + _HEADROOM)
        canvas.percent_y(self._floor, top, room=(top - self._floor) * _HEADROOM)
        sizes = [row.cost.ram_bytes_per_vector for row in rows]
        canvas.log_x(_memory_ticks(min(sizes), max(sizes)), left=1.8, right=1.5)
        canvas.axes.set_xlabel("Memory per vector, log scale", color=canvas.theme.muted)
        below = sum(height(comparison, row) < self._floor for row in self._drawn_rows())
        canvas.title(axis_title(comparison), note(comparison, self._floor, below))
        self._taken: list[float] = []  # heights of labels at the left edge

    def draw_levels(self, target_share: float | None) -> None:
        """Draw the target and the baselines as horizontal lines with their names at the left.

        The name of a baseline is above its line, the name of the target below its line, unless
        two names would overlap.
        """
        target = math.inf if target_share is None else 100 * target_share
        gap, crowded = GAP * self._range, False
        for name, share in _baseline_shares(self._comparison).items():
            under = target - 100 * share
            crowded |= 0 <= under < 2 * gap
            above = not 0 <= under < 3 * gap
            text = f"{name} {percent(share)}"
            self._draw_level(100 * share, text, self.canvas.theme.muted, above=above)
        if target_share is not None:
            text = f"target {target:g} %"
            self._draw_level(target, text, self.canvas.theme.accent, above=crowded)

    def _draw_level(self, y: float, name: str, color: str, *, above: bool) -> None:
        until = self._comparison.curve.full.cost.ram_bytes_per_vector
        self.canvas.rule(y, color, until=until, dotted=color != self.canvas.theme.accent)
        self.canvas.edge_text(name, y, above=above)
        self._taken.append(y + GAP / 2 * self._range * (1 if above else -1))

    def draw_lines(self) -> None:
        """Draw the single-stage points by precision, and the baselines by dim."""
        ends: dict[str, tuple[float, float]] = {}
        for number, (name, shares) in enumerate(self._comparison.baselines_by_dim().items()):
            levels = [(float(_BYTES * dim), 100 * share) for dim, share in shares.items()]
            self.canvas.quiet_line(levels, number)
            self._note_end(ends, name, levels)
        for name, points in draw_single_stage(self.canvas, self._comparison, _memory).items():
            self._note_end(ends, name, points)
        self._name_ends(ends)

    def _note_end(
        self, ends: dict[str, tuple[float, float]], name: str, points: Sequence[tuple[float, float]]
    ) -> None:
        visible = [point for point in points if point[1] >= self._floor]
        if visible:
            ends[name] = visible[-1]

    def _name_ends(self, ends: dict[str, tuple[float, float]]) -> None:
        *others, leftmost = ends  # the line with the fewest bits has free space on its left
        for x in {ends[name][0] for name in others}:
            names = [name for name in others if ends[name][0] == x]
            lowest = self._floor + 1.5 * GAP * self._range  # above the tick labels
            heights = [max(ends[name][1], lowest) for name in names]
            places = spread(heights, GAP * self._range)
            for name, y in zip(names, places, strict=True):
                self.canvas.text([name], (x, y), offset=(5, -7))
        self.canvas.text([leftmost], ends[leftmost], offset=(-7, 0), align="right")

    def draw_rescored(self) -> None:
        """Draw the best rescored points and their confidence band."""
        rows = self._comparison.rescored()
        points = [self._place(row) for row in rows]
        visible = [point for point in points if point[1] >= self._floor]
        if not visible:
            return
        ends = interval_ends(self._comparison, rows, [x for x, _ in points])
        self.canvas.band(ends, self.canvas.theme.ink)
        self.canvas.heavy_line(points)
        x, y = visible[0]
        self.canvas.text(
            ["shortlist", "and rescoring"],
            (x, self._free(y)),
            offset=(-8, 5),
            align="right",
            color=self.canvas.theme.ink,
        )

    def draw_full_precision(self) -> None:
        """Mark full precision."""
        full = self._comparison.curve.full
        self.canvas.dot(self._place(full), self.canvas.theme.ink, filled=False)
        lines = ["full precision", str(full.point), bytes_text(full.cost.ram_bytes_per_vector)]
        self.canvas.text(lines, self._place(full), offset=(9, 9), color=self.canvas.theme.ink)

    def draw_chosen(self, plan: Plan) -> None:
        """Mark the point of the plan, with its name at the top of the chart."""
        x, y = self._place(self._comparison.curve[plan.point])
        low, high = self.canvas.axes.get_xlim()
        across = math.log(x / low) / math.log(high / low)
        align = "left" if across < 0.25 else "right" if across > 0.75 else "center"
        top = self._floor + self._range
        color = self.canvas.theme.accent
        self.canvas.stem((x, y), up_to=top - 0.095 * self._range)
        self.canvas.dot((x, y), color, filled=True)
        self.canvas.text(
            [str(plan.point), chosen_note(self._comparison, plan)],
            (x, top),
            offset=(0, -5),
            align=align,
            color=color,
        )

    def _place(self, row: CurvePoint) -> tuple[float, float]:
        return _memory(row), height(self._comparison, row)

    def _drawn_rows(self) -> list[CurvePoint]:
        lines = (
            self._comparison.single_stage(*line).values() for line in single_stage(self._comparison)
        )
        return [*(row for rows in lines for row in rows), *self._comparison.rescored()]

    def _float32_heights(self) -> list[float]:
        lines = (
            self._comparison.single_stage(name, "float32").values()
            for name in self._comparison.curves
        )
        return [height(self._comparison, row) for rows in lines for row in rows]

    def _free(self, y: float) -> float:
        """Return the first height at or below y without a label at the left edge."""
        step = 2 * GAP * self._range
        while any(abs(y - taken) < step for taken in self._taken) and y - step > self._floor:
            y -= step
        return y


def _memory(row: CurvePoint) -> float:
    return row.cost.ram_bytes_per_vector


def _baseline_shares(comparison: CurveComparison) -> dict[str, float]:
    return {name: score / comparison.full_score for name, score in comparison.baselines().items()}


def _memory_ticks(least: float, most: float) -> dict[float, str]:
    sizes = [2**i for i in range(math.floor(math.log2(least)), math.ceil(math.log2(most)) + 1)]
    *others, last = sizes
    return {size: f"{size:,}" for size in others} | {last: bytes_text(last)}
