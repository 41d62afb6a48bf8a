"""What each query scored and found at each point of a curve: arrays, saved without pickle.

Axes are points in the order of the curve's rows, then queries, then places in a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_METRIC, _SLICE = "metric:", "slice:"


def _no_texts() -> NDArray[np.str_]:
    return np.empty(0, dtype=np.str_)


@dataclass(frozen=True)
class QueryScores:
    """What each query scored at each point, and the best that it found.

    Attributes:
        query_ids: [n_queries].
        metrics: By metric, float64 [n_points, n_queries]; only metrics that have a value for each
            query.
        doc_ids: The documents that ``top`` points at, [n].
        top: Positions in ``doc_ids`` of the best documents, int32 [n_points, n_queries, k]; -1
            where a query has fewer than k results.
        top_scores: Their scores, float32, of the same shape; empty where not kept.
        top_relevant: Whether they are judged relevant, bool, of the same shape; empty where
            nothing is judged.
        query_texts: Of ``query_ids``, cut to be shown; empty where not kept.
        doc_titles: Of ``doc_ids``, cut to be shown; empty where not kept.
        slices: By field, the value that each query has there, [n_queries].
    """

    query_ids: NDArray[np.str_]
    metrics: Mapping[str, NDArray[np.float64]]
    doc_ids: NDArray[np.str_]
    top: NDArray[np.int32]
    top_scores: NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, 0, 0), dtype=np.float32)
    )
    top_relevant: NDArray[np.bool_] = field(
        default_factory=lambda: np.empty((0, 0, 0), dtype=np.bool_)
    )
    query_texts: NDArray[np.str_] = field(default_factory=_no_texts)
    doc_titles: NDArray[np.str_] = field(default_factory=_no_texts)
    slices: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write an npz file."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"{_METRIC}{name}": values for name, values in self.metrics.items()}
        arrays |= {f"{_SLICE}{name}": values for name, values in self.slices.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> QueryScores:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(
                **{name: arrays[name] for name in _ARRAYS},
                metrics=_named(arrays, _METRIC),
                slices=_named(arrays, _SLICE),
            )


_ARRAYS = (
    *("query_ids", "doc_ids", "top", "top_scores", "top_relevant"),
    *("query_texts", "doc_titles"),
)


def _named(arrays: Any, prefix: str) -> dict[str, NDArray[Any]]:
    names = [name for name in arrays.files if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays[name] for name in names}
