"""API keys: where they come from, and who is let in.

A key is compared in constant time, so that no answer's delay tells how much of it was right.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from nestvec.errors import DataError, InvalidArgument

VARIABLE = "NESTVEC_API_KEYS"
_SHORTEST = 16
_OPEN = ("/healthz", "/readyz", "/")
_OPEN_FOLDERS = ("/page/",)
"""The page itself holds no documents; what it shows comes from the API."""


def read_keys(file: Path | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of a file, one a line (# begins a comment), else of the environment.

    Raises:
        DataError: If the file cannot be read or holds no key.
        InvalidArgument: If a key is too short to be one.
    """
    if file is None:
        keys = tuple(environment.get(VARIABLE, "").replace(",", " ").split())
        return _checked(keys, VARIABLE)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(file, f"cannot be read ({error})") from error
    keys = tuple(line.strip() for line in lines if line.strip() and line.strip()[0] != "#")
    if not keys:
        raise DataError(file, "holds no API key: write one a line")
    return _checked(keys, str(file))


def _checked(keys: tuple[str, ...], place: str) -> tuple[str, ...]:
    for number, key in enumerate(keys, 1):
        if len(key) < _SHORTEST or not key.isascii():
            problem = f"{place}: key {number} is not of {_SHORTEST} or more plain characters"
            raise InvalidArgument(f"{problem}: make one with `openssl rand -hex 24`")
    return keys


class Keyring:
    """Knows who may ask for what."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the keys; none lets everybody in."""
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def lets_in(self, path: str, authorization: bytes) -> bool:
        """Tell whether a request may go on.

        Args:
            path: What it asks for.
            authorization: Its header, ``Bearer KEY``.
        """
        if not self._digests or path in _OPEN or path.startswith(_OPEN_FOLDERS):
            return True
        scheme, _, key = authorization.partition(b" ")
        given = sha256(key.strip()).digest()
        # Every key is compared, whichever fits.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == b"bearer" and any(matches)
