"""One client of a Qdrant server: time limits, bounded retries, and errors of one line."""

from __future__ import annotations

import logging
import os
import random
import re
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from nestvec.errors import DataError, require
from nestvec.sources.qdrant_address import API_KEY, QdrantAddress
from nestvec.sources.qdrant_failures import (
    UnfinishedChange,
    UnknownCollection,
    failure,
    is_temporary,
    wait_s,
)

Result = TypeVar("Result")
CONNECT_S = 10
"""Longest wait for the first answer of the server."""
CALL_S = 60
"""Longest duration of one call."""
CHANGE_S = 3_600
"""Longest duration of a change of parameters, which waits for running optimizations."""
RETRY_S = 60.0
"""A call is repeated for at most this time while the server starts or is overloaded."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 4.0
_PLAIN = re.compile(r"http://(?!(localhost|127\.[0-9.]+|\[::1\])(:|$))")
_logger = logging.getLogger(__name__)


class QdrantServerConnection:
    """A client. Several threads may use it.

    Attributes:
        address: The parsed URL.
        models: The module with the classes of all requests.
    """

    def __init__(self, address: QdrantAddress, *, least: tuple[int, int] = (1, 0)) -> None:
        """Connect once, so that a wrong address is reported now.

        Args:
            address: The parsed URL.
            least: The first version of the server that can be used.

        Raises:
            DataError: If the server cannot be reached, or is too old.
            MissingExtra: If qdrant-client is not installed.
        """
        self._library: Any = require("qdrant_client", extra="qdrant")
        self.models: Any = self._library.models
        http = require("qdrant_client.http.exceptions", extra="qdrant")
        common = require("qdrant_client.common.client_exceptions", extra="qdrant")
        self._errors = (http.ApiException, common.QdrantException, UnfinishedChange)
        self.address, self.shown, self._least = address, address.shown, least
        if os.environ.get(API_KEY) and _PLAIN.match(address.address):
            _logger.warning("%s: the API key is sent unencrypted. Use qdrant+https://.", self.shown)
        first = self._client_for(CONNECT_S)
        try:
            self._check_version(self._repeated(first.info, CONNECT_S).version)
        finally:
            first.close()
        self._client = self._client_for(CALL_S)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client, as ``run`` does."""
        return self.run(lambda client: getattr(client, method)(*arguments, **options))

    def run(self, work: Callable[[Any], Result]) -> Result:
        """Call a function with the client, again while the server cannot answer.

        The function must be safe to repeat.

        Raises:
            UnknownCollection: If a collection does not exist.
            MissingVector: If a named vector does not exist.
            DataError: If the server cannot be reached, or refuses the call.
        """
        return self._repeated(lambda: work(self._client), RETRY_S)

    def change(self, method: str, *arguments: Any, **options: Any) -> None:
        """Call a method that changes points, again until the server has applied the change.

        Raises:
            DataError: As in ``run``.
        """

        def applied(client: Any) -> None:
            result = getattr(client, method)(*arguments, **options)
            if result.status != self.models.UpdateStatus.COMPLETED:
                raise UnfinishedChange(f"the change is {result.status.value}")

        self.run(applied)

    def info(self, name: str) -> Any | None:
        """Return the parameters and the state of a collection, or of that of an alias.

        Returns:
            The information; None without a collection.
        """
        try:
            return self.call("get_collection", name)
        except UnknownCollection:
            return None

    def configure(self, name: str, **parameters: Any) -> None:
        """Change parameters of a collection, as ``QdrantClient.update_collection`` does."""
        self.call("update_collection", name, timeout=CHANGE_S, **parameters)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _client_for(self, seconds: int) -> Any:
        address = self.address.address
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an API key without TLS, which is logged above
            return self._library.QdrantClient(
                url=address,
                api_key=os.environ.get(API_KEY) or None,
                timeout=seconds,
                check_compatibility=False,  # it would print a warning from another thread
                verify=address.startswith("https:"),  # without TLS, load no certificates
            )

    def _check_version(self, version: str) -> None:
        numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
        if numbers < self._least:
            least = ".".join(map(str, self._least))
            problem = f"the server has version {version[:40]}."
            raise DataError(self.shown, f"{problem} Use Qdrant {least} or later.")

    def _repeated(self, attempt: Callable[[], Result], seconds: float) -> Result:
        end, number = time.monotonic() + seconds, 0
        while True:
            try:
                return attempt()
            except self._errors as error:
                number += 1
                limit = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number)
                pause = max(random.uniform(limit / 2, limit), wait_s(error))
                if not is_temporary(error) or time.monotonic() + pause > end:
                    raise failure(self.shown, error, seconds) from None
                time.sleep(pause)
