"""The SQLite file of an index: the connection, its settings, and errors in our words.

Write-ahead logging lets readers see the last commit while the next is written;
``synchronous=FULL`` lets a commit return when it is on disk. What the tables hold is
``documents``' business.
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
_MOST_IDLE = 4  # connections that are kept open for the next read
_DAMAGE = ("malformed", "not a database", "corrupt", "no such table", "no such column", "decode")

_opening = threading.Lock()
_open: WeakSet[Database] = WeakSet()


class Database:
    """A connection to the file, which threads may share."""

    def __init__(self, path: Path, *, write: bool, create: bool = False) -> None:
        """Connect.

        Args:
            path: The file.
            write: False lets nothing be changed.
            create: Make the file, which must not be there.

        Raises:
            DamagedFile: If it is not a database, or is missing.
            DataError: If it lies in a folder where nothing may be written, and its last changes
                are not in the file itself yet.
        """
        self.path: Path = path
        self._process = os.getpid()
        self.lock = threading.RLock()
        self._failed = "cannot be read"
        if write:
            self._failed = "could not be written; what was committed before is untouched"
        if not create and not path.is_file():
            raise DamagedFile(path, "is missing: rebuild the index")
        options = "mode=rwc" if create else "mode=rw"
        if not write and not os.access(path.parent, os.W_OK):
            options = "mode=ro&immutable=1"
            _check_no_log(path)
        with _opening:
            for other in _others(path):
                other._check_ours()  # SQLite would not take the locks that its process has
            with self._in_our_words():
                self._connection = sqlite3.connect(
                    f"{path.resolve().as_uri()}?{options}",
                    uri=True,
                    check_same_thread=False,
                    timeout=_BUSY_S,
                    isolation_level=None,  # transactions begin where we say
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
            self.execute("pragma secure_delete = on")  # what is deleted is overwritten
        else:
            self.execute("pragma query_only = on")
        self.execute("pragma cell_size_check = on")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        with self.lock, self._in_our_words():
            return self._connection.execute(statement, values).fetchall()

    def execute_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each of many rows of values."""
        with self.lock, self._in_our_words():
            self._connection.executemany(statement, values)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield rows as they are read, within a ``transaction`` or ``reading``."""
        with self._in_our_words():
            yield from self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does when it ends well, else undo it."""
        with self._begun("begin immediate", "commit"):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the block see one commit, whatever others write meanwhile."""
        with self._begun("begin", "rollback"):
            yield

    @contextmanager
    def _begun(self, begin: str, end: str) -> Iterator[None]:
        with self.lock:
            self._roll_back()  # what an interrupt left open
            try:
                self.execute(begin)
                yield
                self.execute(end)
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        with self._in_our_words():
            if self._connection.in_transaction:
                self._connection.execute("rollback")

    def version(self) -> int:
        """Return a number that changes when another connection commits."""
        [(version,)] = self.execute("pragma data_version")
        return int(version)

    def checkpoint(self) -> bool:
        """Move the log into the file; False where a reader still needs some of it."""
        [(busy, _, _)] = self.execute("pragma wal_checkpoint(truncate)")
        return not busy

    def close(self) -> None:
        """Close the connection, unless another process opened it: then SQLite forbids that."""
        with self.lock:
            if self.ours:
                self._connection.close()
                _open.discard(self)

    @property
    def ours(self) -> bool:
        """Whether this process opened it, not one that was forked into this."""
        return os.getpid() == self._process

    def _check_ours(self) -> None:
        if not self.ours:
            problem = "was opened before this process was forked: close it before, open it after"
            raise DataError(self.path, problem)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        self._check_ours()
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise DataError(self.path.parent, "is closed: open it again") from error
        except sqlite3.OperationalError as error:
            if any(word in str(error) for word in _DAMAGE):
                raise self._damaged(error) from error
            raise DataError(self.path, f"{self._failed} ({error})") from error
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: sqlite3.Error) -> DamagedFile:
        return DamagedFile(self.path, f"cannot be read ({error}): rebuild the index")


class ReadConnections:
    """Connections for reads that may take long, each used by one thread at a time.

    A search looks at the last commit by a connection of its own. If another thread read a whole
    table by that connection, every search would wait for the end of the read.
    """

    def __init__(self, opened: Database) -> None:
        """Read what ``opened`` reads, also after another file has taken its path."""
        self._opened = opened
        self._inode = opened.path.stat().st_ino
        self._lock = threading.Lock()
        self._idle: list[Database] = []
        self._closed = False

    @contextmanager
    def borrow(self) -> Iterator[Database]:
        """Lend a connection for a block.

        Raises:
            DataError: If the index is closed, or cannot be read.
        """
        database = self._take()
        try:
            yield database
        finally:
            self._give_back(database)

    def in_place(self) -> bool:
        """Return whether the path still has the file that was opened."""
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
                return self._opened  # which reports that it is closed
        if not self.in_place():
            return self._opened
        database = Database(self._opened.path, write=False)
        if self.in_place():
            return database
        database.close()  # of the file that has taken the path meanwhile
        return self._opened

    def _give_back(self, database: Database) -> None:
        if database is self._opened:
            return
        with self._lock:
            if not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append(database)
                return
        database.close()


@contextmanager
def not_open_here(path: Path) -> Iterator[bool]:
    """Let no thread of this process open a database, and tell whether none has it open.

    Only then may its file be read other than by SQLite: whoever closes a file takes all locks of
    the process on it (POSIX), those of SQLite's connections too.
    """
    with _opening:
        yield not _others(path)


def _others(path: Path) -> list[Database]:
    return [each for each in list(_open) if each.path.resolve() == path.resolve()]


def _check_no_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise DataError(
            path.parent,
            f"cannot be read where nothing may be written: {log.name} holds changes that are not "
            "in the database yet; open it once from where it can be written",
        )


def write_seal(folder: Path) -> None:
    """Seal the database, which has nothing in its log, if no connection here has it open.

    Raises:
        DataError: If it cannot be written.
    """
    values = _values(folder)
    if values is None:
        return
    with replace_file(folder / SEAL) as path:
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Tell whether the database is, byte for byte, what was sealed.

    While this process has it open, that cannot be told: False.
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
