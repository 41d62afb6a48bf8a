"""Fill the new column of existing rows, in batches by primary key.

A batch and the position after it are written in one transaction. Rows that other transactions write
meanwhile are filled by the trigger. A batch locks its rows for about ``BATCH_S``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from nestvec.operate.shrink.postgresql.records import ShrinkRecord, write_record
from nestvec.operate.shrink.postgresql.representation import SqlRepresentation
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.postgresql.statements import (
    BACKFILL_SETTING,
    batch_end,
    fill_batch,
    fill_missed,
)
from nestvec.operate.shrink.postgresql.target import ShrinkTable
from nestvec.types import OnProgress

BATCH_S = 1.0
"""The aimed time of a batch."""
FIRST_ROWS, _MOST_ROWS = 200, 200_000
_GROWTH = 10.0  # a row can cost 10 us, or 5 ms if it also enters an HNSW index


def backfill(
    session: ShrinkSession,
    table: ShrinkTable,
    stored: SqlRepresentation,
    record: ShrinkRecord,
    *,
    total: int,
    on_progress: OnProgress | None,
) -> ShrinkRecord:
    """Fill the new column of all rows, from the recorded position on.

    Args:
        session: The connection.
        table: The table.
        stored: The representation and its column.
        record: The record; its position is where the backfill continues.
        total: Number of rows, for the progress.
        on_progress: Is called with the number of rows done and in total.

    Returns:
        The record after the last batch.
    """
    rows = FIRST_ROWS
    session.set(BACKFILL_SETTING, "on")
    while True:
        start = time.perf_counter()
        later = _batch(session, table, stored, record, rows)
        if later is None:
            break
        record = later
        if on_progress is not None:
            on_progress(min(record.backfilled, total), total)
        seconds = max(1e-3, time.perf_counter() - start)
        factor = min(_GROWTH, max(1 / _GROWTH, BATCH_S / seconds))
        rows = min(_MOST_ROWS, max(1, round(rows * factor)))
    session.change(lambda connection: connection.execute(fill_missed(table, stored)))
    session.set(BACKFILL_SETTING, "off")
    return record


def _batch(
    session: ShrinkSession,
    table: ShrinkTable,
    stored: SqlRepresentation,
    record: ShrinkRecord,
    rows: int,
) -> ShrinkRecord | None:
    """Fill one batch, and return the record after it; None if no row is left.

    A row that a trigger has filled meanwhile counts, unless it is in the last batch.
    """
    first, position = record.position is None, record.position or ()

    def work(connection: Any) -> ShrinkRecord | None:
        end = session.numbered(batch_end(table, rows, first=first), position)
        is_last = not end
        end = end or session.numbered(batch_end(table, None, first=first), position)
        if not end:
            return None
        text = fill_batch(table, stored, first=first)
        filled = session.execute_numbered(text, [*position, *end[0]]).rowcount
        done = record.backfilled + (filled if is_last else rows)
        later = replace(record, position=tuple(end[0]), backfilled=done)
        write_record(connection, table, later)
        return later

    return session.change(work)
