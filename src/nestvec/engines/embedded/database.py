"""The SQLite database of an index: connections, settings, and the translation of errors.

With write-ahead logging, readers see the last commit while the next one is written. With
``synchronous=FULL``, a commit returns when it is on disk. ``documents`` defines the tables.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from nestvec.engines.embedded.checksums import file_digest
from nestvec.engines.embedded.folder import DATABASE, SEAL
from nestvec.errors import DamagedFile, DataError
from nestvec.files.atomic import replace_file

_BUSY_S = 30
_MAX_IDLE = 4  # connections that remain open for the next read
_DAMAGE = ("malformed", "not a database", "corrupt", "no such table", "no such column", "decode")

_opening = threading.Lock()
_open: WeakSet[Database] = WeakSet()


class Database:
    """A connection to the database. Threads may share it."""

    def __init__(self, path: Path, *, write: bool, create: bool = False) -> None:
        """Open a connection.

        Args:
            path: The path of the database file.
            write: Whether the connection may change the database.
            create: Create the file, which must not exist.

        Raises:
            DamagedFile: If the file is missing or is not a database.
            DataError: If the folder is read-only and the log contains changes that are not in the
                database file.
        """
        self.path: Path = path
        self._process = os.getpid()
        self.lock = threading.RLock()
        self._failed = "cannot be read"
        if write:
            self._failed = "could not be written. Committed changes are unchanged."
        if not create and not path.is_file():
            raise DamagedFile(path, "is missing. Rebuild the index.")
        options = "mode=rwc" if create else "mode=rw"
        if not write and not os.access(path.parent, os.W_OK):
            options = "mode=ro&immutable=1"
            _check_no_log(path)
        with _opening:
            for other in _others(path):
                # A forked process does not have the locks of its parent's connections.
                other._check_process()
            with self._translated_errors():
                self._connection = sqlite3.connect(
                    f"{path.resolve().as_uri()}?{options}",
                    uri=True,
                    check_same_thread=False,
                    timeout=_BUSY_S,
                    isolation_level=None,  # transactions start only with "begin"
                )
            _open.add(self)
        try:
            self._set_up(write=write)
        except BaseException:
            self.close()
            raise

    def _set_up(self, *, write: bool) -> None:
        if write:
            self.execute("pragma journal_mode = wal")
            self.execute("pragma synchronous = full")
            self.execute("pragma secure_delete = on")  # deleted data is overwritten
        else:
            self.execute("pragma query_only = on")
        self.execute("pragma cell_size_check = on")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement, and return its rows."""
        with self.lock, self._translated_errors():
            return self._connection.execute(statement, values).fetchall()

    def execute_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row of values."""
        with self.lock, self._translated_errors():
            self._connection.executemany(statement, values)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield rows while they are read, within a ``transaction`` or ``reading``."""
        with self._translated_errors():
            yield from self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the changes of the block, or undo them after an exception."""
        with self._within("begin immediate", "commit"):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read only one commit in the block, even if other connections write."""
        with self._within("begin", "rollback"):
            yield

    @contextmanager
    def _within(self, begin: str, end: str) -> Iterator[None]:
        with self.lock:
            self._roll_back()  # a transaction that an interrupt left open
            try:
                self.execute(begin)
                yield
                self.execute(end)
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        with self._translated_errors():
            if self._connection.in_transaction:
                self._connection.execute("rollback")

    def version(self) -> int:
        """Return a number that changes when another connection commits."""
        [(version,)] = self.execute("pragma data_version")
        return int(version)

    def checkpoint(self) -> bool:
        """Move the log into the database file; False if a reader still needs part of the log."""
        [(busy, _, _)] = self.execute("pragma wal_checkpoint(truncate)")
        return not busy

    def close(self) -> None:
        """Close the connection, unless a parent process opened it: SQLite forbids that."""
        with self.lock:
            if self.opened_here:
                self._connection.close()
                _open.discard(self)

    @property
    def opened_here(self) -> bool:
        """Whether this process opened the connection, and not its parent before a fork."""
        return os.getpid() == self._process

    def _check_process(self) -> None:
        if not self.opened_here:
            problem = "the index was opened before this process was forked."
            raise DataError(self.path, f"{problem} Close it before the fork, and open it after.")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise errors of SQLite as errors of nestvec."""
        self._check_process()
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise DataError(self.path.parent, "the index is closed. Open it again.") from error
        except sqlite3.OperationalError as error:
            if any(word in str(error) for word in _DAMAGE):
                raise self._damaged(error) from error
            raise DataError(self.path, f"{self._failed} ({error})") from error
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: sqlite3.Error) -> DamagedFile:
        return DamagedFile(self.path, f"cannot be read ({error}). Rebuild the index.")


class ReadConnections:
    """A pool of connections for long reads. Each is used by one thread at a time.

    Searches check for a new commit with another connection. If a long read used that connection,
    all searches would wait for its end.
    """

    def __init__(self, opened: Database) -> None:
        """Create a pool for the same database file as ``opened``.

        If another file replaces this file, ``borrow`` returns ``opened``.
        """
        self._opened = opened
        self._inode = opened.path.stat().st_ino
        self._lock = threading.Lock()
        self._idle: list[Database] = []
        self._closed = False

    @contextmanager
    def borrow(self) -> Iterator[Database]:
        """Return a connection for use in the block.

        Raises:
            DataError: If the index is closed, or cannot be read.
        """
        database = self._take()
        try:
            yield database
        finally:
            self._return(database)

    def in_place(self) -> bool:
        """Return whether the file at the path is still the file that was opened."""
        try:
            return self._opened.path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the idle connections now, and each borrowed one when its block ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()

    def _take(self) -> Database:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._closed:
                return self._opened  # it raises that the index is closed
        if not self.in_place():
            return self._opened
        database = Database(self._opened.path, write=False)
        if self.in_place():
            return database
        database.close()  # the file was replaced while it was opened
        return self._opened

    def _return(self, database: Database) -> None:
        if database is self._opened:
            return
        with self._lock:
            if not self._closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(database)
                return
        database.close()


@contextmanager
def not_open_here(path: Path) -> Iterator[bool]:
    """Prevent connections to a database during the block, and yield whether none is open.

    Without open connections, the file may be read directly. Otherwise, closing the file would
    release all locks of this process on it (POSIX), including those of SQLite.
    """
    with _opening:
        yield not _others(path)


def _others(path: Path) -> list[Database]:
    return [each for each in list(_open) if each.path.resolve() == path.resolve()]


def _check_no_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        problem = f"the folder is read-only, and {log.name} has changes not in the database."
        raise DataError(path.parent, f"{problem} Open the index once with write permission.")


def write_seal(folder: Path) -> None:
    """Write the seal of a database without a log, if this process has no connection to it.

    Raises:
        DataError: If it cannot be written.
    """
    values = _values(folder)
    if values is None:
        return
    with replace_file(folder / SEAL) as path:
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Return whether the database file matches its seal byte for byte.

    False if this process has a connection to the database, as the file cannot be read then.
    """
    log = folder / f"{DATABASE}-wal"
    if log.exists() and log.stat().st_size:
        return False
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return isinstance(sealed, dict) and sealed == _values(folder)
    except (OSError, ValueError):
        return False


def _values(folder: Path) -> dict[str, str | int] | None:
    file = folder / DATABASE
    with not_open_here(file) as may_read:
        if not may_read:
            return None
        return {"bytes": file.stat().st_size, "xxh3_128": file_digest(file)}
