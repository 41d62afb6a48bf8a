"""Per-query scores and results at each point of a curve, saved as arrays without pickle.

Axes: points in the order of the curve's rows, queries, ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_METRIC, _SLICE = "metric:", "slice:"


def _empty_texts() -> NDArray[np.str_]:
    return np.empty(0, dtype=np.str_)


@dataclass(frozen=True)
class QueryScores:
    """Scores and best results of each query at each point.

    Attributes:
        query_ids: [n_queries].
        metrics: Scores by metric, float64 [n_points, n_queries]; only metrics with per-query
            scores.
        doc_ids: Ids of the documents in ``top``, [n].
        top: Best documents as positions in ``doc_ids``, int32 [n_points, n_queries, k]; -1 if a
            query has fewer than k results.
        top_scores: Scores of the documents in ``top``, float32, same shape; empty if not stored.
        top_relevant: Whether the documents in ``top`` are relevant, bool, same shape; empty
            without relevance labels.
        query_texts: Query texts, shortened for display, [n_queries]; empty if not stored.
        doc_titles: Document titles, shortened for display, [n]; empty if not stored.
        slices: Value of each query, [n_queries], by field.
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
    query_texts: NDArray[np.str_] = field(default_factory=_empty_texts)
    doc_titles: NDArray[np.str_] = field(default_factory=_empty_texts)
    slices: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the arrays to an npz file."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"{_METRIC}{name}": values for name, values in self.metrics.items()}
        arrays |= {f"{_SLICE}{name}": values for name, values in self.slices.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> QueryScores:
        """Read a file that ``save`` wrote."""
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
