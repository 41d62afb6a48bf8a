"""How much waits for the encoder, from when a request is read: a bounded number of texts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from nestvec.serve.batching import SMALL
from nestvec.serve.errors import busy

_LONGEST_S = 60
_WINDOW_S = 1.0
_FIRST_RATE = 100.0


class Waiting:
    """Counts texts that wait or are being encoded. Used from the event loop's thread."""

    def __init__(self, limit: int) -> None:
        """Let at most ``limit`` texts wait, or one request where none does.

        An eighth of that is kept free for small requests.
        """
        self._limit = limit
        self._rate = _FIRST_RATE  # texts a second
        self._done, self._since = 0, time.monotonic()
        self.n = 0

    @contextmanager
    def admitted(self, n: int) -> Iterator[None]:
        """Count the texts of a request while the block handles them.

        Raises:
            ApiError: 429 if too many wait already.
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
        """Return how long it takes, at the latest rate, until half of what waits is done."""
        return max(1, min(_LONGEST_S, round(self.n / 2 / self._rate)))

    def _note(self, n: int) -> None:
        self._done += n
        seconds = time.monotonic() - self._since
        if seconds >= _WINDOW_S:
            self._rate = max(1.0, self._done / seconds)
            self._done, self._since = 0, time.monotonic()
