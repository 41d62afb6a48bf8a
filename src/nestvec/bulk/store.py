"""Where the shards of a corpus are stored: a local folder, or object storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from nestvec.errors import DataError
from nestvec.files.atomic import replace_file
from nestvec.files.object_storage import Bucket, is_object_storage
from nestvec.types import Kind

_FOLDERS: dict[Kind, str] = {"document": "corpus", "query": "queries"}


class ShardStore(Protocol):
    """Reads and writes files by name; a file is never half-written."""

    @property
    def place(self) -> str:
        """The folder or URL, for messages."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file."""
        ...

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        ...


class FolderStore:
    """Shards in a folder."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is created by the first ``write``."""
        self._folder = folder

    @property
    def place(self) -> str:
        """The folder, for messages."""
        return str(self._folder)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if there is none.

        Raises:
            DataError: If the file cannot be read.
        """
        path = self._folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from error

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file.

        Raises:
            DataError: If the file cannot be written.
        """
        with replace_file(self._folder / name) as temporary:
            temporary.write_bytes(content)

    def names(self) -> list[str]:
        """Return the names of all files, sorted; temporary files of a killed run are not named."""
        if not self._folder.is_dir():
            return []
        return sorted(each.name for each in self._folder.iterdir() if not _is_temporary(each))

    def remove_temporary(self) -> None:
        """Remove the temporary files that a killed run left."""
        for path in self._folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)


class BucketStore:
    """Shards below a prefix of object storage."""

    def __init__(self, url: str) -> None:
        """Connect to a URL ``s3://bucket/prefix``."""
        self._bucket = Bucket(url)

    @property
    def place(self) -> str:
        """The URL, for messages."""
        return self._bucket.url

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if there is none."""
        return self._bucket.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Write or replace an object."""
        self._bucket.write(name, content)

    def names(self) -> list[str]:
        """Return the names of all objects, sorted."""
        return self._bucket.names()


def store_at(out: Path | str, kind: Kind) -> ShardStore:
    """Return the store for the vectors of one kind: ``OUT/corpus`` or ``OUT/queries``."""
    name = _FOLDERS[kind]
    if is_object_storage(out):
        return BucketStore(f"{str(out).rstrip('/')}/{name}")
    return FolderStore(Path(out) / name)


@contextmanager
def locked_store(out: Path | str, kind: Kind) -> Iterator[ShardStore]:
    """Yield the store for one run; in a folder, other runs wait until it has ended.

    Object storage has no lock: start one run at a time.

    Raises:
        DataError: If another run writes to the folder, or it cannot be written.
    """
    store = store_at(out, kind)
    if not isinstance(store, FolderStore):
        yield store
        return
    lock = _acquire(Path(out), f".{_FOLDERS[kind]}.lock")
    try:
        store.remove_temporary()
        yield store
        store.remove_temporary()  # of workers of a cluster that were killed
    finally:
        lock.release()


def _acquire(folder: Path, name: str) -> FileLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, timeout=0, is_singleton=False)
        lock.acquire()
    except Timeout as error:
        problem = "another process embeds texts into this folder. Wait until it has ended"
        raise DataError(folder, f"{problem}, or choose another folder.") from error
    except OSError as error:
        raise DataError(folder, f"cannot be written ({error.strerror})") from error
    return lock


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")
