"""What a search asks for beside its queries, read from the texts that a person writes."""

from __future__ import annotations

from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.where import Where
from nestvec.types import OperatingPoint


def read_asked(
    where: str | None, point: OperatingPoint | str | None
) -> tuple[Condition | None, OperatingPoint | None]:
    """Read a filter and an operating point; None stays None.

    Raises:
        InvalidArgument: If one of them cannot be read.
    """
    condition = None if where is None else Where.parse(where)
    return condition, OperatingPoint.parse(point) if isinstance(point, str) else point
