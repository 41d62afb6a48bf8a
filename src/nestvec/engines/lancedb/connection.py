"""A folder of Lance tables: connect, retry, and allow one writer at a time.

A change of a Lance table is one commit: an object or a file that does not exist before. Two commits
at the same time conflict, and one of them is repeated. A local folder also has a writer's lock.
LanceDB runs threads, so that a process must not fork after it has opened an index.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from nestvec.engines.lancedb.place import LancePlace
from nestvec.errors import DataError, IndexLocked, NestvecError, require
from nestvec.files.object_storage import storage_error_text

Result = TypeVar("Result")
LOCK = ".nestvec.lock"
LOCK_WAIT_S = 5.0
"""A change waits for other writers of a local folder for at most this time."""
RETRY_S = 30.0
"""A call is repeated for at most this time after a conflict or a failure of the network."""
INDEX_CACHE_BYTES, METADATA_CACHE_BYTES = 512 << 20, 128 << 20
"""Most memory that LanceDB uses for search structures and for metadata of files."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_TRANSIENT = (
    "conflict",
    "concurrent",
    "error sending request",
    "connection",
    "timed out",
    "timeout",
    "503",
    "slow down",
)
_MISSING = ("not found", "no such file", "nosuchkey")


class MissingData(Exception):
    """A table or a file that a call needs does not exist any more."""


class LanceFolder:
    """A folder, or a prefix of a bucket, with Lance tables. Several threads may use it."""

    def __init__(self, place: LancePlace) -> None:
        """Name the folder. It is opened when it is first used.

        Raises:
            MissingExtra: If lancedb is not installed.
        """
        self._lancedb: Any = require("lancedb", extra="lancedb")
        self._place = place
        self._database: Any = None
        self._opening = threading.Lock()
        self._changing = threading.RLock()
        folder = place.folder
        self._file_lock = (
            None
            if folder is None
            else FileLock(folder / LOCK, is_singleton=False, thread_local=False)
        )
        self._kept = False

    @property
    def shown(self) -> str:
        """The URL of the folder, for messages."""
        return self._place.shown

    @property
    def exists(self) -> bool:
        """Whether the folder exists; True on object storage, which has no folders."""
        return self._place.folder is None or self._place.folder.is_dir()

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine."""
        return self._place.folder is not None

    @property
    def database(self) -> Any:
        """The connection of LanceDB, which creates the folder if it does not exist."""
        with self._opening:
            if self._database is None:
                session = self._lancedb.Session(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES)
                self._database = self._lancedb.connect(
                    self._place.uri,
                    storage_options=self._place.storage_options(),
                    read_consistency_interval=timedelta(0),  # see the commits of other processes
                    session=session,
                )
            return self._database

    def table_names(self) -> list[str]:
        """Return the names of all Lance tables."""
        names: list[str] = []
        page = None
        while True:
            found = self.database.list_tables(page_token=page)
            names += found.tables
            page = found.page_token
            if not page:
                return names

    def call(self, work: Callable[[], Result]) -> Result:
        """Run a function, and repeat it after a conflict or a failure of the network.

        Raises:
            DataError: If the storage cannot be reached, or refuses the call.
            MissingData: If a table or a file does not exist any more.
        """
        end, number = time.monotonic() + RETRY_S, 0
        while True:
            try:
                return work()
            except NestvecError:
                raise
            except (OSError, RuntimeError, ValueError) as error:
                text = str(error).lower()
                if any(word in text for word in _MISSING):
                    raise MissingData(storage_error_text(error)) from None
                number += 1
                limit = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number)
                lasting = not any(word in text for word in _TRANSIENT)
                if lasting or time.monotonic() + limit > end:
                    raise DataError(self.shown, storage_error_text(error)) from None
                time.sleep(random.uniform(limit / 2, limit))

    @contextmanager
    def changing(self, wait_s: float | None = None) -> Iterator[None]:
        """Prevent changes by other threads and, in a local folder, by other processes.

        Args:
            wait_s: Longest wait for another process; None for ``LOCK_WAIT_S``.

        Raises:
            IndexLocked: If another process still changes the folder then.
        """
        with self._changing:
            lock = self._file_lock
            if lock is None:
                yield
                return
            try:
                lock.acquire(timeout=LOCK_WAIT_S if wait_s is None else wait_s)
            except Timeout:
                problem = "is being changed by another process. Try again when it has ended."
                raise IndexLocked(self.shown, problem) from None
            except OSError as error:
                raise DataError(self.shown, f"cannot be written ({error.strerror}).") from None
            try:
                yield
            finally:
                lock.release()

    def lock(self) -> None:
        """Keep the writer's lock of a local folder until ``close``."""
        with self._changing:
            if self._kept or self._file_lock is None:
                return
            with self.changing(0.0):
                self._file_lock.acquire()
                self._kept = True

    def close(self) -> None:
        """Release the lock."""
        if self._file_lock is not None:
            self._file_lock.release(force=True)
        self._kept = False
