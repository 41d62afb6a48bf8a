"""Run the stages of an operating point over the parts and the tail of a snapshot.

Every stage returns the best candidates over all parts, so the results do not depend on the number
of parts. The tail is scored from its vectors and merged into the result of the last stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.engines.embedded.folder import FROM_VECTORS
from nestvec.engines.embedded.snapshot import SelectedRows, Snapshot
from nestvec.engines.embedded.stacked import Stacked
from nestvec.engines.flat.candidates import Scorer
from nestvec.engines.flat.scan import Allowed
from nestvec.engines.flat.scoring import ZeroPrefixes, score
from nestvec.engines.flat.views import FLOAT_ERROR, CodeViews, vector_view
from nestvec.metrics.ranking import Ranked, order
from nestvec.types import Embeddings, Hits, OperatingPoint, Rows

_STORED_ERROR = 1e-3  # float16 vectors deviate from unit length by less


@dataclass(frozen=True, eq=False)
class PointSearch:
    """The search of one snapshot by one operating point.

    Attributes:
        snapshot: The snapshot.
        point: The operating point.
        codecs: One codec per stage.
    """

    snapshot: Snapshot
    point: OperatingPoint
    codecs: Sequence[Codec]

    def search(
        self, embeddings: Embeddings, k: int, selection: SelectedRows | None = None
    ) -> Ranked:
        """Return the scores and positions of the best ``k``, equal scores by descending id.

        Args:
            embeddings: [n_queries, full_dim], as the model returns them.
            k: At least 1.
            selection: The documents to search; None for all.
        """
        *_, found = self.stages(embeddings, k, selection)
        return found

    def stages(
        self, embeddings: Embeddings, k: int, selection: SelectedRows | None = None
    ) -> Iterator[Ranked]:
        """Yield the candidates of each stage when it has run; the last equals ``search``.

        The candidates of other stages are in any order, with rounded scores (see ``ordered``).
        """
        allowed = self.snapshot.allowed if selection is None else selection.allowed
        widths = [k if stage.keep is None else stage.keep for stage in self.point.stages]
        found = self._first(embeddings, widths[0], allowed)
        for stage, width in enumerate(widths[1:], 1):
            yield found
            found = self._rescore(stage, embeddings, found.rows, width)
        tail = self._search_tail(embeddings, None if selection is None else selection.mask)
        yield self._merge([found, tail], k) if tail.rows.size else found

    def ordered(self, stage: int, embeddings: Embeddings, found: Ranked) -> Ranked:
        """Return the candidates of a stage with exact scores, best first."""
        if stage == len(self.codecs) - 1:
            return found
        return self._rescore(stage, embeddings, found.rows, found.rows.shape[1])

    def _first(
        self, embeddings: Embeddings, width: int, allowed: Sequence[Allowed | None]
    ) -> Ranked:
        # Parts are merged by exact scores. The last stage returns them, too.
        is_shortlist = len(self.codecs) > 1 and len(self.snapshot.parts) == 1
        found = []
        for start, part, some in zip(self._starts, self.snapshot.parts, allowed, strict=False):
            scan = part.scan(self.codecs[0])
            method = scan.shortlist if is_shortlist else scan.search
            scores, positions = method(embeddings, width, allowed=some)
            found.append(Ranked(scores, positions + start))
        return self._merge(found, width) if found else _no_results(len(embeddings))

    def _rescore(self, stage: int, embeddings: Embeddings, candidates: Rows, width: int) -> Ranked:
        width = min(width, candidates.shape[1])
        queries = self.codecs[stage].prepare(embeddings)
        return self._ordered(self._scorers[stage].best(queries, candidates, width), width)

    def _search_tail(self, embeddings: Embeddings, mask: NDArray[np.bool_] | None) -> Ranked:
        tail, codec = self.snapshot.tail, self.codecs[-1]
        chosen = np.arange(len(tail.rows)) if mask is None else np.flatnonzero(mask[tail.rows])
        if not len(chosen):
            return _no_results(len(embeddings))
        candidates = np.broadcast_to(chosen, (len(embeddings), len(chosen)))
        queries, decoded = codec.prepare(embeddings), self._tail_decoded
        scores = score(queries, candidates, decoded.__getitem__, empty=tail.zeros.within(codec.dim))
        return Ranked(scores, candidates + self._starts[-1])

    def _merge(self, found: Sequence[Ranked], width: int) -> Ranked:
        if len(found) == 1:
            return found[0]
        scores, positions = (np.concatenate(each, axis=1) for each in zip(*found, strict=True))
        return self._ordered(Ranked(scores, positions), width)

    def _ordered(self, found: Ranked, width: int) -> Ranked:
        """Return the best ``width``, equal scores by descending id."""
        ranked = order(found.scores, found.rows)
        if len(self.snapshot.parts) + bool(self.snapshot.tail.ids) > 1:
            order_ties_by_id(ranked, self.snapshot.ids)
        return ranked.top(width)

    @property
    def _starts(self) -> Rows:
        return self.snapshot.starts

    @cached_property
    def _scorers(self) -> list[Scorer]:
        """For each stage, the scores at positions in parts."""
        starts = self._starts.tolist()
        zeros = ZeroPrefixes.concatenated(
            (at, part.zeros) for at, part in zip(starts, self.snapshot.parts, strict=False)
        )
        return [_scorer(self.snapshot, codec, zeros) for codec in self.codecs]

    @cached_property
    def _tail_decoded(self) -> Embeddings:
        codec = self.codecs[-1]
        return codec.decode_stored(self.snapshot.tail.vectors)


def _scorer(snapshot: Snapshot, codec: Codec, zeros: ZeroPrefixes) -> Scorer:
    """Return the scores of a codec, computed from codes or, if there are none, from vectors."""
    empty = zeros.within(codec.dim)
    if codec.precision in FROM_VECTORS:
        return _scorer_of_vectors(snapshot, codec, empty)
    codes = Stacked.of([part.codes(codec) for part in snapshot.parts])
    if not CodeViews.supports(codec):
        return Scorer(lambda rows: codec.decode(codes.take(rows)), None, 0.0, empty)
    views = CodeViews(codec)

    def search_rows(positions: Rows, queries: Embeddings, k: int) -> tuple[Embeddings, Rows]:
        return views.search(codes.take(positions), queries, k)

    return Scorer(lambda rows: codec.decode(codes.take(rows)), search_rows, FLOAT_ERROR, empty)


def _scorer_of_vectors(snapshot: Snapshot, codec: Codec, empty: Rows) -> Scorer:
    rows = Stacked.of([part.rows for part in snapshot.parts])

    def stored(positions: Rows) -> NDArray[np.floating]:
        return snapshot.scattered.take(rows.take(positions), codec.dim)

    def search_rows(positions: Rows, queries: Embeddings, k: int) -> tuple[Embeddings, Rows]:
        return vector_view(stored(positions)).search(queries, k)  # type: ignore[no-any-return]

    # A prefix of a stored vector is renormalized before it is scored.
    is_whole = codec.dim == snapshot.vectors.arrays[0].shape[1]
    whole = search_rows if is_whole else None
    return Scorer(lambda at: codec.decode_stored(stored(at)), whole, _STORED_ERROR, empty)


def order_ties_by_id(ranked: Ranked, ids_of: Callable[[Rows], list[str]]) -> None:
    """Sort equal scores by descending id, in place. The loop is fast as ties are rare."""
    tied = (ranked.scores[:, 1:] == ranked.scores[:, :-1]).any(axis=1)
    for line in np.flatnonzero(tied):
        ids, scores = ids_of(ranked.rows[line]), ranked.scores[line].tolist()
        by_id = sorted(range(len(ids)), key=ids.__getitem__, reverse=True)
        sequence = sorted(by_id, key=lambda position: -scores[position])
        ranked.rows[line] = ranked.rows[line][sequence]


def _no_results(n_queries: int) -> Ranked:
    shape = (n_queries, 0)
    return Ranked(np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.int64))


def trace_stages(
    search: PointSearch, embeddings: Embeddings, k: int, selection: SelectedRows | None
) -> Iterator[tuple[Ranked, float, int, Callable[[], Hits]]]:
    """Run a search; yield the candidates, milliseconds, bytes and hits of each stage.

    The hits are looked up, in order, when they are read.
    """
    candidates, start = 0, time.perf_counter()
    for number, found in enumerate(search.stages(embeddings, k, selection)):
        milliseconds = (time.perf_counter() - start) * 1000
        size = _bytes(search, number, candidates, len(embeddings))
        yield found, milliseconds, size, partial(_hits, search, number, embeddings, found)
        candidates, start = found.rows.size, time.perf_counter()


def _hits(search: PointSearch, stage: int, embeddings: Embeddings, found: Ranked) -> Hits:
    return search.snapshot.hits(search.ordered(stage, embeddings, found))


def _bytes(search: PointSearch, number: int, candidates: int, n_queries: int) -> int:
    snapshot, codec = search.snapshot, search.codecs[number]
    each, stored = codec.bytes_per_vector, snapshot.vectors.arrays[0]
    if number and codec.precision in FROM_VECTORS:
        each = codec.dim * stored.itemsize
    scored = candidates if number else int(snapshot.starts[-1]) * n_queries
    in_tail = 0
    if number == len(search.codecs) - 1:
        in_tail = len(snapshot.tail.ids) * n_queries * stored.shape[1] * stored.itemsize
    return scored * each + in_tail
