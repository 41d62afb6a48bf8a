"""Run computations and disk reads in threads, so that they do not block the event loop.

There is one thread for each processor, and the queue of waiting calls is bounded.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from nestvec.serve.errors import busy

_T = TypeVar("_T")


class Threads:
    """A thread pool with a bounded queue."""

    def __init__(self, name: str, *, limit: int, n: int | None = None) -> None:
        """Create the pool.

        Args:
            name: Name of the threads.
            limit: Maximum number of waiting calls; further calls raise an error.
            n: Number of threads; None for one per processor.
        """
        self._n = n or os.cpu_count() or 1
        self._limit = limit
        self._pool = ThreadPoolExecutor(self._n, f"nestvec-{name}", initializer=_use_one_thread)
        self.running = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run a call in a thread.

        Raises:
            ApiError: 429 if too many calls wait.
        """
        if self.running >= self._n + self._limit:
            raise busy(1)
        self.running += 1
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        # Cancelling the wait does not stop the thread, so the call counts until it has ended.
        self._pool.submit(self._work, work, loop, answer)
        return await answer

    def close(self) -> None:
        """Finish all accepted calls and stop the threads."""
        self._pool.shutdown()

    def _work(
        self, work: Callable[[], _T], loop: asyncio.AbstractEventLoop, answer: asyncio.Future[_T]
    ) -> None:
        """Run a call and pass its result to the event loop."""
        try:
            answered = partial(_succeed, answer, work())
        except BaseException as error:  # the awaiting coroutine raises it
            answered = partial(_fail, answer, error)
        loop.call_soon_threadsafe(self._ended, answered)

    def _ended(self, answered: Callable[[], None]) -> None:
        self.running -= 1
        answered()


def _succeed(answer: asyncio.Future[_T], result: _T) -> None:
    if not answer.done():  # not cancelled meanwhile
        answer.set_result(result)


def _fail(answer: asyncio.Future[_T], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)


def _use_one_thread() -> None:
    """Let FAISS search on this thread only, because several searches run at the same time."""
    import faiss

    faiss.omp_set_num_threads(1)
