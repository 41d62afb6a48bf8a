"""Build and drop indexes while the table is in use, also after an interrupted attempt."""

from __future__ import annotations

from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.postgresql.statements import drop_index
from nestvec.types import OnProgress

_STATE = """SELECT i.indisvalid AND i.indisready AND i.indislive FROM pg_index AS i
WHERE i.indexrelid = to_regclass(%s)"""

_PROGRESS = """SELECT blocks_done, blocks_total FROM pg_stat_progress_create_index
WHERE pid = %s AND phase LIKE 'building index%%' AND blocks_total > 0"""


def is_complete(session: ShrinkSession, name: str) -> bool | None:
    """Return whether an index is complete; None if there is no such index.

    Args:
        session: The connection.
        name: The quoted name with its schema.
    """
    rows = session.rows(_STATE, [name])
    return bool(rows[0][0]) if rows else None


def build_index(
    session: ShrinkSession,
    name: str,
    statement: str,
    *,
    memory_kb: int | None,
    on_progress: OnProgress | None,
) -> None:
    """Build an index unless it is complete.

    An interrupted ``CREATE INDEX CONCURRENTLY`` leaves an invalid index, which is dropped first.

    Args:
        session: The connection.
        name: The quoted name with its schema.
        statement: The statement that creates the index.
        memory_kb: Memory of the server for the build; None for the server's default.
        on_progress: Is called with the pages of the table that are done and in total.
    """
    complete = is_complete(session, name)
    if complete:
        return
    if complete is False:
        session.maintain(drop_index(name))
    if on_progress is None:
        session.maintain(statement, memory_kb=memory_kb)
        return
    with session.polling(_PROGRESS, [session.connection.info.backend_pid], on_progress):
        session.maintain(statement, memory_kb=memory_kb)


def index_size(session: ShrinkSession, name: str) -> int:
    """Return the bytes of an index; 0 if there is no such index."""
    query = "SELECT coalesce(pg_relation_size(to_regclass(%s)), 0)"
    return int(session.row(query, [name])[0])
