"""Shadow reads: send a share of the searches to a second index as well, and compare the results.

One thread in the background asks the second index. Its queue is bounded: if the index is slow,
further searches are dropped and counted. An answer to a client never waits for it.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nestvec.codec.threads import one_thread
from nestvec.engines.registry import open_engine
from nestvec.errors import InvalidArgument, NestvecError
from nestvec.index.index import Index
from nestvec.models.differences import same_model
from nestvec.operate.compared_rankings import RankChanges, compare_rankings
from nestvec.serve.served import Served
from nestvec.serve.shadow_figures import ShadowedQuery, ShadowFigures, ShadowReport
from nestvec.types import Embeddings, OperatingPoint

_IDLE_S = 1.0  # longest wait at the end for a thread that is idle
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShadowSettings:
    """Settings of shadow reads.

    Attributes:
        share: Share of the searches that the second index is asked as well, above 0 and at most 1.
        point: The operating point of the second index; None for its own.
        texts: Whether texts, filters and ids of the worst recent queries are kept and shown.
        queued: Maximum number of searches that wait; further searches are dropped.
        seed: Seed of the draw; None for a random one.
    """

    share: float = 0.05
    point: OperatingPoint | None = None
    texts: bool = False
    queued: int = 64
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InvalidArgument: If a value is outside its limits.
        """
        if not 0 < self.share <= 1:
            problem = f"shadow share {self.share:g} is not above 0 and at most 1."
            raise InvalidArgument(f"{problem} Example: .05.")
        if self.queued < 1:
            raise InvalidArgument(f"queued={self.queued} is below 1. Choose 1 or more.")


class AnsweredSearch(NamedTuple):
    """A search that OLD has answered.

    Attributes:
        text: The query; None if the client sent a vector.
        vector: The query as a vector of the model of OLD, [1, full_dim].
        k: Number of requested results.
        where: The filter; None for none.
        point: The operating point of the answer.
        ids: Ids of the results.
        search_ms: Search time in milliseconds, without encoding.
    """

    text: str | None
    vector: Embeddings
    k: int
    where: str | None
    point: OperatingPoint
    ids: Sequence[str]
    search_ms: float


class Shadow:
    """A second index, NEW, that a share of the searches of OLD is sent to as well."""

    def __init__(self, old: Index, new: Index, settings: ShadowSettings | None = None) -> None:
        """Start the thread.

        Args:
            old: The index that answers the clients.
            new: The second index. ``close`` closes it.
            settings: The settings; None for the defaults.
        """
        self.settings = settings or ShadowSettings()
        self._old, self._new = old, new
        self._same_model = same_model(old.info, new.info)
        self._figures = ShadowFigures()
        self._draw = random.Random(self.settings.seed)
        self._waiting: queue.Queue[AnsweredSearch | None] = queue.Queue(self.settings.queued)
        self._ending, self._busy = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="nestvec-shadow", daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        """The place of NEW, without credentials."""
        return self._new.place

    @property
    def point(self) -> OperatingPoint:
        """The operating point by which NEW is searched."""
        return self.settings.point or self._new.point

    def offer(self, search: AnsweredSearch) -> None:
        """Draw whether NEW is asked as well. This function never waits and never raises."""
        self._figures.count("requests")
        same_vector = self._same_model or search.text is not None
        if search.point != self._old.point or not same_vector:
            self._figures.count("skipped")
        elif self._draw.random() < self.settings.share and not self._ending.is_set():
            try:
                self._waiting.put_nowait(search)
            except queue.Full:
                self._figures.count("dropped")

    def report(self) -> ShadowReport:
        """Return the present figures."""
        return self._figures.report()

    def close(self) -> None:
        """End the thread without waiting for a search that is running or queued.

        The thread closes the index when it ends.
        """
        self._ending.set()
        while True:  # make room for the signal that wakes the thread
            try:
                self._waiting.get_nowait()
            except queue.Empty:
                break
        self._waiting.put_nowait(None)
        if not self._busy.is_set():
            self._thread.join(_IDLE_S)

    def _run(self) -> None:
        try:
            with one_thread():
                while not self._ending.is_set():
                    search = self._waiting.get()
                    if search is not None and not self._ending.is_set():
                        self._busy.set()
                        self._try(search)
                        self._busy.clear()
        finally:
            self._new.close()

    def _try(self, search: AnsweredSearch) -> None:
        try:
            self._compare(search)
        except Exception as error:  # a failure of NEW must not end the thread
            if not self._ending.is_set() and self._figures.fail(error):
                _logger.warning("shadow search failed: %s", type(error).__name__)

    def _compare(self, search: AnsweredSearch) -> None:
        vector = search.vector
        if not self._same_model:
            assert search.text is not None, "other searches are skipped"
            vector = self._new.model.encode([search.text], kind="query")
        start = time.perf_counter()
        hits = self._new.explain(vector, search.k, where=search.where, point=self.point).hits
        new_ms = (time.perf_counter() - start) * 1000
        old, new = list(search.ids), list(hits.ids[0])
        if self._ending.is_set():  # OLD may be closed
            return
        only_old = _absent(self._new, [id_ for id_ in old if id_ not in new])
        only_new = _absent(self._old, [id_ for id_ in new if id_ not in old])
        (changes,) = compare_rankings([old], [new], search.k, only_old=only_old, only_new=only_new)
        self._figures.add(self._entry(search, new, changes, new_ms), changes)

    def _entry(
        self, search: AnsweredSearch, new: Sequence[str], changes: RankChanges, new_ms: float
    ) -> ShadowedQuery:
        texts = self.settings.texts
        return ShadowedQuery(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            k=search.k,
            overlap=changes.overlap,
            rbo=changes.rbo,
            entered=changes.entered,
            left=changes.left,
            largest_move=changes.largest_move,
            only_old=changes.only_old,
            only_new=changes.only_new,
            old_ms=round(search.search_ms, 4),
            new_ms=round(new_ms, 4),
            text=search.text if texts else None,
            where=search.where if texts else None,
            old=tuple(search.ids) if texts else None,
            new=tuple(new) if texts else None,
        )


def _absent(index: Index, ids: Sequence[str]) -> set[str]:
    """Return the ids of documents that an index does not contain."""
    return set(ids) - index.get(ids).keys() if ids else set()


def load_shadow(
    place: Path | str, served: Served, settings: ShadowSettings | None = None
) -> Shadow:
    """Open a second index for shadow reads, and search it once so that its codes are built.

    An index of the same model uses the vectors of the served model. Another index loads its own
    model and encodes the texts again.

    Args:
        place: The path or URL of the index.
        served: What the server serves.
        settings: The settings; None for the defaults.

    Raises:
        InvalidArgument: If no index is served, or the point does not fit the index.
        NestvecError: If the index or its model cannot be loaded.
    """
    if served.index is None:
        raise InvalidArgument("--shadow requires an index. Serve an index.")
    engine = open_engine(place)
    try:
        shared = same_model(served.index.info, engine.manifest.model)
        index = Index(engine, served.model if shared else None)
        if not shared:
            index.model.encode(["warm"], kind="query")
        query = np.ones((1, index.info.full_dim), dtype=np.float32)
        index.search(query, 1, point=None if settings is None else settings.point)
    except NestvecError:
        engine.close()
        raise
    return Shadow(served.index, index, settings)
