"""The right of one process to change the prefixes of a table.

Milvus has no locks and no conditional writes. A process writes a row of its own, and then reads the
rows of all processes, with strong consistency: of two processes, at least one reads both rows, and
gives up. The row has a time, which a thread renews. A row that is not renewed is of a process that
ended.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nestvec.engines.milvus.records import Records
from nestvec.errors import DataError, IndexLocked

ABANDONED_S = 60.0
"""Age of the row of a process that has ended; the clocks of machines must differ by less."""
RENEWED_S = 10.0
_ATTEMPTS, _PAUSE_S = 3, 0.5  # two processes that begin at the same time can both give up


class Lease:
    """The lease of one open table. Only one thread of a process may hold it at a time."""

    def __init__(self, records: Records, table: str, shown: str) -> None:
        """Name the table, and the URL of the index for messages."""
        self._records, self._table, self._shown = records, table, shown
        self._key = f"{table}/{secrets.token_hex(8)}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Acquire the lease, and renew it while the block runs.

        The lease is kept after the block until ``release``, and released after an error.

        Raises:
            IndexLocked: If another process has the lease.
        """
        self._acquire()
        ending = threading.Event()
        thread = threading.Thread(target=self._renew, args=(ending,), name="nestvec-lease")
        thread.start()
        try:
            yield
            self.check()
        except BaseException:
            ending.set()
            thread.join()
            with suppress(DataError):  # the row becomes too old
                self.release()
            raise
        ending.set()
        thread.join()

    def check(self) -> None:
        """Check that no other process has acquired the lease, for example during a long pause.

        Raises:
            IndexLocked: If another process has it.
        """
        keys = {key for key, _ in self._records.leases(self._table)}
        if self._key not in keys or self._others():
            problem = "another process has changed the prefixes of this index meanwhile."
            raise IndexLocked(self._shown, f"{problem} Try again when it has ended.")

    def release(self) -> None:
        """Release the lease; without it, do nothing."""
        self._records.remove_leases([self._key])

    def _acquire(self) -> None:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, _PAUSE_S))
            self._records.write_lease(self._table, self._key)
            if not self._others():
                return
            self.release()
        problem = "another process builds prefixes of this index or changes its operating point."
        remedy = f"Try again when it has ended, or {ABANDONED_S:.0f} s after a crash."
        raise IndexLocked(self._shown, f"{problem} {remedy}")

    def _others(self) -> bool:
        """Return whether another process has the lease; remove the rows of ended processes."""
        others = [(key, age) for key, age in self._records.leases(self._table) if key != self._key]
        ended = [key for key, age in others if age > ABANDONED_S]
        self._records.remove_leases(ended)
        return len(others) > len(ended)

    def _renew(self, ending: threading.Event) -> None:
        while not ending.wait(RENEWED_S):
            with suppress(DataError):  # the next renewal or ``check`` reports a lasting failure
                self._records.write_lease(self._table, self._key)
