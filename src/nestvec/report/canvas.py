"""Drawing functions that all charts share: axes, lines, markers and texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestvec.curve.point import CurvePoint
from nestvec.report.comparison import CurveComparison
from nestvec.report.theme import MARKERS, Theme
from nestvec.types import Precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALL = 8  # points
_LINE_HEIGHT = 1.35
_SIZE = (7.5, 4.7)  # inches
_AXES = (0.06, 0.11, 0.925, 0.755)  # left, bottom, width, height, of the figure
_MOST_TICKS = 13
_DASHES = ((1, 1.6), (5, 2), (5, 1.5, 1, 1.5), (2, 3))
_LEAST_TICKS = 4
_RULES, _LINES, _POINTS, _TEXTS = 1, 2, 3, 4  # drawing order
GAP = 0.042  # of the axis: the smallest distance of two labels
_STEP = 10  # percent; a vertical axis starts at a multiple
_FLOAT32: Precision = "float32"


@dataclass(frozen=True)
class Canvas:
    """A figure with one set of axes and a theme."""

    figure: Figure
    axes: Axes
    theme: Theme

    @classmethod
    def new(cls, theme: Theme) -> Canvas:
        """Create a figure with one set of axes: horizontal grid lines, no frame."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=_SIZE, facecolor=theme.paper)
        axes = figure.add_axes(_AXES, facecolor="none")
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(theme.rule)
        axes.tick_params(length=0, labelcolor=theme.muted, labelsize=SMALL)
        axes.grid(axis="y", color=theme.rule, linewidth=0.7, zorder=0)
        return cls(figure, axes, theme)

    def log_x(self, ticks: Mapping[float, str], *, left: float, right: float) -> None:
        """Make the horizontal axis logarithmic.

        Args:
            ticks: Labels by value.
            left: Space before the smallest tick, in doublings.
            right: Space after the largest tick, in doublings.
        """
        from matplotlib.ticker import NullLocator

        labeled = dict(list(ticks.items())[:: math.ceil(len(ticks) / _MOST_TICKS)])
        self.axes.set_xscale("log", base=2)
        self.axes.set_xlim(min(ticks) / 2**left, max(ticks) * 2**right)
        self.axes.set_xticks(list(labeled), list(labeled.values()))
        self.axes.xaxis.set_minor_locator(NullLocator())

    def percent_y(self, low: float, high: float, *, room: float) -> None:
        """Make the vertical axis show percentages.

        Args:
            low: Start of the axis.
            high: The largest value.
            room: Free space above ``high``.
        """
        self.axes.set_ylim(low, high + room)
        step = next(step for step in (10, 5, 2, 1) if (high - low) / step >= _LEAST_TICKS)
        self.axes.set_yticks([y for y in range(math.ceil(low), math.floor(high) + 1, step)])

    def line(
        self, points: Sequence[tuple[float, float]], color: str, *, dashed: bool = False
    ) -> None:
        """Draw a thin line through points (x, y)."""
        x, y = zip(*points, strict=True)
        style = (0, (4, 3)) if dashed else "-"
        self.axes.plot(x, y, color=color, linewidth=1.1, linestyle=style, zorder=_LINES)

    def quiet_line(self, points: Sequence[tuple[float, float]], number: int) -> None:
        """Draw a thin gray line; the number selects its dash pattern."""
        x, y = zip(*points, strict=True)
        dashes = _DASHES[number % len(_DASHES)]
        color = self.theme.twin
        self.axes.plot(x, y, color=color, linewidth=0.8, linestyle=(0, dashes), zorder=_LINES)

    def heavy_line(self, points: Sequence[tuple[float, float]], color: str | None = None) -> None:
        """Draw the main line."""
        x, y = zip(*points, strict=True)
        self.axes.plot(x, y, color=color or self.theme.ink, linewidth=2.2, zorder=_POINTS)

    def band(self, ends: Sequence[tuple[float, float, float]], color: str) -> None:
        """Shade the area between low and high, given as (x, low, high)."""
        if not ends:
            return
        x, low, high = zip(*ends, strict=True)
        self.axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0, zorder=_RULES)

    def bars(self, ends: Sequence[tuple[float, float, float]], color: str) -> None:
        """Draw a thin vertical bar for each (x, low, high)."""
        if not ends:
            return
        x, low, high = zip(*ends, strict=True)
        self.axes.vlines(x, low, high, color=color, linewidth=1, alpha=0.6, zorder=_LINES)

    def marks(self, points: Sequence[tuple[float, float]], precision: str) -> None:
        """Mark points with the marker and color of a precision."""
        x, y = zip(*points, strict=True)
        self.axes.plot(
            x,
            y,
            linestyle="none",
            marker=MARKERS[precision],
            color=self.theme.precisions[precision],
            markersize=4.5,
            zorder=_POINTS,
        )

    def dot(self, point: tuple[float, float], color: str, *, filled: bool) -> None:
        """Draw one large dot, or a ring."""
        self.axes.plot(
            *point,
            color=color,
            marker="o",
            markersize=8.5,
            markerfacecolor=color if filled else self.theme.paper,
            markeredgecolor=self.theme.paper if filled else color,
            markeredgewidth=1.6,
            zorder=_TEXTS,
        )

    def rule(self, y: float, color: str, *, until: float, dotted: bool) -> None:
        """Draw a horizontal line from the left edge to ``until``."""
        style = (0, (1, 2.2)) if dotted else "-"
        x = (self.axes.get_xlim()[0], until)
        self.axes.plot(x, (y, y), color=color, linewidth=0.9, linestyle=style, zorder=_RULES)

    def stem(self, point: tuple[float, float], *, up_to: float) -> None:
        """Draw a thin line from a point up to a height."""
        x, y = point
        self.axes.plot([x, x], [y, up_to], color=self.theme.accent, linewidth=0.9, zorder=_LINES)

    def text(
        self,
        lines: Sequence[str],
        at: tuple[float, float],
        *,
        offset: tuple[float, float] = (0, 0),
        align: str = "left",
        color: str | None = None,
    ) -> None:
        """Write lines of text below each other.

        Each line is a separate text element, so SVG viewers align each line in their own font.

        Args:
            lines: The lines.
            at: Position of the middle of the first line, in data coordinates.
            offset: Shift from this position, in points.
            align: Horizontal alignment.
            color: Color; None for the color of secondary text.
        """
        for number, line in enumerate(lines):
            self._one_line(
                line,
                at,
                textcoords="offset points",
                xytext=(offset[0], offset[1] - number * SMALL * _LINE_HEIGHT),
                ha=align,
                color=color or self.theme.muted,
            )

    def edge_text(self, line: str, y: float, *, above: bool) -> None:
        """Write a line at the left edge, above or below a height."""
        self._one_line(
            line,
            (0, y),
            xycoords=self.axes.get_yaxis_transform(),
            textcoords="offset points",
            xytext=(0, 6.5 if above else -6.5),
            color=self.theme.muted,
        )

    def title(self, title: str, note: str) -> None:
        """Write a title and a note under it, above the axes."""
        transform = self.axes.transAxes
        top: dict[str, Any] = {"transform": transform, "va": "baseline"}
        self.axes.text(0, 1.115, title, fontsize=11, weight="bold", color=self.theme.ink, **top)
        self.axes.text(0, 1.05, note, fontsize=SMALL, color=self.theme.muted, **top)

    def _one_line(self, line: str, at: tuple[float, float], **settings: Any) -> None:
        ground = {"facecolor": self.theme.paper, "edgecolor": "none", "pad": 0.6}
        place: dict[str, Any] = {"va": "center_baseline", "zorder": _TEXTS, "bbox": ground}
        self.axes.annotate(line, at, fontsize=SMALL, **place, **settings)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights apart until neighbors differ by at least a gap, in the same order.

    >>> spread([10, 9.5, 3], 2)
    [10.75, 8.75, 3]
    """
    order = sorted(range(len(heights)), key=lambda i: -heights[i])
    groups: list[list[int]] = []
    for i in order:
        groups.append([i])
        while len(groups) > 1 and _top(groups[-1], heights, gap) > (
            _bottom(groups[-2], heights, gap) - gap
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = list(heights)
    for group in groups:
        for place, i in enumerate(group):
            moved[i] = _top(group, heights, gap) - place * gap if len(group) > 1 else heights[i]
    return moved


def _top(group: Sequence[int], heights: Sequence[float], gap: float) -> float:
    middle = sum(heights[i] for i in group) / len(group)
    return middle + gap * (len(group) - 1) / 2


def _bottom(group: Sequence[int], heights: Sequence[float], gap: float) -> float:
    return _top(group, heights, gap) - gap * (len(group) - 1)


def single_stage(comparison: CurveComparison) -> list[tuple[str, Precision]]:
    """List the single-stage lines: float32 of the other curves, then all of the first curve."""
    others = [(name, _FLOAT32) for name in comparison.curves if name != comparison.name]
    return [*others, *((comparison.name, precision) for precision in comparison.precisions)]


def draw_single_stage(
    canvas: Canvas, comparison: CurveComparison, place: Callable[[CurvePoint], float]
) -> dict[str, list[tuple[float, float]]]:
    """Draw the single-stage lines; lines of the first curve have markers and intervals.

    Args:
        canvas: The canvas to draw on.
        comparison: The curves.
        place: Function that returns the x position of a row.

    Returns:
        The points (x, percent) of each line, by the name of the line.
    """
    drawn = {}
    for name, precision in single_stage(comparison):
        rows = [*comparison.single_stage(name, precision).values()]
        points = [(place(row), height(comparison, row)) for row in rows]
        if name != comparison.name:
            canvas.line(points, canvas.theme.twin, dashed=True)
            drawn[f"{name} {precision}"] = points
            continue
        color = canvas.theme.precisions[precision]
        canvas.line(points, color)
        canvas.marks(points, precision)
        canvas.bars(interval_ends(comparison, rows, [x for x, _ in points]), color)
        drawn[precision] = points
    return drawn


def height(comparison: CurveComparison, row: CurvePoint) -> float:
    """Return the retention of a row in percent."""
    return 100 * comparison.share(row)


def interval_ends(
    comparison: CurveComparison, rows: Sequence[CurvePoint], places: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Return (x, low, high) in percent for each row with an interval."""
    known = ((x, comparison.interval(row)) for x, row in zip(places, rows, strict=True))
    return [(x, 100 * ends.low, 100 * ends.high) for x, ends in known if ends is not None]


def floor_below(heights: Sequence[float]) -> float:
    """Return the percentage at which an axis that shows these heights starts."""
    return max(0, _STEP * math.floor((min(heights) - 1) / _STEP))
