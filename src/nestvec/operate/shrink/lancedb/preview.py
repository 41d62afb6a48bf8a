"""The calls of LanceDB that a shrink would run. Nothing is changed."""

from __future__ import annotations

from nestvec.operate.shrink.lancedb.columns import expression
from nestvec.operate.shrink.lancedb.indexes import needs_index
from nestvec.operate.shrink.lancedb.prepared import PreparedLance
from nestvec.operate.shrink.lancedb.records import KEY
from nestvec.operate.shrink.outcome import PlannedStatement

_COMMIT = "none; one commit, which is repeated if another program commits first"
_FILL = "none; additions continue, and updates or deletions meanwhile repeat the step"
# Measured on two cores with 100,000 to 1,000,000 rows; partitions have the root of their number.
_FILL_S = 2e-8  # for each row and dim of the stored vectors
_INDEX_S = 1.7e-9  # for each row, partition and dim of the prefixes


def preview_lance(prepared: PreparedLance) -> tuple[PlannedStatement, ...]:
    """Return the calls that a prepared shrink and its finish have yet to run, in their order."""
    session, record = prepared.session, prepared.record
    column = record.column
    names, rows = session.read(lambda table: (table.schema.names, int(table.count_rows())))
    stage = record.stages.stages[0]
    planned = []
    if column not in names:
        text = f'table.add_columns(computed={{"{column}": "{expression(session, stage)}"}})'
        planned.append(PlannedStatement(text, _COMMIT))
    fill = f'table.refresh_column("{column}")'
    half = prepared.needed_bytes // 2
    planned.append(PlannedStatement(fill, _FILL, _FILL_S * rows * session.dim, half))
    if needs_index(session, column):
        text = f'table.create_index("{column}", config=IvfFlat(distance_type="dot"))'
        seconds = _INDEX_S * rows**1.5 * stage.dim
        planned.append(PlannedStatement(text, _COMMIT, seconds, half))
    if record.active is None:
        text = f'table.replace_field_metadata("{session.vector}", {{"{KEY}": RECORD}})'
        planned.append(PlannedStatement(text, _COMMIT))
    if record.former is not None and record.state != "finished":
        text = f'table.drop_index("{record.former.name}")'
        size = -record.former.size
        planned.append(PlannedStatement(text, _COMMIT, size=size, when="finish"))
    return tuple(planned)
