"""A checked shrink: its table, its record and its representation. Nothing has been changed yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nestvec.errors import InvalidArgument
from nestvec.models.adapter import Adapter
from nestvec.operate.shrink.postgresql import checks
from nestvec.operate.shrink.postgresql.adapting import adapt_function_name, checked_adapter
from nestvec.operate.shrink.postgresql.checks import TableFacts
from nestvec.operate.shrink.postgresql.comparing import sampled_queries
from nestvec.operate.shrink.postgresql.estimates import column_bytes, index_bytes
from nestvec.operate.shrink.postgresql.paths import new_query, present_query
from nestvec.operate.shrink.postgresql.points import STORED, check_point
from nestvec.operate.shrink.postgresql.records import (
    ShrinkRecord,
    is_own_function,
    read_record,
)
from nestvec.operate.shrink.postgresql.representation import SqlRepresentation
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.postgresql.statements import derived_name, trigger_names
from nestvec.operate.shrink.postgresql.target import (
    PresentIndex,
    ShrinkTable,
    locate_table,
    read_table,
)
from nestvec.operate.shrink.request import Metric, ShrinkRequest
from nestvec.sources.places import Place
from nestvec.sources.postgresql import quoted
from nestvec.types import Embeddings, OperatingPoint

_SAMPLED = 100


@dataclass(frozen=True)
class PreparedShrink:
    """A shrink that may begin or continue.

    Attributes:
        session: The connection.
        table: The table.
        record: The record, which is not written yet if the shrink is new.
        facts: The counts of rows.
        sample: Vectors of sampled rows, [n, dim].
        adapter: The adapter; None without one.
        notes: What the user should know, one sentence each.
    """

    session: ShrinkSession
    table: ShrinkTable
    record: ShrinkRecord
    facts: TableFacts
    sample: Embeddings
    adapter: Adapter | None
    notes: tuple[str, ...]

    @property
    def point(self) -> OperatingPoint:
        """The operating point."""
        return OperatingPoint.parse(self.record.point)

    @property
    def queries(self) -> int:
        """The number of queries of the comparison."""
        return sampled_queries(self.facts.rows)

    @property
    def first(self) -> SqlRepresentation:
        """The representation of the first stage."""
        return first_representation(self.table, self.record)


def first_representation(table: ShrinkTable, record: ShrinkRecord) -> SqlRepresentation:
    """Return the representation of the first stage of a record."""
    stage = OperatingPoint.parse(record.point).stages[0]
    column = None if record.column is None else quoted(record.column)
    adapted_by = None
    if record.adapter is not None:
        adapted_by = table.qualified(adapt_function_name(table, str(record.column)))
    key = (stage.dim, stage.precision, table.dim)
    return SqlRepresentation(*key, table.column, column, adapted_by)


def former_search(table: ShrinkTable, record: ShrinkRecord) -> str:
    """Return the search that the shrink replaces."""
    return present_query(table, record.former, record.metric, skip_nulls=record.skip_nulls)


def point_search(table: ShrinkTable, record: ShrinkRecord) -> str:
    """Return the search by the operating point of a record."""
    return new_query(
        table,
        OperatingPoint.parse(record.point).stages,
        first_representation(table, record),
        record.metric,
        skip_nulls=record.skip_nulls,
    )


def open_table(session: ShrinkSession, place: Place) -> tuple[ShrinkTable, ShrinkRecord | None]:
    """Check the server and the table, lock the table against other shrinks, and read its record.

    Raises:
        InvalidArgument: If the URL names no table.
        DataError: If the server or the table is unsuitable.
        IndexLocked: If another process shrinks the table.
    """
    extension_schema = checks.check_server(session)
    oid, name = locate_table(session, place)
    session.lock(name)  # before the table is read: an interrupted run may still change it
    table = read_table(session, place, oid, extension_schema)
    checks.check_table(session, table)
    return table, read_record(session, table)


def prepare(session: ShrinkSession, place: Place, request: ShrinkRequest) -> PreparedShrink:
    """Check everything that a shrink needs. Nothing is changed.

    Raises:
        InvalidArgument: If the request does not fit the table.
        DataError: If the server, the table or the disk is unsuitable.
        IndexLocked: If another process shrinks the table.
    """
    table, record = open_table(session, place)
    checks.check_width(request, table)
    check_point(request.point, table)
    adapter = checked_adapter(request, table)
    digest = None if adapter is None else adapter.digest()
    notes: list[str] = []
    facts = checks.count_rows(session, table, skip_nulls=request.skip_nulls)
    sample = checks.sample_vectors(session, table, _SAMPLED)
    if record is None or record.state == "undone":
        record = replace(_new_record(session, table, request, notes), adapter=digest)
        checks.check_lengths(sample, table.name, record.metric)
        free = request.free_disk
        free = checks.free_bytes(session, place) if free is None else free
        needed = needed_bytes(table, record, facts.rows)
        notes += filter(None, [checks.check_disk(session, needed, free)])
    else:
        _check_same(request, digest, record, table)
        if record.switched_at is not None:
            notes.append("The search function was switched before, so nothing was changed.")
    if len(request.point.stages) > 1 and request.point.stages[-1].precision != STORED[table.kind]:
        stored = f"{table.dim}:{STORED[table.kind]}"
        notes.append(f"The last stage scores the stored vectors, which are {stored}.")
    return PreparedShrink(session, table, record, facts, sample, adapter, tuple(notes))


def needed_bytes(table: ShrinkTable, record: ShrinkRecord, rows: int) -> int:
    """Return the estimated disk space of a shrink."""
    key = first_representation(table, record).key
    stored = column_bytes(rows, key, table.size) if record.column is not None else 0
    return index_bytes(rows, key) + stored


def _new_record(
    session: ShrinkSession,
    table: ShrinkTable,
    request: ShrinkRequest,
    notes: list[str],
) -> ShrinkRecord:
    """Return the record of a new shrink, whose names are free."""
    former, metric = _former(table, request, notes)
    stage = request.point.stages[0]
    function = request.function or derived_name(table.name, "search")
    index = derived_name(f"{table.name}_{table.vector}", f"{stage.dim}_{stage.precision}")
    if not is_own_function(session, table.schema, function):
        checks.check_function(session, table, function, "--function")
    checks.check_index_name(session, table, index)
    if request.column is not None:
        checks.check_column(session, table, request.column)
        trigger = trigger_names(table, request.column).function
        for name in (trigger, adapt_function_name(table, request.column)):
            checks.check_function(session, table, name, "--column")
        names = checks.row_triggers(session, table)
        if names:
            what = "trigger runs" if len(names) == 1 else "triggers run"
            notes.append(
                f"Your {what} for each row of the backfill, which updates it: {', '.join(names)}."
            )
    size = 0
    if former is not None:
        (size,) = session.row("SELECT pg_relation_size(%s::regclass)", [former.name])
    return ShrinkRecord(
        "started",
        str(request.point),
        metric,
        function,
        index,
        former,
        int(size),
        request.column,
        request.skip_nulls,
    )


def _former(
    table: ShrinkTable, request: ShrinkRequest, notes: list[str]
) -> tuple[PresentIndex | None, Metric]:
    """Return the index of the present searches, and their metric."""
    wanted = request.metric
    found = [each for each in table.indexes if wanted in (None, each.metric)]
    metrics = sorted({each.metric for each in found})
    if len(metrics) > 1:
        problem = f"column {table.vector} has indexes for {' and '.join(metrics)}"
        raise InvalidArgument(f"{problem}. Choose one with --metric.")
    others = [*table.others, *(each.name for each in table.indexes if each not in found[:1])]
    if others:
        notes.append(f"Other indexes of {table.vector} remain as they are: {', '.join(others)}.")
    if found:
        return found[0], found[0].metric
    notes.append(
        f"Column {table.vector} has no index at full width, so present searches scan the table; "
        f"the metric is {wanted or 'cosine'}."
    )
    return None, wanted or "cosine"


def _check_same(
    request: ShrinkRequest, adapter: str | None, record: ShrinkRecord, table: ShrinkTable
) -> None:
    """Check that a request continues the recorded shrink.

    Raises:
        InvalidArgument: If it differs.
    """
    if record.state == "undoing":
        problem = f"an undo of {table.name} was interrupted"
        raise InvalidArgument(f"{problem}. Run the command with --undo to complete it.")
    pairs = {
        "point": (str(request.point), record.point),
        "column": (request.column, record.column),
        "adapter": (adapter, record.adapter),
        "function": (request.function or record.function, record.function),
        "metric": (request.metric or record.metric, record.metric),
    }
    for name, (new, old) in pairs.items():
        if new != old:
            problem = f"a shrink of {table.name} with {name} {old or 'none'} exists"
            remedy = f"Run the command with --undo before you choose {new or 'none'}."
            raise InvalidArgument(f"{problem}. {remedy}")
