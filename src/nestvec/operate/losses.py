"""Tell apart what a search loses by its dims, by its bits, and by its approximate index.

The same queries are answered at the operating point without an index, once with all stages at
float32 and once as the point states. The first differs from exact answers by the dims and the
lengths of shortlists, the second by the bits as well, and the search in use by the index as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.errors import InvalidArgument
from nestvec.metrics.ranking import Ranked, TopRows
from nestvec.operate.exact import ScannedRows
from nestvec.types import CodeKey, Embeddings, OperatingPoint, Rows, Stage

LONGER = (1, 2, 4)
"""Shortlists are also ranked at these multiples of their length."""


class Variant(NamedTuple):
    """A form of an operating point.

    Attributes:
        precise: Whether all stages use float32.
        longer: A multiple of the length of the first shortlist.
    """

    precise: bool
    longer: int = 1


class PointRankings:
    """Ranks the rows of a scan at the variants of an operating point, without an index."""

    def __init__(
        self,
        queries: Embeddings,
        point: OperatingPoint,
        codec: Callable[[CodeKey], Codec],
        *,
        k: int,
    ) -> None:
        """Start without rows.

        Args:
            queries: float32 [n, full_dim], as a model returned them.
            point: The operating point.
            codec: Returns the codec of a representation.
            k: Number of rows to rank.
        """
        self._queries, self._point, self._k = queries, point, k
        self._codecs = {key: codec(key) for key in _keys(point)}
        self._prepared = {key: each.prepare(queries) for key, each in self._codecs.items()}
        first = point.stages[0]
        most = k if first.keep is None else LONGER[-1] * first.keep
        keys = {first.representation, (first.dim, "float32")}
        self._tops = {key: TopRows(len(queries), most) for key in sorted(keys)}

    @property
    def variants(self) -> list[Variant]:
        """The variants that ``rank`` returns."""
        longer = (1,) if self._point.stages[0].keep is None else LONGER
        return [Variant(True), *(Variant(False, each) for each in longer)]

    def add(self, block: ScannedRows) -> None:
        """Score the rows of a block by the first stage."""
        stored = as_stored(block.values)
        for key, top in self._tops.items():
            scores = self._prepared[key] @ self._codecs[key].decode_stored(stored).T
            top.add(np.ascontiguousarray(scores, dtype=np.float32), block.rows)

    def rank(self, vectors_of: Callable[[Rows], Embeddings]) -> Mapping[Variant, list[Rows]]:
        """Return the best rows of each query at each variant, at most k, best first.

        Args:
            vectors_of: Returns the vectors of rows, [n] -> [n, full_dim].
        """
        lists = {key: top.ranked() for key, top in self._tops.items()}
        found: dict[Variant, list[Rows]] = {variant: [] for variant in self.variants}
        for query in range(len(self._queries)):
            own = {key: _valid(ranked, query) for key, ranked in lists.items()}
            rows = np.unique(np.concatenate(list(own.values())))
            stored = as_stored(vectors_of(rows)) if len(self._point.stages) > 1 else None
            for variant, ranked in found.items():
                ranked.append(self._rank_one(query, variant, own, rows, stored))
        return found

    def _rank_one(
        self,
        query: int,
        variant: Variant,
        lists: Mapping[CodeKey, Rows],
        rows: Rows,
        stored: Embeddings | None,
    ) -> Rows:
        first, *later = self._point.stages
        ranked = lists[_key(first, variant)][: (first.keep or self._k) * variant.longer]
        for stage in later:
            assert stored is not None, "only points with several stages have later stages"
            key = _key(stage, variant)
            vectors = self._codecs[key].decode_stored(stored[np.searchsorted(rows, ranked)])
            scores = vectors @ self._prepared[key][query]
            ranked = ranked[np.argsort(-scores, kind="stable")][: stage.keep or self._k]
        return ranked[: self._k]


def plain_codec(key: CodeKey, *, layer_norm: bool = False) -> Codec:
    """Return the codec of a precision that is not calibrated.

    Raises:
        InvalidArgument: If the precision is calibrated on the corpus.
    """
    if QUANTIZERS[key[1]].fits:
        known = ", ".join(name for name, each in QUANTIZERS.items() if not each.fits)
        problem = f"the calibration of {key[0]}:{key[1]} is unknown."
        raise InvalidArgument(f"{problem} A search by other programs can have {known}.")
    return Codec(*key, layer_norm=layer_norm, calibration=np.empty(0, dtype=np.float32))


def _keys(point: OperatingPoint) -> set[CodeKey]:
    stages = {stage.representation for stage in point.stages}
    return stages | {(dim, "float32") for dim, _ in stages}


def _key(stage: Stage, variant: Variant) -> CodeKey:
    return (stage.dim, "float32") if variant.precise else stage.representation


def _valid(ranked: Ranked, query: int) -> Rows:
    found: Rows = ranked.rows[query][~np.isneginf(ranked.scores[query])]
    return found
