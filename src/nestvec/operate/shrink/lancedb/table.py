"""Shrink a table of LanceDB, catch up with its changes, finish or undo the shrink."""

from __future__ import annotations

from nestvec.errors import InvalidArgument
from nestvec.operate.shrink.lancedb.backward import LanceEnding
from nestvec.operate.shrink.lancedb.forward import LanceShrinking, lance_outcome
from nestvec.operate.shrink.lancedb.prepared import (
    PreparedLance,
    prepare_catch_up,
    prepare_lance,
    recorded,
)
from nestvec.operate.shrink.lancedb.preview import preview_lance
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.outcome import OnStep, PlannedStatement, ShrinkOutcome
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.types import OnProgress

_SCHEMES = ("lance://", "s3://")


def is_lance_table(url: str) -> bool:
    """Return whether a URL names a table of LanceDB."""
    return url.lower().startswith(_SCHEMES)


def shrink_lance(
    url: str, request: ShrinkRequest, on_step: OnStep | None, on_progress: OnProgress | None
) -> ShrinkOutcome:
    """Shrink a table, or catch up if it was shrunk; errors as in ``shrink``."""
    with LanceSession.open(url, lock=True) as session:
        prepared = prepare_lance(session, request)
        return _completed(prepared, request.min_overlap, on_step, on_progress)


def catch_up_lance(
    url: str, on_step: OnStep | None, on_progress: OnProgress | None
) -> ShrinkOutcome:
    """Fill the column of rows that others have added or changed; errors as in ``catch_up``."""
    with LanceSession.open(url, lock=True) as session:
        record = recorded(session, "catch up")
        if record.active is None:
            problem = f"the shrink of {session.name} is not complete (state {record.state})"
            raise InvalidArgument(f"{problem}. Run it with --plan or --point first.")
        return _completed(prepare_catch_up(session, record), 0.0, on_step, on_progress)


def preview_lance_shrink(
    url: str, request: ShrinkRequest
) -> tuple[tuple[PlannedStatement, ...], tuple[str, ...]]:
    """Return the calls that ``shrink_lance`` would run, and notes. Nothing is changed."""
    with LanceSession.open(url, lock=False) as session:
        prepared = prepare_lance(session, request)
        return preview_lance(prepared), prepared.notes


def finish_lance(url: str, on_step: OnStep | None, on_progress: OnProgress | None) -> ShrinkOutcome:
    """Drop the former index; errors as in ``finish_shrink``."""
    with LanceSession.open(url, lock=True) as session:
        return LanceEnding(session, on_step, on_progress).finish()


def undo_lance(url: str, on_step: OnStep | None, on_progress: OnProgress | None) -> ShrinkOutcome:
    """Return to the former search; errors as in ``undo_shrink``."""
    with LanceSession.open(url, lock=True) as session:
        return LanceEnding(session, on_step, on_progress).undo()


def _completed(
    prepared: PreparedLance,
    min_overlap: float,
    on_step: OnStep | None,
    on_progress: OnProgress | None,
) -> ShrinkOutcome:
    work = LanceShrinking(prepared, on_step, on_progress)
    work.run(min_overlap)
    record = work.record
    return lance_outcome(prepared.session, record, record.state, tuple(work.notes))
