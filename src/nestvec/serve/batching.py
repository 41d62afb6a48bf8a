"""Encode what arrives together in batches: bounded in number and in waiting, sorted by length.

One thread encodes. While it works, requests gather; what has gathered is taken in the order of
arrival, sorted by length, so that little is padded, and encoded in batches. A batch that fails
fails the requests that have a text in it, and no others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nestvec.serve.errors import busy
from nestvec.serve.inputs import Input
from nestvec.types import Embeddings

_WINDOW = 512  # inputs taken at once: the shortest of many wait for the longest no longer
_WAIT_S = 0.003  # for those that the last answers have let go, to come back with the next question


@dataclass(eq=False)
class _Job:
    """A request's inputs and its answer."""

    inputs: Sequence[Input]
    answer: asyncio.Future[Embeddings]
    vectors: Embeddings
    left: int
    over: bool = False  # answered, failed or given up: what is left of it is not encoded


@dataclass
class BatchSize:
    """How much is encoded at once.

    Attributes:
        items: At most so many inputs.
        length: At most so much of padded length together: tokens, or characters.
    """

    items: int = 16
    length: int = 4096


@dataclass
class Seen:
    """What a batcher has done so far, for whoever watches it.

    Attributes:
        on_batch: Called with the number of inputs and the seconds of each batch.
    """

    on_batch: Callable[[int, float], None] = field(default=lambda _n, _s: None)


class Batcher:
    """A queue before an encoder."""

    def __init__(
        self,
        encode: Callable[[Sequence[Input]], Embeddings],
        *,
        full_dim: int,
        limit: int,
        size: BatchSize | None = None,
        seen: Seen | None = None,
    ) -> None:
        """Start the thread that encodes.

        Args:
            encode: Returns the vectors of inputs, [n, full_dim].
            full_dim: Their width.
            limit: How many inputs may wait; a request more is refused, unless nothing waits.
            size: How much is encoded at once.
            seen: Who watches.
        """
        self._encode = encode
        self._full_dim = full_dim
        self._limit = limit
        self._size = size or BatchSize()
        self._seen = seen or Seen()
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._last_jobs = 0
        self._rate = 100.0  # inputs a second
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="nestvec-encoder", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many inputs wait or are being encoded."""
        return self._waiting

    async def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the vectors of inputs, [n, full_dim], once their turn has come.

        Raises:
            ApiError: 429 if too many wait already.
        """
        loop = asyncio.get_running_loop()
        job = _Job(
            inputs,
            loop.create_future(),
            np.empty((len(inputs), self._full_dim), dtype=np.float32),
            len(inputs),
        )
        with self._changed:
            if self._closing or (self._waiting and self._waiting + len(inputs) > self._limit):
                raise busy(self._seconds_to_wait())
            self._jobs.append(job)
            self._waiting += len(inputs)
            self._changed.notify()
        try:
            return await job.answer
        finally:
            job.over = True

    def close(self) -> None:
        """Encode what was taken, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _seconds_to_wait(self) -> int:
        return max(1, min(60, round(self._waiting / self._rate)))

    def _work(self) -> None:
        while window := self._take():
            for batch in _batches(window, self._size):
                self._run(batch)

    def _take(self) -> list[tuple[_Job, int]]:
        """Return what waits, in the order in which it came; nothing when it is time to end."""
        with self._changed:
            while not self._jobs:
                if self._closing:
                    return []
                self._changed.wait()
            deadline = time.monotonic() + _WAIT_S
            while len(self._jobs) < self._last_jobs and not self._closing:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            window: list[tuple[_Job, int]] = []
            taken = 0
            while self._jobs and len(window) < _WINDOW:
                job = self._jobs.popleft()
                window += [(job, position) for position in range(len(job.inputs))]
                taken += 1
            self._last_jobs = taken
            return window

    def _run(self, batch: Sequence[tuple[_Job, int]]) -> None:
        start = time.perf_counter()
        wanted = [(job, position) for job, position in batch if not job.over]
        failure: BaseException | None = None
        if wanted:
            try:
                vectors = self._encode([job.inputs[position] for job, position in wanted])
                for vector, (job, position) in zip(vectors, wanted, strict=True):
                    job.vectors[position] = vector
            except Exception as error:  # whatever it is, it is these requests' alone
                failure = error
        seconds = time.perf_counter() - start
        self._finish(batch, failure)
        if wanted:
            self._rate += 0.2 * (len(wanted) / max(seconds, 1e-6) - self._rate)
            self._seen.on_batch(len(wanted), seconds)

    def _finish(self, batch: Sequence[tuple[_Job, int]], failure: BaseException | None) -> None:
        with self._changed:
            self._waiting -= len(batch)
        done: list[_Job] = []
        for job, _ in batch:
            job.left -= 1
            if not job.over and (failure is not None or job.left == 0):
                job.over = True
                done.append(job)
        for job in done:
            loop = job.answer.get_loop()
            loop.call_soon_threadsafe(_answer, job, failure)


def _answer(job: _Job, failure: BaseException | None) -> None:
    if job.answer.done():  # given up meanwhile
        return
    if failure is None:
        job.answer.set_result(job.vectors)
    else:
        job.answer.set_exception(failure)


def _batches(
    window: Sequence[tuple[_Job, int]], size: BatchSize
) -> Iterator[Sequence[tuple[_Job, int]]]:
    """Cut what waits into batches of inputs of about the same length, the shortest first."""
    ordered = sorted(window, key=lambda item: item[0].inputs[item[1]].length)
    start = 0
    for end in range(1, len(ordered) + 1):
        longest = 0
        if end < len(ordered):
            job, position = ordered[end]
            longest = job.inputs[position].length
        n = end - start
        full = n >= size.items or (n + 1) * longest > size.length
        if full or end == len(ordered):
            yield ordered[start:end]
            start = end
