"""Locks on the index of a table, which all processes of a database share.

A lock is an advisory lock of PostgreSQL. A change holds it in shared mode until its transaction
ends, so that several processes can change an index. ``IndexLocks.acquire`` holds it exclusively, in
a connection of its own, until the connection is closed: no other process can change the index.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

from nestvec.errors import IndexLocked

WAIT_MS = 2_000
"""Longest wait for another process, in milliseconds."""
_TIMED_OUT = "55P03"  # PostgreSQL's code of a lock that was not granted in time
_LOCKED = "another process changes this index ({name}). Repeat the command when it has finished."


class IndexLocks:
    """The exclusive locks that one pool of connections holds. Several threads may use it."""

    def __init__(self, connect: Callable[[], Any], shown: str) -> None:
        """Hold no lock.

        Args:
            connect: Opens a connection.
            shown: The URL without credentials.
        """
        self._connect, self._shown = connect, shown
        self._connection: Any = None
        self._names: set[str] = set()
        self._threads = threading.Lock()

    def acquire(self, name: str) -> None:
        """Lock the index of a table exclusively until ``close``.

        Raises:
            IndexLocked: If another process changes the index.
        """
        with self._threads:
            if name not in self._names or self._is_lost():
                self._acquire([*self._names, name])

    def share(self, connection: Any, name: str) -> None:
        """Lock the index of a table for a change, until the transaction of a connection ends.

        Raises:
            IndexLocked: If another process has locked the index.
        """
        with self._threads:
            if name in self._names:
                if self._is_lost():
                    self._acquire([*self._names])
                return
        if not _try_share(connection, _key(name)):
            raise self._error(name)

    def close(self) -> None:
        """Release all locks."""
        with self._threads:
            self._names.clear()
            if not self._is_lost():
                self._connection.execute("SELECT pg_advisory_unlock_all()")  # before this returns
                self._connection.close()

    def _acquire(self, names: list[str]) -> None:
        if self._is_lost():
            self._connection = self._connect()
            self._names.clear()
        for name in names:
            if name not in self._names and not _try_lock(self._connection, _key(name)):
                raise self._error(name)
            self._names.add(name)

    def _is_lost(self) -> bool:
        """Return whether there is no connection, or its locks ended with the server."""
        if self._connection is None or self._connection.closed:
            return True
        try:
            self._connection.execute("SELECT 1")
        except Exception:
            self._connection.close()
            return True
        return False

    def _error(self, name: str) -> IndexLocked:
        return IndexLocked(self._shown, _LOCKED.format(name=name))


def _try_lock(connection: Any, key: int) -> bool:
    """Lock in the session of a connection; wait for at most ``WAIT_MS``."""
    _set_timeout(connection, f"{WAIT_MS}ms", local=False)
    return _is_granted(connection, "SELECT pg_advisory_lock(%s)", key)


def _try_share(connection: Any, key: int) -> bool:
    """Lock in the transaction of a connection; wait for at most ``WAIT_MS``."""
    query = "SELECT pg_try_advisory_xact_lock_shared(%s), current_setting('lock_timeout')"
    granted, before = connection.execute(query, [key]).fetchone()
    if not granted:
        _set_timeout(connection, f"{WAIT_MS}ms", local=True)
        granted = _is_granted(connection, "SELECT pg_advisory_xact_lock_shared(%s)", key)
        if granted:  # otherwise the transaction has failed
            _set_timeout(connection, before, local=True)
    return bool(granted)


def _set_timeout(connection: Any, value: str, *, local: bool) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, %s)", [value, local])


def _is_granted(connection: Any, query: str, key: int) -> bool:
    try:
        connection.execute(query, [key])
    except Exception as error:
        if getattr(error, "sqlstate", None) != _TIMED_OUT:
            raise
        return False
    return True


def _key(name: str) -> int:
    """Return the 64 bits that identify the lock of a table."""
    digest = hashlib.sha256(f"nestvec index {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
