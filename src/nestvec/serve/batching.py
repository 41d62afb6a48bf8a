"""Encode the texts of concurrent requests in batches, sorted by length and fair to small requests.

A few threads encode, and new requests wait in a queue meanwhile. The next window of texts takes
small requests first, so that a search does not wait for an upload of many documents. The window is
split into batches of texts of similar length, which need little padding. An error in a batch fails
only the requests with a text in this batch. ``Waiting`` bounds the queue.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from nestvec.serve.errors import busy
from nestvec.serve.inputs import Input
from nestvec.types import Embeddings

SMALL = 16  # maximum number of inputs of a small request
_BATCHES = 8  # in a window; a new request waits for at most one window
_WAIT_S = 0.003  # for clients that send their next request right after an answer

OnBatch = Callable[[int, float], None]
"""Called with the number of inputs and the seconds of each batch."""
_LONGEST_S = 60
_WINDOW_S = 1.0
_FIRST_RATE = 100.0


@dataclass(frozen=True)
class BatchSize:
    """The maximum size of a batch.

    Attributes:
        items: Maximum number of inputs.
        length: Maximum total padded length, in tokens or characters.
    """

    items: int = 16
    length: int = 4096


@dataclass(eq=False)
class _Job:
    """The inputs of a request and its result."""

    inputs: Sequence[Input]
    answer: asyncio.Future[Embeddings]
    vectors: Embeddings
    taken: int = 0
    encoded: int = 0
    over: bool = False  # answered, failed or cancelled; its other inputs are not encoded


_Item = tuple[_Job, int]


class Batcher:
    """A queue in front of an encoder."""

    def __init__(
        self,
        encode: Callable[[Sequence[Input]], Embeddings],
        *,
        full_dim: int,
        size: BatchSize | None = None,
        threads: int = 1,
        on_batch: OnBatch | None = None,
    ) -> None:
        """Start the threads that encode.

        Args:
            encode: Function that returns the vectors of inputs, [n, full_dim].
            full_dim: Number of dims of the vectors.
            size: Maximum size of a batch.
            threads: Number of batches that are encoded at the same time.
            on_batch: Function called after each batch, or None.
        """
        self._encode = encode
        self._full_dim = full_dim
        self._size = size or BatchSize()
        self._on_batch = on_batch
        self._small: deque[_Job] = deque()
        self._large: deque[_Job] = deque()
        self._ready: deque[Sequence[_Item]] = deque()
        self._n_answered = 0  # requests answered since the last window
        self._closing = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name="nestvec-encoder", daemon=True)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the vectors of inputs, [n, full_dim], after they were encoded in batches.

        Raises:
            RuntimeError: If the queue is closed.
        """
        if not inputs:
            return np.empty((0, self._full_dim), dtype=np.float32)
        answer: asyncio.Future[Embeddings] = asyncio.get_running_loop().create_future()
        job = _Job(inputs, answer, np.empty((len(inputs), self._full_dim), dtype=np.float32))
        with self._changed:
            if self._closing:
                raise RuntimeError("the queue of the encoder is closed")
            (self._small if len(inputs) <= SMALL else self._large).append(job)
            self._changed.notify()
        try:
            return await answer
        finally:
            job.over = True

    def encode_now(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the vectors of inputs, [n, full_dim], encoded in the calling thread."""
        start = time.perf_counter()
        vectors = self._encode(inputs)
        if self._on_batch is not None:
            self._on_batch(len(inputs), time.perf_counter() - start)
        return vectors

    def close(self) -> None:
        """Encode all accepted inputs and stop the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._take():
            self._run([item for item in batch if not item[0].over])

    def _take(self) -> Sequence[_Item]:
        """Return the next batch, or an empty batch if the thread should end."""
        with self._changed:
            while not self._ready:
                self._gather()
                if self._ready:  # another thread was faster
                    break
                if self._closing and not self._small and not self._large:
                    return ()
                self._split(self._window())
            return self._ready.popleft()

    def _window(self) -> list[_Item]:
        """Return the inputs to encode next; small requests get half of a window or more."""
        self._n_answered = 0
        room = self._size.items * _BATCHES
        window: list[_Item] = []
        _fill(window, self._small, room // 2)
        _fill(window, self._large, room)
        _fill(window, self._small, room)
        return window

    def _split(self, window: Sequence[_Item]) -> None:
        """Split a window into batches, at least one for each thread if there are enough inputs."""
        share = -(-len(window) // len(self._threads))
        items = max(1, min(self._size.items, share))
        self._ready.extend(_batches(window, replace(self._size, items=items)))
        self._changed.notify_all()

    def _gather(self) -> None:
        """Wait for a request, and briefly for further requests that are likely to follow."""
        while not (self._closing or self._ready or self._small or self._large):
            self._changed.wait()
        deadline = time.monotonic() + _WAIT_S
        while not self._ready and len(self._small) + len(self._large) < self._n_answered:
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _run(self, batch: Sequence[_Item]) -> None:
        if not batch:
            return
        start = time.perf_counter()
        failure: Exception | None = None
        try:
            vectors = self._encode([job.inputs[position] for job, position in batch])
            for vector, (job, position) in zip(vectors, batch, strict=True):
                job.vectors[position] = vector
        except Exception as error:  # any error fails only the requests of this batch
            failure = error
        if self._on_batch is not None:
            self._on_batch(len(batch), time.perf_counter() - start)
        with self._changed:
            for job, _ in batch:
                job.encoded += 1
                if not job.over and (failure is not None or job.encoded == len(job.inputs)):
                    job.over = True
                    self._n_answered += 1
                    job.answer.get_loop().call_soon_threadsafe(_answer, job, failure)


def _fill(window: list[_Item], jobs: deque[_Job], room: int) -> None:
    """Move inputs to a window, in the order of their requests, until it has ``room`` inputs."""
    while jobs and len(window) < room:
        job = jobs[0]
        end = min(len(job.inputs), job.taken + room - len(window))
        if not job.over:
            window += [(job, position) for position in range(job.taken, end)]
        job.taken = end
        if job.over or job.taken == len(job.inputs):
            jobs.popleft()


def _answer(job: _Job, failure: Exception | None) -> None:
    if job.answer.done():  # cancelled meanwhile
        return
    if failure is None:
        job.answer.set_result(job.vectors)
    else:
        job.answer.set_exception(failure)


def _batches(window: Sequence[_Item], size: BatchSize) -> Iterator[Sequence[_Item]]:
    """Split a window into batches of inputs of similar length, the shortest first."""
    ordered = sorted(window, key=_length)
    start = 0
    for end in range(1, len(ordered) + 1):
        last = end == len(ordered)
        n = end - start
        if last or n == size.items or (n + 1) * _length(ordered[end]) > size.length:
            yield ordered[start:end]
            start = end


def _length(item: _Item) -> int:
    job, position = item
    return job.inputs[position].length


class Waiting:
    """Counts texts that wait or are being encoded. Used only in the thread of the event loop."""

    def __init__(self, limit: int) -> None:
        """Set the maximum number of waiting texts.

        One eighth of the limit is reserved for small requests. A request that is larger than the
        limit is accepted if no other text waits.
        """
        self._limit = limit
        self._rate = _FIRST_RATE  # texts a second
        self._done, self._since = 0, time.monotonic()
        self.n = 0

    @contextmanager
    def admitted(self, n: int) -> Iterator[None]:
        """Count the texts of a request while the block handles them.

        Raises:
            ApiError: 429 if too many texts wait.
        """
        room = self._limit if n <= SMALL else self._limit * 7 // 8
        if self.n and self.n + n > room:
            raise busy(self._seconds())
        self.n += n
        try:
            yield
        finally:
            self.n -= n
            self._note(n)

    def _seconds(self) -> int:
        """Return the seconds until half of the waiting texts are encoded, at the current rate."""
        return max(1, min(_LONGEST_S, round(self.n / 2 / self._rate)))

    def _note(self, n: int) -> None:
        self._done += n
        seconds = time.monotonic() - self._since
        if seconds >= _WINDOW_S:
            self._rate = max(1.0, self._done / seconds)
            self._done, self._since = 0, time.monotonic()
