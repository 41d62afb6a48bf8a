"""The first picture: what is kept against bytes of memory for a vector.

Drawn with matplotlib's Figure alone, without its global state. Lines carry their names at their
ends. How things are drawn is for ``canvas``, writing files for ``svg``.
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
    draw_singles,
    floor_below,
    height,
    interval_ends,
    singles,
    spread,
)
from nestvec.report.captions import asked_share, chosen_note, describe_quality, note, title
from nestvec.report.kept import Kept
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
    """Draw what is kept against bytes of memory for a vector.

    Percent is of the first curve's full width at float32. The axis begins at the ten below the
    lowest float32 point and baseline; how many points lie below it is stated.

    Args:
        curves: By the name to show, the main one first; of the others float32 is drawn.
        plan: Marks its point and the asked retention.
        metric: Which metric.
        dark: Light lines on a dark ground.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, or full width scores 0.
        MissingExtra: If matplotlib is not installed.
    """
    kept = Kept(curves, metric)
    with drawing():
        picture = _QualityPicture(Canvas.new(DARK if dark else LIGHT), kept)
        picture.draw_levels(None if plan is None else asked_share(plan))
        picture.draw_lines()
        picture.draw_rescored()
        picture.draw_today()
        if plan is not None:
            picture.draw_chosen(plan)
        picture.canvas.figure.set_label(describe_quality(kept, plan))
    return picture.canvas.figure


class _QualityPicture:
    """Quality against memory, drawn in steps."""

    def __init__(self, canvas: Canvas, kept: Kept) -> None:
        self.canvas, self._kept = canvas, kept
        heights = [*self._float32_heights(), *(100 * y for y in _baseline_shares(kept).values())]
        self._floor = floor_below(heights)
        top = max(100, *heights, *(height(kept, row) for row in kept.curve.points))
        self._range = (top - self._floor) * (1 + _HEADROOM)
        canvas.percent_y(self._floor, top, room=(top - self._floor) * _HEADROOM)
        sizes = [row.cost.ram_bytes_per_vector for row in kept.curve.points]
        canvas.log_x(_memory_ticks(min(sizes), max(sizes)), left=1.8, right=1.5)
        canvas.axes.set_xlabel("Memory for each vector, log scale", color=canvas.theme.muted)
        below = sum(height(kept, row) < self._floor for row in self._drawn())
        canvas.title(title(kept), note(kept, self._floor, below))
        self._taken: list[float] = []  # heights of labels at the left edge

    def draw_levels(self, asked: float | None) -> None:
        """Draw the asked retention and the baselines across, with their names at the left.

        A baseline's name stands above its line, the asked one below; unless they would meet.
        """
        target = math.inf if asked is None else 100 * asked
        gap, crowded = GAP * self._range, False
        for name, share in _baseline_shares(self._kept).items():
            under = target - 100 * share
            crowded |= 0 <= under < 2 * gap
            above = not 0 <= under < 3 * gap
            text = f"{name} {percent(share)}"
            self._draw_level(100 * share, text, self.canvas.theme.muted, above=above)
        if asked is not None:
            text = f"{target:g} % asked"
            self._draw_level(target, text, self.canvas.theme.accent, above=crowded)

    def _draw_level(self, y: float, name: str, color: str, *, above: bool) -> None:
        until = self._kept.curve.full.cost.ram_bytes_per_vector
        self.canvas.rule(y, color, until=until, dotted=color != self.canvas.theme.accent)
        self.canvas.edge_text(name, y, above=above)
        self._taken.append(y + GAP / 2 * self._range * (1 if above else -1))

    def draw_lines(self) -> None:
        """Draw the points of one stage by precision, and the baselines by dim."""
        ends: dict[str, tuple[float, float]] = {}
        for number, (name, shares) in enumerate(self._kept.baselines_by_dim().items()):
            levels = [(float(_BYTES * dim), 100 * share) for dim, share in shares.items()]
            self.canvas.quiet_line(levels, number)
            self._note_end(ends, name, levels)
        for name, points in draw_singles(self.canvas, self._kept, _memory).items():
            self._note_end(ends, name, points)
        self._name_ends(ends)

    def _note_end(
        self, ends: dict[str, tuple[float, float]], name: str, points: Sequence[tuple[float, float]]
    ) -> None:
        visible = [point for point in points if point[1] >= self._floor]
        if visible:
            ends[name] = visible[-1]

    def _name_ends(self, ends: dict[str, tuple[float, float]]) -> None:
        *others, leftmost = ends  # the fewest bits: nothing stands to the left of it
        for x in {ends[name][0] for name in others}:
            names = [name for name in others if ends[name][0] == x]
            lowest = self._floor + 1.5 * GAP * self._range  # lest a name touch the ticks
            heights = [max(ends[name][1], lowest) for name in names]
            places = spread(heights, GAP * self._range)
            for name, y in zip(names, places, strict=True):
                self.canvas.text([name], (x, y), offset=(5, -7))
        self.canvas.text([leftmost], ends[leftmost], offset=(-7, 0), align="right")

    def draw_rescored(self) -> None:
        """Draw the best rescored points, and how sure they are."""
        rows = self._kept.rescored()
        points = [self._place(row) for row in rows]
        visible = [point for point in points if point[1] >= self._floor]
        if not visible:
            return
        ends = interval_ends(self._kept, rows, [x for x, _ in points])
        self.canvas.band(ends, self.canvas.theme.ink)
        self.canvas.heavy_line(points)
        x, y = visible[0]
        self.canvas.text(
            ["shortlist,", "then rescored"],
            (x, self._free(y)),
            offset=(-8, 5),
            align="right",
            color=self.canvas.theme.ink,
        )

    def draw_today(self) -> None:
        """Mark full width at float32."""
        full = self._kept.curve.full
        self.canvas.dot(self._place(full), self.canvas.theme.ink, filled=False)
        lines = ["today", str(full.point), bytes_text(full.cost.ram_bytes_per_vector)]
        self.canvas.text(lines, self._place(full), offset=(9, 9), color=self.canvas.theme.ink)

    def draw_chosen(self, plan: Plan) -> None:
        """Mark the plan's point, with its name above everything else."""
        x, y = self._place(self._kept.curve[plan.point])
        low, high = self.canvas.axes.get_xlim()
        across = math.log(x / low) / math.log(high / low)
        align = "left" if across < 0.25 else "right" if across > 0.75 else "center"
        top = self._floor + self._range
        color = self.canvas.theme.accent
        self.canvas.stem((x, y), up_to=top - 0.095 * self._range)
        self.canvas.dot((x, y), color, filled=True)
        self.canvas.text(
            [str(plan.point), chosen_note(self._kept, plan)],
            (x, top),
            offset=(0, -5),
            align=align,
            color=color,
        )

    def _place(self, row: CurvePoint) -> tuple[float, float]:
        return _memory(row), height(self._kept, row)

    def _drawn(self) -> list[CurvePoint]:
        lines = (self._kept.singles(*line).values() for line in singles(self._kept))
        return [*(row for rows in lines for row in rows), *self._kept.rescored()]

    def _float32_heights(self) -> list[float]:
        lines = (self._kept.singles(name, "float32").values() for name in self._kept.curves)
        return [height(self._kept, row) for rows in lines for row in rows]

    def _free(self, y: float) -> float:
        """Return the height nearest to y, in steps down, where no label stands at the left."""
        step = 2 * GAP * self._range
        while any(abs(y - taken) < step for taken in self._taken) and y - step > self._floor:
            y -= step
        return y


def _memory(row: CurvePoint) -> float:
    return row.cost.ram_bytes_per_vector


def _baseline_shares(kept: Kept) -> dict[str, float]:
    return {name: score / kept.full_score for name, score in kept.baselines().items()}


def _memory_ticks(least: float, most: float) -> dict[float, str]:
    sizes = [2**i for i in range(math.floor(math.log2(least)), math.ceil(math.log2(most)) + 1)]
    *others, last = sizes
    return {size: f"{size:,}" for size in others} | {last: bytes_text(last)}
