"""Errors of qdrant-client: which of them end by themselves, and one line for all others."""

from __future__ import annotations

import json
from typing import Any

from nestvec.errors import DataError, first_line, require
from nestvec.sources.qdrant_address import API_KEY

_TEMPORARY = {408, 429, 502, 503, 504}
_REFUSED = {401, 403}
_TOO_LARGE = 413
_LONGEST = 300  # characters of a message of the server


class MissingVector(DataError):
    """A named vector does not exist: another process has removed it."""


class UnknownCollection(DataError):
    """A collection does not exist, or no longer."""


class RefusedKey(DataError):
    """The server refuses the API key, or the key does not permit the call."""


class UnfinishedChange(Exception):
    """The server has accepted a change, and has not applied it in time."""


def is_temporary(error: Exception) -> bool:
    """Return whether a call can succeed if it is repeated."""
    if isinstance(error, UnfinishedChange) or hasattr(error, "retry_after_s"):
        return True
    source = getattr(error, "source", None)  # of an answer that did not arrive or cannot be read
    if source is not None:
        return isinstance(source, require("httpx", extra="qdrant").TransportError)
    return getattr(error, "status_code", None) in _TEMPORARY


def wait_s(error: Exception) -> float:
    """Return the seconds that the server asks to wait; 0 if it does not."""
    return float(getattr(error, "retry_after_s", 0.0))


def failure(shown: str, error: Any, seconds: float) -> DataError:
    """Return the error of a call, in one line.

    Args:
        shown: The URL.
        error: The error of qdrant-client.
        seconds: The longest time for which a call is repeated.
    """
    if is_temporary(error):
        problem = f"the server did not answer the call within {seconds:g} s ({_reason(error)})."
        return DataError(shown, f"{problem} Check that it runs, then repeat the call.")
    status, text = getattr(error, "status_code", None), _reason(error)
    if status in _REFUSED:
        problem = f"the server refuses the API key ({text})."
        return RefusedKey(shown, f"{problem} Set {API_KEY} to a key that permits this call.")
    if status == _TOO_LARGE:
        problem = f"the server refuses the size of the request ({text})."
        remedy = "Set max_request_size_mb of the server to 32 or more, or use smaller batches."
        return DataError(shown, f"{problem} {remedy}")
    if "Not existing vector name" in text:
        return MissingVector(shown, f"{text}.")
    if "ollection" in text and ("doesn't exist" in text or "not found" in text):
        return UnknownCollection(shown, f"{text}. If the index was replaced, open it again.")
    return DataError(shown, f"{text}.")


def _reason(error: Any) -> str:
    content = getattr(error, "content", None)
    if content is None:
        return first_line(getattr(error, "source", error)).rstrip(".")[:_LONGEST]
    try:
        text = str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace")
    line = " ".join(text.split())[:_LONGEST].rstrip(".!")
    return f"{error.status_code} {error.reason_phrase}" + (f": {line}" if line else "")
