"""What a shrink shall do: the operating point, where its representation is stored, and limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nestvec.errors import InvalidArgument
from nestvec.types import OperatingPoint

Metric = Literal["cosine", "ip", "l2"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class ShrinkRequest:
    """The settings of a shrink.

    Attributes:
        point: The operating point of later searches.
        column: The name of a new column that stores the representation of the first stage; None to
            index an expression of the present column.
        function: The name of the search function; None for ``TABLE_search``.
        metric: The metric of the present searches; None for that of the present index.
        min_overlap: The least overlap@10 with exact answers that allows the switch, from 0 to 1.
        skip_nulls: Accept rows without a vector; no search returns them.
        free_disk: Free bytes on the disk of the server; None to read them if possible.
        full_dim: The width of the vectors that the plan was made for; None if it is unknown.
        adapter: The file of a linear adapter that transforms the first stage; None without one.
    """

    point: OperatingPoint
    column: str | None = None
    function: str | None = None
    metric: Metric | None = None
    min_overlap: float = 0.0
    skip_nulls: bool = False
    free_disk: int | None = None
    full_dim: int | None = None
    adapter: Path | None = None

    def __post_init__(self) -> None:
        """Check the values that need no database."""
        if not 0 <= self.min_overlap <= 1:
            raise InvalidArgument(f"min_overlap={self.min_overlap} is not from 0 to 1.")
        metric_named(self.metric)
        if self.free_disk is not None and self.free_disk < 0:
            raise InvalidArgument(f"free_disk={self.free_disk} is below 0. Pass a size in bytes.")
        for name in (self.column, self.function):
            if name is not None and not 1 <= len(name.encode()) <= _LONGEST_NAME:
                limit = f"Choose a name of 1 to {_LONGEST_NAME} bytes."
                raise InvalidArgument(f"{name!r:.80} is not a valid name. {limit}")


def metric_named(name: str | None) -> Metric | None:
    """Return a metric by its name; None for None.

    Raises:
        InvalidArgument: If there is no such metric.
    """
    found = next((metric for metric in METRICS if metric == name), None)
    if name is not None and found is None:
        raise InvalidArgument(f"metric {name!r} is not one of {', '.join(METRICS)}.")
    return found


_LONGEST_NAME = 63  # of an identifier of PostgreSQL
