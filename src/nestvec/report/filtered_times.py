"""Search times of queries with a filter, by the share of documents that match the filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.measure.filters import SELECTIVITIES
from nestvec.report.comparison import CurveComparison
from nestvec.report.tables import WIDTH, table_line
from nestvec.wording import milliseconds_text

_TITLE = "p50 of one query"
_COLUMN = 12
_ABSENT = "–"


@dataclass(frozen=True)
class FilteredTimes:
    """The times of some points.

    Attributes:
        shares: Shares of documents that match, the largest first; empty if no time was measured.
        rows: The points with measured times.
    """

    shares: tuple[str, ...]
    rows: tuple[CurvePoint, ...]

    @classmethod
    def of(cls, rows: Sequence[CurvePoint]) -> Self:
        """Select the points whose queries with a filter were timed."""
        timed = tuple(row for row in rows if row.filtered_p50_ms)
        measured = {name for row in timed for name in row.filtered_p50_ms}
        return cls(tuple(name for name in SELECTIVITIES if name in measured), timed)

    def cells(self, row: CurvePoint) -> tuple[str, ...]:
        """Return the median times of a row: without a filter, then at each share."""
        times = (row.filtered_p50_ms.get(name) for name in self.shares)
        texts = (_ABSENT if time is None else milliseconds_text(time) for time in times)
        return (milliseconds_text(row.cost.p50_ms), *texts)


def filtered_times_table(curve: Curve, metric: str) -> tuple[str, ...]:
    """Return the table as lines for a terminal, at most 80 characters wide.

    The rows are the Pareto front by memory, and full precision.

    Args:
        curve: The curve.
        metric: The metric of the Pareto front.

    Returns:
        No lines if no query with a filter was timed.
    """
    found = FilteredTimes.of(CurveComparison({"": curve}, metric).front())
    if not found.rows:
        return ()
    room = WIDTH - _COLUMN * (1 + len(found.shares))
    width = min(room, max(len(_TITLE), *(len(str(row.point)) for row in found.rows)))
    lines = [table_line(_TITLE, ("no filter", *found.shares), width, _COLUMN)]
    lines += [table_line(str(row.point), found.cells(row), width, _COLUMN) for row in found.rows]
    return tuple(lines)
