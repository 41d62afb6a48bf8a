"""What a recipe is written for: an operating point, names, and the fields of its stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from nestvec.types import OperatingPoint, Stage

Metric = Literal["ip", "cosine"]
RESULTS = 10
"""Number of results of each query."""
LEAST_EF_SEARCH = 100
"""Smallest number of candidates that an HNSW graph tracks during a search."""
M, EF_CONSTRUCTION = 16, 200
"""Links of each node of an HNSW graph, and candidates during its construction."""


class StageField(NamedTuple):
    """A stage, and the vectors that it scores.

    Attributes:
        stage: The stage.
        name: Name of the field of its vectors.
    """

    stage: Stage
    name: str

    @property
    def dim(self) -> int:
        """Number of dimensions of the field."""
        return self.stage.dim


@dataclass(frozen=True)
class RecipeRequest:
    """An operating point, and the names and the metric of its collection.

    Attributes:
        point: The operating point.
        full_dim: Number of dimensions of the model's vectors.
        name: Name of the table, collection or index.
        metric: Metric of the index: "ip" or "cosine". Both give the same scores, because all
            stored vectors have unit length.
    """

    point: OperatingPoint
    full_dim: int
    name: str
    metric: Metric

    @property
    def first(self) -> Stage:
        """The first stage, which an index serves."""
        return self.point.stages[0]

    @property
    def candidates(self) -> int:
        """Number of documents that the first stage returns."""
        return self.first.keep or RESULTS

    @property
    def ef_search(self) -> int:
        """Number of candidates that an HNSW graph tracks: at least those that it returns."""
        return max(LEAST_EF_SEARCH, self.candidates)

    def fields(self, *, separate: bool = False) -> tuple[StageField, ...]:
        """Return the field of each stage.

        Args:
            separate: Use another field for a later stage that has the dims of the first, because
                the engine keeps no exact vectors next to the index of the first stage.
        """
        first = self.point.stages[0]
        found = []
        for number, stage in enumerate(self.point.stages):
            name = "embedding" if stage.dim == self.full_dim else f"embedding_{stage.dim}"
            repeated = separate and number > 0 and stage.dim == first.dim
            found.append(StageField(stage, f"{name}_exact" if repeated else name))
        return tuple(found)

    def stored(self, *, separate: bool = False) -> dict[str, int]:
        """Return the dims of each stored field, by name, without repetition."""
        return {field.name: field.dim for field in self.fields(separate=separate)}
