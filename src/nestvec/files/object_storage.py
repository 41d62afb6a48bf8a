"""Read and write objects of S3, or of a server that speaks its protocol.

Credentials and the region come from the standard environment only: variables, profiles and the
roles of a machine. ``AWS_ENDPOINT_URL`` names another server.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from nestvec.errors import DataError, InvalidArgument, first_line, require

_SCHEME = "s3://"
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LANCE_LIMITS = {"connect_timeout": "10s", "timeout": "60s", "client_max_retries": "3"}
_LONGEST_ERROR = 300  # characters
_COPIED = 1 << 20  # bytes in memory at a time


def is_object_storage(place: object) -> bool:
    """Return whether a place is a URL of object storage: ``s3://bucket/prefix``."""
    return isinstance(place, str) and place.startswith(_SCHEME)


class Bucket:
    """A prefix of a bucket, like a folder."""

    def __init__(self, url: str) -> None:
        """Connect to the server of a URL ``s3://bucket/prefix``.

        Raises:
            InvalidArgument: If the URL names no bucket.
            MissingExtra: If ``pyarrow`` is not installed.
        """
        self._prefix = url.removeprefix(_SCHEME).strip("/")
        if not self._prefix:
            raise InvalidArgument(f"{url}: names no bucket. Example: s3://bucket/prefix.")
        self.url = _SCHEME + self._prefix
        self._files = _connect()

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if there is none.

        Raises:
            DataError: If the server cannot be reached or refuses the request.
        """
        with self._errors(name, "read"):
            try:
                with self._files.open_input_stream(self._path(name)) as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object; readers see the old or the new content, never a part.

        Raises:
            DataError: If the server cannot be reached or refuses the request.
        """
        path = self._path(name)
        with self._errors(name, "written"), self._files.open_output_stream(path) as stream:
            stream.write(content)

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """Open an object as a file of Arrow, whose parts are read when they are needed.

        Raises:
            DataError: If there is no such object, or the server refuses the request.
        """
        with self._errors(name, "read"), self._files.open_input_file(self._path(name)) as file:
            yield file

    def names(self, *, recursive: bool = True) -> list[str]:
        """Return the names of the objects below the prefix, sorted.

        Args:
            recursive: Whether to return objects in folders below the prefix, too.

        Raises:
            DataError: If the server cannot be reached or refuses the request.
        """
        selector = require("pyarrow.fs", extra="parquet").FileSelector
        with self._errors("", "listed"):
            found = self._files.get_file_info(
                selector(self._prefix, recursive=recursive, allow_not_found=True)
            )
        start = len(self._prefix) + 1
        return sorted(each.path[start:] for each in found if each.is_file)

    def is_object(self) -> bool:
        """Return whether the URL is the URL of one object."""
        with self._errors("", "read"):
            found: bool = self._files.get_file_info(self._prefix).is_file
            return found

    def download(self, name: str, path: Path) -> None:
        """Copy an object to a local file; with an empty name, the object of the URL itself.

        Raises:
            DataError: If the server cannot be reached or refuses the request.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._errors(name, "read"),
            self._files.open_input_stream(self._path(name)) as source,
            path.open("wb") as file,
        ):
            shutil.copyfileobj(source, file, _COPIED)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if name else self._prefix

    @contextmanager
    def _errors(self, name: str, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = f"{self.url}/{name}" if name else self.url
            problem = f"cannot be {done} ({first_line(error)})"
            raise DataError(place, f"{problem}. Check the URL, credentials and region.") from error


@contextmanager
def local_copy(url: str, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary copy of an object, or of the readable objects below a prefix.

    Args:
        url: The URL of an object or of a prefix.
        suffixes: Objects below a prefix with other suffixes are not copied.

    Raises:
        DataError: If there is no such object, or the server cannot be reached.
    """
    bucket = Bucket(url)
    with tempfile.TemporaryDirectory(prefix="nestvec-") as folder:
        place = Path(folder, PurePosixPath(bucket.url).name)
        if bucket.is_object():
            bucket.download("", place)
        else:
            names = [name for name in bucket.names() if name.lower().endswith(tuple(suffixes))]
            if not names:
                raise DataError(url, f"has no object with a suffix {', '.join(suffixes)}")
            for name in names:
                bucket.download(name, place / name)
        yield place


def lance_options() -> dict[str, str]:
    """Return the options of object storage for LanceDB, without credentials."""
    endpoint = _endpoint()
    if endpoint is None:
        return dict(_LANCE_LIMITS)
    return {
        **_LANCE_LIMITS,
        "aws_endpoint": endpoint,
        "allow_http": str(endpoint.startswith("http://")).lower(),
        "aws_region": _region()["region"],
    }


def storage_error_text(error: Exception) -> str:
    """Return the first line of an error, without credentials and parts of responses."""
    text = first_line(error)
    for name in _SECRETS:
        value = os.environ.get(name)
        if value:
            text = text.replace(value, "***")
    line = " ".join(text.partition("<?xml")[0].split())
    return f"{line[:_LONGEST_ERROR].rstrip('.')}."


def _endpoint() -> str | None:
    return next(filter(None, map(os.environ.get, _ENDPOINTS)), None)


def _connect() -> Any:
    storage = require("pyarrow.fs", extra="parquet")
    endpoint = _endpoint()
    if endpoint is None:
        return storage.S3FileSystem()
    scheme, separator, server = endpoint.rstrip("/").rpartition("://")
    return storage.S3FileSystem(
        endpoint_override=server, scheme=scheme if separator else "https", **_region()
    )


def _region() -> dict[str, str]:
    """Return the region of the environment; other servers ignore it, but requests need one."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return {"region": named or "us-east-1"}
