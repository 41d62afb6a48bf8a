"""A checked shrink of a table of LanceDB. Nothing has been changed yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nestvec.errors import InvalidArgument
from nestvec.operate.shrink.lancedb import checks
from nestvec.operate.shrink.lancedb.columns import is_made_by_shrink
from nestvec.operate.shrink.lancedb.indexes import METRICS, former_index, indexes_of
from nestvec.operate.shrink.lancedb.records import FormerIndex, LanceRecord, read_record
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.postgresql.checks import check_lengths
from nestvec.operate.shrink.request import Metric, ShrinkRequest
from nestvec.types import Embeddings

_SAMPLED = 100


@dataclass(frozen=True)
class PreparedLance:
    """A shrink that may begin or continue.

    Attributes:
        session: The table.
        record: The record, which is not written yet if the shrink is new.
        is_new: Whether the record is not written yet.
        sample: Vectors of sampled rows, [n, dim].
        needed_bytes: The estimated disk space of the column and its index.
        notes: What the user should know, one sentence each.
    """

    session: LanceSession
    record: LanceRecord
    is_new: bool
    sample: Embeddings
    needed_bytes: int
    notes: tuple[str, ...]


def prepare_lance(session: LanceSession, request: ShrinkRequest) -> PreparedLance:
    """Check everything that a shrink needs. Nothing is changed.

    Raises:
        InvalidArgument: If the request does not fit the table.
        DataError: If the table or the disk is unsuitable.
    """
    checks.check_columns(session)
    checks.check_request(request, session)
    notes: list[str] = []
    facts = checks.count_rows(session, skip_nulls=request.skip_nulls)
    record = read_record(session)
    needed = checks.check_disk(session, request, facts)
    sample = checks.sample_vectors(session, _SAMPLED)
    is_new = record is None
    if record is None:
        record = _new_record(session, request, notes)
        checks.check_ids(session)
        check_lengths(sample, session.name, record.metric)
    else:
        _check_same(request, record, session)
    last = request.point.stages[-1]
    if len(request.point.stages) > 1 and last.precision != session.precision:
        stored = f"{session.dim}:{session.precision}"
        notes.append(f"The last stage scores the stored vectors, which are {stored}.")
    return PreparedLance(session, record, is_new, sample, needed, tuple(notes))


def prepare_catch_up(session: LanceSession, record: LanceRecord) -> PreparedLance:
    """Prepare the shrink that a record describes; errors as in ``prepare_lance``."""
    return prepare_lance(session, ShrinkRequest(record.stages, skip_nulls=True))


def recorded(session: LanceSession, purpose: str) -> LanceRecord:
    """Return the record of a table.

    Raises:
        InvalidArgument: If the table was not shrunk.
    """
    record = read_record(session)
    if record is None:
        problem = f"table {session.name} was not shrunk, so there is nothing to {purpose}"
        raise InvalidArgument(f"{problem}. Run nestvec shrink with --plan or --point first.")
    return record


def _new_record(session: LanceSession, request: ShrinkRequest, notes: list[str]) -> LanceRecord:
    """Return the record of a new shrink, whose column does not exist."""
    stage = request.point.stages[0]
    column = request.column or f"{session.vector}_{stage.dim}_{stage.precision}"
    if column in session.read(lambda table: table.schema.names):
        problem = f"{session.name} has a column {column}, and nestvec shrink did not create it."
        raise session.refuse(f"{problem} Choose another name with --column.")
    former, metric = _former(session, request, notes)
    return LanceRecord(
        "started", str(request.point), metric, column, former, skip_nulls=request.skip_nulls
    )


def _former(
    session: LanceSession, request: ShrinkRequest, notes: list[str]
) -> tuple[FormerIndex | None, Metric]:
    """Return the index of the present searches, and their metric."""
    listed: list[Any] = indexes_of(session, session.vector)
    found = [former_index(session, each) for each in listed]
    wanted = request.metric
    for former in found:
        metric = METRICS.get(former.metric)
        if metric is not None and wanted in (None, metric):
            others = [each.name for each in found if each is not former]
            if others:
                names = ", ".join(others)
                notes.append(f"Other indexes of {session.vector} remain as they are: {names}.")
            return former, metric
    metric = wanted or "l2"  # the default of LanceDB
    notes.append(
        f"Column {session.vector} has no index for {metric}, so present searches scan the table; "
        f"the metric is {metric}."
        if wanted or not found
        else f"Column {session.vector} has no index with a known metric; the metric is {metric}."
    )
    return None, metric


def _check_same(request: ShrinkRequest, record: LanceRecord, session: LanceSession) -> None:
    """Check that a request continues the recorded shrink.

    Raises:
        InvalidArgument: If it differs.
        DataError: If the column was replaced by a column of the user.
    """
    if record.state == "undoing":
        problem = f"an undo of {session.name} was interrupted"
        raise InvalidArgument(f"{problem}. Run the command with --undo to complete it.")
    pairs = {
        "point": (str(request.point), record.point),
        "column": (request.column or record.column, record.column),
        "metric": (request.metric or record.metric, record.metric),
    }
    for name, (new, old) in pairs.items():
        if new != old:
            problem = f"a shrink of {session.name} with {name} {old} exists"
            remedy = f"Run the command with --undo before you choose {new}."
            raise InvalidArgument(f"{problem}. {remedy}")
    names = session.read(lambda table: table.schema.names)
    column, stage = record.column, record.stages.stages[0]
    if column in names and not is_made_by_shrink(session, column, stage):
        problem = f"{session.name} has a column {column}, and nestvec shrink did not create it."
        raise session.refuse(f"{problem} Rename it, then repeat the command.")
