"""When and how long to wait before a request is sent again."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

ATTEMPTS = 6
FIRST_ATTEMPTS = 3
"""Number of attempts at a server that has not answered yet: its address may be wrong."""
LONGEST_WAIT_S = 120.0
"""A server that asks for a longer wait ends the work; the vectors so far are in the cache."""
_FIRST_WAIT_S = 0.5
_RETRIED = {408, 425, 429, 500, 502, 503, 504, 529}


def is_retried(status: int) -> bool:
    """Return whether a request with this status may succeed later."""
    return status in _RETRIED


def wait_requested(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait; None if it names no time.

    ``retry-after-ms`` has milliseconds. ``retry-after`` has seconds or a date (RFC 9110, 10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def wait_before(attempt: int, requested: float | None) -> float:
    """Return the seconds to wait before the next attempt.

    Args:
        attempt: Number of attempts so far, from 1.
        requested: The result of ``wait_requested``.

    Returns:
        The requested time and up to a quarter of a second, so that waiting threads do not continue
        at once; or a random time whose limit doubles with each attempt.
    """
    if requested is not None:
        return requested + random.uniform(0, 0.25)
    limit = min(LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
    return random.uniform(limit / 2, limit)


class Pause:
    """A time before which no thread sends a request."""

    def __init__(self) -> None:
        """Begin without a pause."""
        self._until = 0.0

    def extend(self, seconds: float) -> None:
        """Let all threads wait for this time from now on."""
        self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, stop: threading.Event, seconds: float = 0.0) -> bool:
        """Wait for this time and until the pause ends; return False if ``stop`` was set."""
        end = time.monotonic() + seconds
        while (rest := max(end, self._until) - time.monotonic()) > 0:
            if stop.wait(rest):
                return False
        return not stop.is_set()


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
