"""What an engine can run, as data: asked before a grid is measured or a plan is built on it.

An engine that stands beside the embedded one registers here under its name; the module behind it
is imported only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nestvec.errors import InvalidArgument
from nestvec.types import PRECISIONS, OperatingPoint, Precision


@dataclass(frozen=True)
class Capabilities:
    """Which operating points an engine can run.

    Attributes:
        scanned: Precisions of a first stage.
        rescored: Precisions of later stages.
        max_stages: How many stages in one search; None where there is no limit.
    """

    scanned: frozenset[Precision]
    rescored: frozenset[Precision]
    max_stages: int | None = None

    def can_run(self, point: OperatingPoint) -> bool:
        """Tell whether the engine can run a point as it is written."""
        first, *later = point.stages
        return (
            first.precision in self.scanned
            and all(stage.precision in self.rescored for stage in later)
            and (self.max_stages is None or len(point.stages) <= self.max_stages)
        )


ENGINES: Mapping[str, Capabilities] = {
    "embedded": Capabilities(scanned=frozenset(PRECISIONS), rescored=frozenset(PRECISIONS)),
}


def capabilities(engine: str) -> Capabilities:
    """Return what an engine can run.

    Raises:
        InvalidArgument: If there is no such engine.
    """
    if engine not in ENGINES:
        raise InvalidArgument(f"engine {engine!r} is not one of {', '.join(ENGINES)}")
    return ENGINES[engine]
