"""One connection that shrinks one table: its settings, its lock, and its transactions.

The lock is an advisory lock of the connection that also runs the statements. A server that still
runs a statement of a killed client therefore still holds the lock. The server notices within
``_CHECK_CLIENT`` that the client has gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any, TypeVar

from nestvec.engines.pgvector.connection import CONNECT_S
from nestvec.engines.pgvector.failures import failure
from nestvec.errors import DataError, IndexLocked, InvalidArgument, require
from nestvec.sources.places import Place

Result = TypeVar("Result")
LOCK_WAIT_S = 20.0
"""Longest wait for another shrink of the same table, or for the server to end its statement."""
CHANGE_LOCK = "2s"
"""Longest wait of one attempt to lock the table: other transactions wait behind the attempt."""
ATTEMPTS = 30
_PAUSE_S = 0.5
_POLL_S = 1.0
_CHECK_CLIENT = "1s"
_SETTINGS = {
    "client_connection_check_interval": _CHECK_CLIENT,
    "jit": "off",
    "statement_timeout": "0",
    "application_name": "nestvec shrink",
}
_BUSY = ("55P03", "40P01", "40001")  # lock not granted in time, deadlock, serialization failure
_SET = "SELECT set_config(%s, %s, false)"


class ShrinkSession:
    """An open connection in autocommit mode.

    Attributes:
        connection: The connection of psycopg.
        shown: The URL without credentials, for messages.
    """

    def __init__(
        self, connection: Any, psycopg: Any, shown: str, connect: Callable[[], Any]
    ) -> None:
        """Use an open connection.

        Args:
            connection: The connection.
            psycopg: The module.
            shown: The URL without credentials.
            connect: Opens another connection to the same database.
        """
        self.connection, self.shown, self._psycopg = connection, shown, psycopg
        self._connect = connect

    @classmethod
    @contextmanager
    def connect(cls, place: Place) -> Iterator[ShrinkSession]:
        """Connect; errors of the server have one line and no password.

        Raises:
            InvalidArgument: If psycopg cannot parse the URL.
            DataError: If the server cannot be reached, or refuses a statement.
            MissingExtra: If psycopg or pgvector's Python package is not installed.
        """
        psycopg: Any = require("psycopg", extra="pgvector")
        require("pgvector.psycopg", extra="pgvector")
        try:
            psycopg.conninfo.conninfo_to_dict(place.url)
        except psycopg.ProgrammingError:  # its message can contain the password
            problem = f"{place.shown} is not a connection URL of PostgreSQL."
            remedy = "Write postgresql://USER@HOST:PORT/DATABASE?table=TABLE."
            raise InvalidArgument(f"{problem} {remedy}") from None
        options = {"connect_timeout": int(CONNECT_S), "prepare_threshold": None}

        def connect() -> Any:
            return psycopg.connect(place.url, autocommit=True, **options)

        try:
            with connect() as connection:
                for name, value in _SETTINGS.items():
                    connection.execute(_SET, [name, value])
                yield cls(connection, psycopg, place.shown, connect)
        except psycopg.Error as error:
            raise failure(place.shown, error, CHANGE_LOCK) from None

    @property
    def version(self) -> int:
        """The version of the server, such as 180006 for 18.6."""
        return int(self.connection.info.server_version)

    def use_schema(self, schema: str) -> None:
        """Look up types and operators of pgvector in its schema, and load its library.

        The library must be loaded before a function that sets ``hnsw.ef_search`` is created.
        """
        from pgvector.psycopg import register_vector

        self.set("search_path", f"pg_catalog, {schema}, pg_temp")
        self.rows("SELECT '[1]'::vector")
        register_vector(self.connection)

    @contextmanager
    def polling(
        self, query: str, values: Sequence[object], report: Callable[..., object]
    ) -> Iterator[None]:
        """Report the rows of a query from time to time, while the connection is busy.

        Args:
            query: The query, which runs in a connection of its own.
            values: Its parameters.
            report: Is called with the columns of each row, from another thread.
        """
        done = Event()

        def poll() -> None:
            with suppress(self._psycopg.Error), self._connect() as connection:
                while not done.wait(_POLL_S):
                    for row in connection.execute(query, values).fetchall():
                        report(*row)

        thread = Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def set(self, name: str, value: str) -> None:
        """Change a setting of the connection."""
        self.connection.execute(_SET, [name, value])

    def read_only(self) -> None:
        """Refuse all statements that change the database."""
        self.set("default_transaction_read_only", "on")

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        rows: list[tuple[Any, ...]] = self.connection.execute(query, values or None).fetchall()
        return rows

    def row(self, query: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
        """Return the only row of a query."""
        (row,) = self.rows(query, values)
        return row

    def numbered(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Return the rows of a query with the parameters ``$1``, ``$2``, as a function has them."""
        rows: list[tuple[Any, ...]] = self.execute_numbered(query, values).fetchall()
        return rows

    def execute_numbered(self, statement: str, values: Sequence[object]) -> Any:
        """Run a statement with the parameters ``$1``, ``$2``, and return its cursor."""
        return self._psycopg.RawCursor(self.connection).execute(statement, values)

    def lock(self, name: str) -> None:
        """Prevent other shrinks of a table until the connection ends.

        Raises:
            IndexLocked: If another process shrinks the table.
        """
        query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
        end = time.monotonic() + LOCK_WAIT_S
        while not self.row(query, [f"nestvec shrink {name}"])[0]:
            if time.monotonic() > end:
                problem = f"another process shrinks table {name}."
                raise IndexLocked(self.shown, f"{problem} Repeat the command when it has finished.")
            time.sleep(_PAUSE_S)

    def change(self, work: Callable[[Any], Result]) -> Result:
        """Run a function in one transaction, which waits for locks of a table only briefly.

        A statement that waits for a lock blocks all later statements on the table. Each attempt
        therefore ends after ``CHANGE_LOCK``, and is repeated.

        Raises:
            DataError: If no attempt gets its locks.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._attempt(work)
            except self._psycopg.Error as error:
                if error.sqlstate not in _BUSY:
                    raise
                time.sleep(_PAUSE_S)
        return self._attempt(work)

    def _attempt(self, work: Callable[[Any], Result]) -> Result:
        with self.connection.transaction():
            self.connection.execute("SELECT set_config('lock_timeout', %s, true)", [CHANGE_LOCK])
            return work(self.connection)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries of a block see one state of the database, while others write."""
        with self.connection.transaction():
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield

    def maintain(self, statement: str, *, memory_kb: int | None = None) -> None:
        """Run a statement outside of a transaction, which waits for locks without a limit."""
        self.set("lock_timeout", "0")
        if memory_kb is not None:
            self.set("maintenance_work_mem", f"{memory_kb}kB")
        self.connection.execute(statement)
        if memory_kb is not None:
            self.connection.execute("RESET maintenance_work_mem")

    def refuse(self, problem: str) -> DataError:
        """Return an error that names the place."""
        return DataError(self.shown, problem)
