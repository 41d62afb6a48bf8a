"""One client of Milvus: time limits, bounded retries, and errors of one line."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from nestvec.errors import DataError, IndexLocked, require
from nestvec.sources.milvus_address import MilvusAddress

Result = TypeVar("Result")
CONNECT_S = 10.0
"""Longest wait for a connection."""
CALL_S = 60.0
"""Longest duration of one call; pymilvus repeats a call whose connection is lost."""
RETRY_S = 60.0
"""A call is repeated for at most this time while the server starts or recovers."""
STRONG = "Strong"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_NOT_FOUND = 100  # the code of a missing collection, in 2.3, later versions and Lite
_LITE_FAILED = "Open local milvus failed"  # all that Milvus Lite reports
_PASSING = (
    "recovering",
    "not available",
    "no available",
    "not fully loaded",
    "not loaded",
    "not ready",
    "node not found",
    "channel not found",
    "not subscribed",
    "unavailable",
)


class MissingCollection(DataError):
    """A collection does not exist, or no longer."""


class MilvusConnection:
    """A client. Several threads may use it.

    Attributes:
        address: The parsed URL.
        client: The client of pymilvus. Use it in functions that are passed to ``run``.
        is_lite: Whether the server is Milvus Lite, in this process or in another one.
    """

    def __init__(self, address: MilvusAddress) -> None:
        """Connect.

        Raises:
            DataError: If the server cannot be reached.
            IndexLocked: If another process uses the file of Milvus Lite.
            MissingExtra: If pymilvus or Milvus Lite is not installed.
        """
        self._pymilvus: Any = require("pymilvus", extra="milvus")
        if address.is_lite:
            require("milvus_lite", extra="milvus")
        for name in ("pymilvus", "milvus_lite"):  # they log the traceback of every error they raise
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address, self.shown = address, address.shown
        self.client: Any = self._repeated(self._connect, CONNECT_S)
        version = self.run(lambda client: client.get_server_version(timeout=CALL_S))
        self.is_lite = str(version).startswith("milvus_lite")

    @property
    def types(self) -> Any:
        """The data types of pymilvus."""
        return self._pymilvus.DataType

    def run(self, work: Callable[[Any], Result]) -> Result:
        """Call a function with the client, again while the server recovers.

        The function must be safe to repeat.

        Raises:
            MissingCollection: If a collection does not exist.
            DataError: If the server cannot be reached, or refuses the call.
        """
        return self._repeated(lambda: work(self.client), RETRY_S)

    def wait(self, ready: Callable[[Any], bool]) -> None:
        """Wait until a function of the client returns true."""
        pause = 0.02
        while not self.run(ready):
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)

    def close(self) -> None:
        """Close the client."""
        self.client.close()

    def _repeated(self, attempt: Callable[[], Result], seconds: float) -> Result:
        end, number = time.monotonic() + seconds, 0
        while True:
            try:
                return attempt()
            except self._pymilvus.MilvusException as error:
                number += 1
                limit = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number)
                if not _passes(error) or time.monotonic() + limit > end:
                    raise self._error(error) from None
                time.sleep(random.uniform(limit / 2, limit))

    def _connect(self) -> Any:
        place = self.address
        try:
            return self._pymilvus.MilvusClient(
                uri=place.uri,
                user=place.user,
                password=place.password,
                db_name=place.database,
                timeout=CONNECT_S,
            )
        except self._pymilvus.MilvusException as error:
            if place.is_lite and _LITE_FAILED in str(error) and Path(place.uri, "LOCK").exists():
                problem = "cannot be opened, probably because another process uses it."
                remedy = "Milvus Lite allows one process: close the other one."
                raise IndexLocked(self.shown, f"{problem} {remedy}") from None
            raise

    def _error(self, error: Any) -> DataError:
        """Return an error of one line, without credentials."""
        text = " ".join(str(getattr(error, "message", "") or error).split())
        if self.address.password:
            text = text.replace(self.address.password, "***")
        kind = MissingCollection if _is_missing(error) else DataError
        return kind(self.shown, f"{text[:500].rstrip('.')}.")


def _is_missing(error: Any) -> bool:
    text = str(error)
    return getattr(error, "code", None) == _NOT_FOUND or "can't find collection" in text


def _passes(error: Any) -> bool:
    """Return whether an error can end by itself."""
    text = str(error).lower()
    return not _is_missing(error) and any(part in text for part in _PASSING)
