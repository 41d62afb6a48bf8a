"""A table of LanceDB that is shrunk: its columns, its lock, and bounded retries.

Each change is one commit of Lance. A commit that conflicts with a commit of another program is
repeated. In a local folder, one process at a time shrinks a table; object storage has no lock.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from nestvec.engines.lancedb.connection import LanceFolder, MissingData
from nestvec.engines.lancedb.place import S3_SCHEME, LancePlace
from nestvec.errors import DataError, IndexLocked, NestvecError
from nestvec.sources.lance_tables import RECORDS, OpenedTable, opened_table
from nestvec.types import Precision

Result = TypeVar("Result")
ATTEMPTS, ATTEMPT_S = 8, 120.0
"""A change is attempted at least this often, and for this time, while others change the table."""
LOCK_WAIT_S = 5.0
"""Longest wait for another shrink of the same table."""
_LONGEST_PAUSE_S = 1.0
_CONFLICTS = ("conflict", "concurrent", "preempted")


class LanceSession:
    """An open table with the columns that a shrink reads.

    Attributes:
        name: The name of the table.
        shown: The URL without credentials, for messages.
        id: The name of the column of ids.
        vector: The name of the column of vectors.
        dim: The width of the vectors; 0 for lists of any length.
        precision: The precision of the stored vectors.
    """

    def __init__(self, opened: OpenedTable) -> None:
        """Use a table of ``opened_table``."""
        self.name, self.shown = str(opened.table.name), opened.shown
        self.id, self.vector = str(opened.columns.ids), opened.columns.vectors
        kind = opened.table.schema.field(self.vector).type
        self.dim = int(getattr(kind, "list_size", 0))
        self.precision: Precision = "float16" if opened.columns.dtype.itemsize < 4 else "float32"
        self._place = LancePlace(opened.uri, self.name, opened.shown)
        self._folder = LanceFolder(self._place)
        self._table: Any = None

    @classmethod
    @contextmanager
    def open(cls, url: str, *, lock: bool) -> Iterator[LanceSession]:
        """Open a table.

        Args:
            url: ``lance://FOLDER?table=TABLE`` or ``s3://BUCKET/PREFIX?table=TABLE``.
            lock: Prevent other shrinks of the table until the end of the block.

        Raises:
            InvalidArgument: If the URL cannot be parsed.
            DataError: If there is no such table or column, or LanceDB refuses a call.
            IndexLocked: If another process shrinks the table.
            MissingExtra: If lancedb is not installed.
        """
        # Lance warns on standard error that the operation which fills a computed column is new.
        os.environ.setdefault("LANCEDB_LOG", "error")
        with opened_table(url) as opened:
            session = cls(opened)
        if not lock:
            yield session
            return
        with session._locked():
            yield session

    def read(self, work: Callable[[Any], Result]) -> Result:
        """Run a function with the latest version of the table.

        Raises:
            DataError: If LanceDB refuses the call.
        """
        try:
            return self._folder.call(lambda: work(self._opened()))
        except MissingData as error:
            raise DataError(self.shown, str(error)) from None

    def pinned(self) -> Any:
        """Return the table in its present version, which later commits do not change."""

        def work(table: Any) -> Any:
            version = table.version
            pinned = self._folder.database.open_table(self.name)
            pinned.checkout(version)
            return pinned

        return self.read(work)

    def change(self, work: Callable[[Any], Result]) -> Result:
        """Run a function that commits a change, and repeat it after a conflict.

        Raises:
            MissingData: If the change needs a version that was deleted.
            DataError: If LanceDB refuses the change, or other programs always commit first.
        """
        end, attempt = time.monotonic() + ATTEMPT_S, 0
        while True:
            try:
                return self._folder.call(lambda: self._once(work))
            except _Conflict:
                attempt += 1
                if attempt >= ATTEMPTS and time.monotonic() > end:
                    problem = f"other programs update or delete rows of {self.name} too often"
                    remedy = "Pause them, and repeat the command; additions may continue."
                    raise self.refuse(f"{problem}. {remedy}") from None
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE_S, 0.05 * 2**attempt)))

    def has_index_record(self) -> bool:
        """Return whether nestvec created the table as an index."""

        def work(_table: Any) -> bool:
            if RECORDS not in self._folder.table_names():
                return False
            rows = self._folder.database.open_table(RECORDS).search()
            return self.name in rows.select(["table_name"]).to_arrow()["table_name"].to_pylist()

        return self.read(work)

    def refuse(self, problem: str) -> DataError:
        """Return the error of a problem of the table."""
        return DataError(self.shown, problem)

    @property
    def local_path(self) -> str | None:
        """The path of the table; None on object storage."""
        folder = self._place.folder
        return None if folder is None else str(folder / f"{self.name}.lance")

    def _opened(self) -> Any:
        if self._table is None:
            self._table = self._folder.database.open_table(self.name)
        return self._table

    def _once(self, work: Callable[[Any], Result]) -> Result:
        try:
            return work(self._opened())
        except NestvecError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            if any(word in str(error).lower() for word in _CONFLICTS):
                raise _Conflict from None
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self._place.folder
        if self._place.uri.startswith(S3_SCHEME) or folder is None:
            yield
            return
        lock = FileLock(folder / f".{self.name}.nestvec-shrink.lock", is_singleton=False)
        try:
            lock.acquire(timeout=LOCK_WAIT_S)
        except Timeout:
            problem = f"another process shrinks table {self.name}."
            remedy = "Repeat the command when it has finished."
            raise IndexLocked(self.shown, f"{problem} {remedy}") from None
        except OSError as error:
            problem = f"cannot be written ({error.strerror}). Nothing was changed."
            raise DataError(self.shown, problem) from None
        try:
            yield
        finally:
            lock.release()


class _Conflict(Exception):
    """Another program has committed a change first."""


def quoted_column(name: str) -> str:
    """Return the name of a column as Lance's SQL quotes it.

    >>> quoted_column("my vector")
    '`my vector`'
    """
    return f"`{name}`"
