"""Threads for what computes or waits for a disk, so that the event loop never does.

As many work as there are processors, each on its own processor; a bounded number waits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nestvec.serve.errors import busy

_T = TypeVar("_T")


class Threads:
    """A pool with a bounded queue."""

    def __init__(self, name: str, *, limit: int, n: int | None = None) -> None:
        """Make the pool.

        Args:
            name: Of its threads.
            limit: How many calls may wait; one more is refused.
            n: How many threads; None takes one for each processor.
        """
        self._n = n or os.cpu_count() or 1
        self._limit = limit
        self._pool = ThreadPoolExecutor(self._n, f"nestvec-{name}", initializer=_alone)
        self.running = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run a call in a thread.

        Raises:
            ApiError: 429 if too many wait already.
        """
        if self.running >= self._n + self._limit:
            raise busy(1)
        self.running += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Whoever gives up waiting does not stop the thread: it counts until it has ended.
        future.add_done_callback(self._ended)
        return await asyncio.shield(future)

    def close(self) -> None:
        """Finish what was taken, and end."""
        self._pool.shutdown()

    def _ended(self, future: asyncio.Future[_T]) -> None:
        self.running -= 1
        if not future.cancelled():
            future.exception()  # fetched, so that one nobody waits for is not reported


def _alone() -> None:
    """Let FAISS search on this thread only: several searches share the processors."""
    import faiss

    faiss.omp_set_num_threads(1)
