"""Send requests to an API: retries, waiting, redirects and errors, each error in one line.

The client does not know what a request contains. ``encoder`` creates the bodies.
"""

from __future__ import annotations

import json
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from nestvec.errors import ModelError, first_line, require
from nestvec.models.api.address import ApiAddress, host_of
from nestvec.models.api.dialect import Body
from nestvec.models.api.keys import ApiKey
from nestvec.models.api.retry import (
    ATTEMPTS,
    FIRST_ATTEMPTS,
    LONGEST_WAIT_S,
    Pause,
    is_retried,
    wait_before,
    wait_requested,
)

if TYPE_CHECKING:
    from httpx import Client, Response

_CONNECT_S, _READ_S = 15.0, 300.0
_SHOWN = 200  # characters of a server's message
_REDIRECTS = 3
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached"}
_TOO_LARGE = 413
_logger = logging.getLogger(__name__)


class RequestTooLarge(ModelError):
    """A request that the server refuses because of its size; fewer texts may be accepted."""


class RequestStopped(ModelError):
    """A request that was not sent again, because another request failed."""


class _Retry(Exception):
    """A failed attempt: the reason, and the seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class ApiClient:
    """Sends requests to one address; can be used in several threads."""

    def __init__(self, address: ApiAddress, key: ApiKey, *, connections: int) -> None:
        """Create the connections; nothing is sent.

        Args:
            address: The address.
            key: The key.
            connections: Maximum number of connections.

        Raises:
            MissingExtra: If httpx is not installed.
        """
        httpx: Any = require("httpx", extra="api")
        self._address, self._key = address, key
        self._pause = Pause()
        self._answered = False  # by any status
        self._errors: tuple[type[Exception], ...] = (httpx.TransportError, httpx.DecodingError)
        self._http: Client = httpx.Client(
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=connections),
            headers=self._headers(),
            follow_redirects=False,
            # A proxy of the environment must not receive unencrypted local requests.
            trust_env=not address.is_local,
        )
        weakref.finalize(self, self._http.close)

    def __repr__(self) -> str:
        """Show the address, without the key."""
        return f"ApiClient({self._address.name!r})"

    def post(self, path: str, body: Body, stop: threading.Event) -> Any:
        """Send a request until it succeeds, and return the parsed answer.

        Args:
            path: Path below the base URL.
            body: Body of the request.
            stop: If set, the request is not sent again.

        Raises:
            RequestTooLarge: If the server refuses the size of the request.
            RequestStopped: If ``stop`` was set.
            ModelError: If the request fails for good; the message names address and reason.
        """
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return self._send("POST", path, content, stop)

    def get(self, path: str) -> Any:
        """Read a path; errors are those of ``post``."""
        return self._send("GET", path, None, threading.Event())

    def _send(self, method: str, path: str, content: bytes | None, stop: threading.Event) -> Any:
        url = f"{self._address.base_url}/{path}"
        for attempt in range(1, ATTEMPTS + 1):
            if not self._pause.wait(stop):
                break
            try:
                return self._attempt(method, url, content)
            except _Retry as failed:
                self._wait(failed, attempt, url, stop)
        raise RequestStopped(f"{self._address.name}: stopped.")

    def _wait(self, failed: _Retry, attempt: int, url: str, stop: threading.Event) -> None:
        if attempt == (ATTEMPTS if self._answered else FIRST_ATTEMPTS):
            remedy = "Run the same command again later."
            if not self._answered:
                remedy = "Check the base URL, and that the server is running."
            raise self._error(url, f"{failed.reason} in each of {attempt} attempts. {remedy}")
        if failed.wait is not None and failed.wait > LONGEST_WAIT_S:
            problem = f"{failed.reason}, and asks to wait {failed.wait:,.0f} s"
            raise self._error(
                url, f"{problem}, longer than {LONGEST_WAIT_S:.0f} s. Run again after this time."
            )
        seconds = wait_before(attempt, failed.wait)
        _logger.info("%s: %s; next attempt in %.1f s", self._address.name, failed.reason, seconds)
        if failed.wait is not None:
            self._pause.extend(seconds)  # the limit of a server concerns all threads
        else:
            self._pause.wait(stop, seconds)

    def _attempt(self, method: str, url: str, content: bytes | None) -> Any:
        for _ in range(_REDIRECTS + 1):
            try:
                response = self._http.request(method, url, content=content)
            except self._errors as error:
                raise _Retry(self._unreachable(error)) from None
            self._answered = True
            if not response.is_redirect:
                return self._parsed(response, url)
            url = self._redirected(url, response)
        raise self._error(url, f"redirects more than {_REDIRECTS} times.")

    def _parsed(self, response: Response, url: str) -> Any:
        status = response.status_code
        if status == _TOO_LARGE:
            raise RequestTooLarge(self._line(url, f"answered 413: {self._message(response)}"))
        if not response.is_success:
            reason = f"answered {status}: {self._message(response)}"
            if is_retried(status) and _code(response) not in _QUOTA:
                raise _Retry(reason, wait_requested(response.headers))
            raise self._error(url, f"{reason}. {self._remedy(status)}".rstrip())
        try:
            return response.json()
        except ValueError:
            raise _Retry("answered with incomplete JSON") from None

    def _redirected(self, url: str, response: Response) -> str:
        target: str = urljoin(url, response.headers.get("location", ""))
        # Neither texts nor keys go to another host or to an unencrypted port.
        if host_of(target) != host_of(url) or target.partition(":")[0] != url.partition(":")[0]:
            raise self._error(
                url, f"redirects to {host_of(target)!r:.80}. Pass the new address as base URL."
            )
        return target

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self._key.value:
            bearer = "Bearer " if self._address.dialect.header == "Authorization" else ""
            headers[self._address.dialect.header] = f"{bearer}{self._key.value}"
        return headers

    def _unreachable(self, error: Exception) -> str:
        reason = self._shown(first_line(error)).rstrip(".")
        return f"cannot be reached ({type(error).__name__}: {reason})"

    def _message(self, response: Response) -> str:
        try:
            found = _stated(response.json())
        except ValueError:
            found = response.text
        return self._shown(found) or "without a message"

    def _shown(self, text: str) -> str:
        text = self._key.removed_from(text)
        return " ".join(text.split())[:_SHOWN].rstrip(".")

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            source = self._key.source
            return f"The key is from {source}." if self._key.value else f"Reason: {source}."
        if status == 404:
            return "Check the model name and the base URL, which often ends with /v1."
        if status in (402, 429):
            return "Vectors received so far are cached. Run again when the quota allows it."
        return ""

    def _line(self, url: str, problem: str) -> str:
        return f"{self._address.name}: {url} {problem}"

    def _error(self, url: str, problem: str) -> ModelError:
        return ModelError(self._line(url, problem))


def _stated(answer: Any) -> str:
    """Return the message of an error: the dialects use ``error``, ``message`` or ``detail``."""
    if isinstance(answer, dict):
        for field in ("error", "message", "detail"):
            if answer.get(field):
                return _stated(answer[field])
    return answer if isinstance(answer, str) else json.dumps(answer)


def _code(response: Response) -> str:
    try:
        error = response.json().get("error") or {}
        return str(error.get("code") or error.get("type"))
    except (ValueError, AttributeError):
        return ""
