"""Shrink the search of a table in a database, named by a URL.

``shrink`` builds a cheaper search next to the present one and switches the search to it. In
PostgreSQL, a search function is switched; in LanceDB, a record that ``search_table`` reads.
``finish_shrink`` then drops the former index, and ``undo_shrink`` returns to the former search.
Each command can be repeated after an interruption, and continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nestvec.errors import InvalidArgument
from nestvec.operate.shrink.lancedb.table import (
    catch_up_lance,
    finish_lance,
    is_lance_table,
    preview_lance_shrink,
    shrink_lance,
    undo_lance,
)
from nestvec.operate.shrink.outcome import OnStep, PlannedStatement, ShrinkOutcome
from nestvec.operate.shrink.postgresql.backward import Ending
from nestvec.operate.shrink.postgresql.forward import Shrinking, outcome
from nestvec.operate.shrink.postgresql.prepared import open_table, prepare
from nestvec.operate.shrink.postgresql.preview import preview
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.sources.places import TABLE_PARAMETERS, Place, shown_place
from nestvec.sources.postgresql import is_postgresql
from nestvec.types import OnProgress


def shrink(
    url: str,
    request: ShrinkRequest,
    *,
    on_step: OnStep | None = None,
    on_progress: OnProgress | None = None,
) -> ShrinkOutcome:
    """Make the search of a table cheaper, and switch its search function.

    Args:
        url: The URL of the table, such as
            ``postgresql://host/database?table=docs&id=key&vector=embedding`` or
            ``lance:///folder?table=docs&id=key&vector=embedding``.
        request: The operating point, and where its representation is stored.
        on_step: Is called after each step.
        on_progress: Is called with the progress of long steps.

    Raises:
        InvalidArgument: If the URL or the request does not fit the table.
        DataError: If the database refuses a statement, or the overlap is below the limit.
        IndexLocked: If another process shrinks the table.
        MissingExtra: If psycopg or lancedb is not installed.
    """
    if is_lance_table(url):
        return shrink_lance(url, request, on_step, on_progress)
    with _session(url) as (session, place):
        prepared = prepare(session, place, request)
        work = Shrinking(prepared, on_step, on_progress)
        work.run(request.min_overlap)
        return outcome(session, prepared.table, work.record, prepared.notes)


def preview_shrink(
    url: str, request: ShrinkRequest
) -> tuple[tuple[PlannedStatement, ...], tuple[str, ...]]:
    """Return the statements that ``shrink`` would run, and notes. Nothing is changed.

    Raises:
        InvalidArgument: As ``shrink``.
        DataError: As ``shrink``.
    """
    if is_lance_table(url):
        return preview_lance_shrink(url, request)
    with _session(url) as (session, place):
        session.read_only()
        prepared = prepare(session, place, request)
        return preview(prepared), prepared.notes


def finish_shrink(
    url: str,
    *,
    force: bool = False,
    on_step: OnStep | None = None,
    on_progress: OnProgress | None = None,
) -> ShrinkOutcome:
    """Drop the former index of a table whose search function was switched.

    Args:
        url: The URL of the table.
        force: Drop the index also if programs used it after the switch.
        on_step: Is called after each step.
        on_progress: Is called when a step begins.

    Raises:
        InvalidArgument: If the table was not shrunk.
        DataError: If programs still use the index, or the database refuses a statement.
    """
    if is_lance_table(url):
        if force:
            problem = "LanceDB counts no uses of an index, so --force has no meaning."
            raise InvalidArgument(f"{problem} Remove the option.")
        return finish_lance(url, on_step, on_progress)
    with _session(url) as (session, place):
        table, record = open_table(session, place)
        return Ending(session, table, record, on_step, on_progress).finish(force=force)


def undo_shrink(
    url: str,
    *,
    drop_function: bool = False,
    on_step: OnStep | None = None,
    on_progress: OnProgress | None = None,
) -> ShrinkOutcome:
    """Return to the former search of a table, and drop what the shrink created.

    Args:
        url: The URL of the table.
        drop_function: Drop the search function, too. By default, the function remains with the
            former search, because programs call it.
        on_step: Is called after each step.
        on_progress: Is called when a step begins.

    Raises:
        InvalidArgument: If the table was not shrunk.
        DataError: If the database refuses a statement.
    """
    if is_lance_table(url):
        if drop_function:
            problem = "LanceDB has no functions, so --drop-function has no meaning."
            raise InvalidArgument(f"{problem} Remove the option.")
        return undo_lance(url, on_step, on_progress)
    with _session(url) as (session, place):
        table, record = open_table(session, place)
        ending = Ending(session, table, record, on_step, on_progress)
        return ending.undo(drop_function=drop_function)


def catch_up(
    url: str, *, on_step: OnStep | None = None, on_progress: OnProgress | None = None
) -> ShrinkOutcome:
    """Fill the prefixes of rows that other programs have added or changed since the switch.

    Only tables of LanceDB need this. PostgreSQL fills such rows itself, by an index or a trigger.

    Raises:
        InvalidArgument: If the table was not shrunk, or is a table of PostgreSQL.
        DataError: As ``shrink``.
    """
    if not is_lance_table(url):
        problem = f"{shown_place(url)} needs no --catch-up: PostgreSQL fills new rows itself."
        raise InvalidArgument(f"{problem} Remove the option.")
    return catch_up_lance(url, on_step, on_progress)


@contextmanager
def _session(url: str) -> Iterator[tuple[ShrinkSession, Place]]:
    if not is_postgresql(url):
        problem = f"{shown_place(url)} cannot be shrunk."
        example = "postgresql://HOST/DATABASE?table=TABLE&id=COLUMN&vector=COLUMN"
        known = "Pass the URL of a table of PostgreSQL or LanceDB"
        raise InvalidArgument(f"{problem} {known}: {example}.")
    place = Place.parse(url, TABLE_PARAMETERS)
    with ShrinkSession.connect(place) as session:
        yield session, place
