"""One writer at a time: a lock that the operating system takes back when a process dies."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from nestvec.errors import DataError, IndexLocked
from nestvec.index.embedded.layout import HOLDER, LOCK

_WAIT_S = 2.0  # a reader holds it for as long as it looks whether there is a writer


class WriterLock:
    """Held by the process that changes an index."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            IndexLocked: If another process, or another index opened in this one, holds it.
            DataError: If nothing can be written there.
        """
        self._folder = folder
        self._lock = FileLock(folder / LOCK, is_singleton=False, thread_local=False)
        try:
            self._lock.acquire(timeout=_WAIT_S)
        except Timeout as error:
            raise IndexLocked(folder, f"is being changed by {_holder(folder)}") from error
        except OSError as error:
            raise DataError(folder, f"cannot be written ({error.strerror})") from error
        holder = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with suppress(OSError):  # on a full disk, nobody is told who holds it
            (folder / HOLDER).write_text(json.dumps(holder), encoding="utf-8")

    def release(self) -> None:
        """Let others write."""
        with suppress(OSError):
            (self._folder / HOLDER).unlink()
        self._lock.release()


def writer_is_alive(folder: Path) -> bool:
    """Tell whether somebody changes the index now."""
    if not (folder / HOLDER).exists() or not os.access(folder, os.W_OK):
        return False
    lock = FileLock(folder / LOCK, is_singleton=False, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # the lock's file may not be opened: then it cannot be told, and is checked
        return False
    lock.release()
    return False  # who wrote that note was killed


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return (
            f"process {holder['process']} on {holder['host']} since {holder['since']}: "
            "close it there first, or wait"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process: close it there first, or wait"
