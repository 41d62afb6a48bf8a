"""Connections to PostgreSQL: a pool, time limits, and bounded retries after a lost connection.

A transaction whose connection is lost while it commits may be complete or not. PostgreSQL keeps the
outcome of a transaction id (``pg_xact_status``), so a retry never applies a change twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from nestvec.engines.pgvector.failures import failure, is_temporary, missing_extension, unreachable
from nestvec.engines.pgvector.locks import IndexLocks
from nestvec.errors import DataError, InvalidArgument, require

Result = TypeVar("Result")
CONNECT_S = 10.0
"""Longest wait for one connection."""
RETRY_S = 30.0
"""A call is repeated for at most this time after its connection was lost."""
SESSION = {
    "hnsw.iterative_scan": "relaxed_order",  # strict_order loses neighbors beyond ef_search
    "jit": "off",  # compiling costs more than one search
    "lock_timeout": "30s",  # a search or a change waits for another transaction
}
"""Settings of each connection."""
_SET = "SELECT set_config(%s, %s, false)"
# A server that crashed before it wrote the transaction assigns its id again: the id is not known.
_STATUS = """
SELECT CASE WHEN %s::xid8 < pg_snapshot_xmax(pg_current_snapshot())
    THEN pg_xact_status(%s::xid8) ELSE 'aborted' END
"""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_MAX_CONNECTIONS = 16


class Connections:
    """A pool of connections to one database. Several threads may use it.

    Attributes:
        shown: The URL without credentials, for error messages.
    """

    def __init__(self, url: str, shown: str) -> None:
        """Connect once, so that a wrong address is reported now.

        Raises:
            InvalidArgument: If psycopg cannot parse the URL.
            DataError: If the server cannot be reached, or lacks pgvector.
            MissingExtra: If psycopg or pgvector's Python package is not installed.
        """
        self._psycopg: Any = require("psycopg", extra="pgvector")
        pools: Any = require("psycopg_pool", extra="pgvector")
        self._register: Any = require("pgvector.psycopg", extra="pgvector").register_vector
        self.shown = shown
        self._closed = threading.Event()
        try:
            self._psycopg.conninfo.conninfo_to_dict(url)
        except self._psycopg.ProgrammingError:  # its message can contain the password
            problem = f"{shown} is not a connection URL of PostgreSQL."
            remedy = "Write postgresql://USER@HOST:PORT/DATABASE."
            raise InvalidArgument(f"{problem} {remedy}") from None
        options = {"autocommit": True, "connect_timeout": int(CONNECT_S)}
        self._locks = IndexLocks(lambda: self._psycopg.connect(url, **options), shown)
        self._pool = pools.ConnectionPool(
            url,
            kwargs=options,
            min_size=0,
            max_size=_MAX_CONNECTIONS,
            timeout=CONNECT_S,
            configure=self._configure,
            open=True,
        )
        try:
            self._check(url)
        except BaseException:
            self._pool.close()
            raise

    def run(self, work: Callable[[Any], Result]) -> Result:
        """Run a function that only reads, with a connection; repeat it if the connection is lost.

        Raises:
            DataError: If the database cannot be reached, or refuses the statement.
        """
        return self._repeated(lambda connection, _: work(connection))

    def maintain(self, *statements: str, memory_kb: int | None = None) -> None:
        """Run statements outside of a transaction, which wait for locks without a limit.

        Args:
            statements: The statements.
            memory_kb: The memory that they may use in the server; None for the server's default.

        Raises:
            DataError: If the database cannot be reached, or refuses a statement.
        """

        def work(connection: Any) -> None:
            connection.execute("SET lock_timeout = 0")
            if memory_kb is not None:
                connection.execute(_SET, ["maintenance_work_mem", f"{memory_kb}kB"])
            try:
                for statement in statements:
                    connection.execute(statement)
            finally:
                if not connection.closed:
                    connection.execute(_SET, ["lock_timeout", SESSION.get("lock_timeout", "0")])
                    connection.execute("RESET maintenance_work_mem")

        self.run(work)

    def lock(self, name: str) -> None:
        """Prevent changes of the index of a table by other processes until ``close``.

        Raises:
            IndexLocked: If another process changes the index.
            DataError: If the database cannot be reached.
        """
        self.run(lambda _: self._locks.acquire(name))

    def transact(self, work: Callable[[Any], Result], *, index: str | None = None) -> Result:
        """Run a function in one transaction, which is applied exactly once.

        Args:
            work: The function. It is repeated if the transaction fails for a temporary reason.
            index: The name of the index that is changed; None without a lock.

        Raises:
            IndexLocked: If another process has locked the index.
            DataError: If the database cannot be reached, or refuses the statement.
        """
        begun: list[tuple[str, Result]] = []  # the transactions whose commit was sent

        def attempt(connection: Any, _number: int) -> Result:
            if begun and self._is_committed(connection, begun[-1][0]):
                return begun[-1][1]
            with connection.transaction():
                if index is not None:
                    self._locks.share(connection, index)
                result = work(connection)
                (xid,) = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
                begun.append((xid, result))
            return result

        return self._repeated(attempt)

    def close(self) -> None:
        """Close all connections."""
        self._closed.set()
        self._locks.close()
        self._pool.close()

    def _repeated(self, attempt: Callable[[Any, int], Result]) -> Result:
        end, number = time.monotonic() + RETRY_S, 0
        while True:
            try:
                with self._pool.connection(min(CONNECT_S, RETRY_S)) as connection:
                    return attempt(connection, number)
            except self._psycopg.Error as error:
                number += 1
                limit = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number)
                temporary = is_temporary(error, self._psycopg)
                if not temporary or time.monotonic() + limit > end or self._closed.is_set():
                    raise self._error(error) from None
                self._pool.check()  # all connections of a server that was stopped are lost
                time.sleep(random.uniform(limit / 2, limit))

    def _is_committed(self, connection: Any, xid: str) -> bool:
        """Return the outcome of a transaction; wait while the server still ends it."""
        while True:
            (status,) = connection.execute(_STATUS, [xid, xid]).fetchone()
            if status != "in progress":
                return bool(status == "committed")
            time.sleep(_FIRST_WAIT_S)

    def _configure(self, connection: Any) -> None:
        self._register(connection)
        for name, value in SESSION.items():
            connection.execute(_SET, [name, value])

    def _check(self, url: str) -> None:
        """Connect without the pool, which hides the reason of a failure."""
        try:
            with self._psycopg.connect(url, connect_timeout=int(CONNECT_S)) as connection:
                found = connection.execute(
                    "SELECT 1 FROM pg_extension WHERE extname = 'vector'"
                ).fetchone()
                if found is None:
                    self._create_extension(connection)
        except self._psycopg.Error as error:
            raise failure(self.shown, error, SESSION.get("lock_timeout", "0")) from None

    def _create_extension(self, connection: Any) -> None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except self._psycopg.Error as error:
            raise missing_extension(self.shown, error) from None

    def _error(self, error: Exception) -> DataError:
        """Return an error of one line."""
        if is_temporary(error, self._psycopg):
            return unreachable(self.shown, RETRY_S, error)
        return failure(self.shown, error, SESSION.get("lock_timeout", "0"))
