"""The HNSW graph of an index: when it is built, how wide it is searched, and what it loses.

Below ``LEAST_ROWS`` documents, a search scores every document. Above, a graph serves the first
stage of the operating point. ``fitting`` chooses ``hnsw_ef`` when the graph is built.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nestvec.engines.fitting import SAMPLED, Fitted, K, fit, queries_between
from nestvec.engines.manifest import Settings
from nestvec.engines.qdrant.columns import FULL, NamedVectors, as_arrays
from nestvec.engines.qdrant.points import Build, Points
from nestvec.engines.qdrant.requests import Body, search_params
from nestvec.engines.qdrant.searching import Searcher, candidates
from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings, Hits, OperatingPoint

LEAST_ROWS = 20_000
M, EF_CONSTRUCT = 16, 200
HNSW_EF = (64, 128, 256, 512, 1_024, 2_048)


class Quantization(NamedTuple):
    """A quantization of the vectors of the first stage.

    Attributes:
        config: Its parameters, as Qdrant's REST API has them.
        oversampling: Number of candidates for each result that the original vectors rescore.
    """

    config: Body
    oversampling: float


QUANTIZATIONS = {
    "int8": Quantization({"scalar": {"type": "int8", "memory": "pinned"}}, 2.0),
    "turbo4": Quantization({"turbo": {"bits": "bits4", "memory": "pinned"}}, 4.0),
    "turbo2": Quantization({"turbo": {"bits": "bits2", "memory": "pinned"}}, 8.0),
    "turbo1": Quantization({"turbo": {"bits": "bits1", "memory": "pinned"}}, 16.0),
}
"""By the value of ``quantization`` in the URL. ``none`` removes a quantization."""
NO_QUANTIZATION = "none"


def check_quantization(name: str) -> str:
    """Return the name of a quantization.

    Raises:
        InvalidArgument: If it is unknown.
    """
    known = [NO_QUANTIZATION, *QUANTIZATIONS]
    if name not in known:
        problem = f"quantization={name!r:.40} is unknown."
        raise InvalidArgument(f"{problem} Choose one of: {', '.join(known)}.")
    return name


class Graph:
    """The HNSW graph of one index."""

    def __init__(self, points: Points, columns: NamedVectors, searcher: Searcher) -> None:
        """Use the points of an index."""
        self._points, self._columns, self._searcher = points, columns, searcher

    def params(self, point: OperatingPoint, settings: Settings, k: int) -> Body | None:
        """Return the parameters of a search by a point; None if its first stage has no graph."""
        if settings.get("first_stage") != first_stage(point):
            return None
        wanted = point.stages[0].keep or candidates(k)
        oversampling = settings.get("oversampling")
        return search_params(
            max(int(settings["hnsw_ef"]), wanted),
            None if oversampling is None else float(oversampling),
        )

    def prepare(self, point: OperatingPoint, quantization: str) -> Settings:
        """Build the graph of the first stage if there are enough documents, and fit ``hnsw_ef``."""
        rows, first = self._points.count(), point.stages[0].representation
        if rows < LEAST_ROWS:
            return {}
        layout = self._columns.layout
        chosen = QUANTIZATIONS.get(quantization)
        graph: Body = {"m": M, "ef_construct": EF_CONSTRUCT, "full_scan_threshold": 10}
        params: Body = {"hnsw_config": graph}
        if chosen is not None:
            params["quantization_config"] = chosen.config
        vectors = layout.config(self._points.named_vectors(), {layout.name(first): params})
        self._points.build(Build(vectors, rows * first[0] * np.dtype(first[1]).itemsize))
        settings: dict[str, int | float | str] = {
            "index": "hnsw",
            "first_stage": first_stage(point),
            "m": M,
            "ef_construct": EF_CONSTRUCT,
        }
        if chosen is not None:
            settings |= {"quantization": quantization, "oversampling": chosen.oversampling}
        return settings | self._fit(point, settings).settings("hnsw_ef")

    def _fit(self, point: OperatingPoint, settings: Settings) -> Fitted:
        """Return the smallest ``hnsw_ef`` that retains enough, and its overlap."""
        queries = self._queries()
        expected = self._searcher.exhaustive(queries, point.stages, K, None)

        def by_width(hnsw_ef: int) -> Hits:
            params = self.params(point, {**settings, "hnsw_ef": hnsw_ef}, K)
            return self._searcher.approximate(queries, point.stages, K, None, params or {})

        return fit(point, HNSW_EF, by_width, expected)

    def _queries(self) -> Embeddings:
        """Return queries between documents; points are in the order of a hash of their ids."""
        block = next(self._points.scroll([], vectors=[FULL]))
        return queries_between(as_arrays(block[:SAMPLED]))


def first_stage(point: OperatingPoint) -> str:
    """Return the representation of the first stage as a text."""
    dim, precision = point.stages[0].representation
    return f"{dim}:{precision}"
