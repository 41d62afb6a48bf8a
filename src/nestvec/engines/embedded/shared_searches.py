"""Run the searches of many threads on as many threads as there are processor cores.

A thread that returns from FAISS or NumPy waits for Python's global interpreter lock. The more
threads search at once, the more they wait, and the lock is passed on in no particular order. Here,
further searches wait in order of arrival. The next thread to search also answers other waiting
searches of the same point in one call, which costs less than half the time for each query.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakSet

import numpy as np

from nestvec.codec.threads import one_thread
from nestvec.engines.embedded.searching import PointSearch
from nestvec.engines.embedded.snapshot import SelectedRows
from nestvec.types import Embeddings, Hits

SHORT = 8  # queries of a search that can wait; a long search would delay the others
_TOGETHER = 16  # queries answered in one call


@dataclass(eq=False)
class _Request:
    """A search that waits for its turn.

    Attributes:
        search: The search of a snapshot by a point.
        queries: [n_queries, full_dim].
        k: The number of hits.
        selection: The documents of a filter; None for all.
        woken: Released when the request has hits, leads, or has to be repeated alone.
        leads: Whether its thread has the turn.
        hits: The hits, found by the thread of another request.
    """

    search: PointSearch
    queries: Embeddings
    k: int
    selection: SelectedRows | None
    woken: threading.Lock = field(default_factory=threading.Lock)
    leads: bool = False
    hits: Hits | None = None

    def run(self) -> Hits:
        """Search for this request alone."""
        return self.search.snapshot.hits(self.search.search(self.queries, self.k, self.selection))

    def joins(self, other: _Request) -> bool:
        """Return whether one call can answer both requests."""
        same = self.search is other.search and self.k == other.k
        return same and self.selection is None and other.selection is None


class SharedSearches:
    """The searches of all threads in one open index."""

    def __init__(self, at_once: int | None = None) -> None:
        """Allow ``at_once`` threads to search; None for one thread for each core."""
        self._free = at_once or _n_cores()
        self._lock = threading.Lock()  # protects the fields; never locked for long
        self._waiting: deque[_Request] = deque()
        self._loaded: WeakSet[PointSearch] = WeakSet()

    def search(
        self,
        search: PointSearch,
        queries: Embeddings,
        k: int,
        selection: SelectedRows | None = None,
    ) -> Hits:
        """Return the hits of ``search.search``, when it is the turn of this thread.

        Args:
            search: The search of a snapshot by a point. The first one does not wait, as it may
                compute codes for minutes.
            queries: [n_queries, full_dim]. More than ``SHORT`` queries do not wait.
            k: At least 1.
            selection: As in ``PointSearch.search``. Filtered searches are not answered together.
        """
        request = _Request(search, queries, k, selection)
        with self._lock:
            loaded = search in self._loaded
        if len(queries) > SHORT or not loaded:
            hits = request.run()
            with self._lock:
                self._loaded.add(search)
            return hits
        self._wait(request)
        if not request.leads:
            return request.run() if request.hits is None else request.hits
        try:
            return self._lead(request)
        finally:
            self._pass_on()

    def _wait(self, request: _Request) -> None:
        """Return when the request leads, has hits, or has to be repeated alone."""
        with self._lock:
            if self._free:
                self._free -= 1
                request.leads = True
                return
            request.woken.acquire()
            self._waiting.append(request)
        try:
            request.woken.acquire()
        except BaseException:  # an interrupt
            with self._lock:
                if request in self._waiting:
                    self._waiting.remove(request)
            if request.leads:
                self._pass_on()
            raise

    def _lead(self, request: _Request) -> Hits:
        """Answer a request, and waiting ones that join it."""
        followers = self._take_followers(request)
        if not followers:
            return request.run()
        try:
            hits = _run_together([request, *followers])
            end = len(request.queries)
            for each in followers:
                start, end = end, end + len(each.queries)
                each.hits = Hits(hits.ids[start:end], hits.scores[start:end])
        except Exception:  # each request is repeated alone, as only one may be the cause
            return request.run()
        finally:
            for each in followers:
                each.woken.release()
        n_own = len(request.queries)
        return Hits(hits.ids[:n_own], hits.scores[:n_own])

    def _take_followers(self, request: _Request) -> list[_Request]:
        followers: list[_Request] = []
        with self._lock:
            room = _TOGETHER - len(request.queries)
            for each in self._waiting:
                if each.joins(request) and len(each.queries) <= room:
                    followers.append(each)
                    room -= len(each.queries)
            for each in followers:
                self._waiting.remove(each)
        return followers

    def _pass_on(self) -> None:
        with self._lock:
            if self._waiting:
                request = self._waiting.popleft()
                request.leads = True
                request.woken.release()
            else:
                self._free += 1


def _run_together(requests: Sequence[_Request]) -> Hits:
    first = requests[0]
    queries = np.concatenate([each.queries for each in requests])
    with one_thread():  # the other cores run other searches
        return _Request(first.search, queries, first.k, None).run()


def _n_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
