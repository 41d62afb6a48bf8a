"""The record of a shrink: JSON in the metadata of the column of vectors.

A record in the table's own schema is committed in one step, and stays with the table: a folder that
is copied keeps the record, and a table that is replaced loses it together with the new column.
Appends, updates and compactions of other programs keep the metadata of columns, and programs that
do not know the key ignore it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.request import Metric
from nestvec.types import OperatingPoint

LanceState = Literal["started", "switched", "finishing", "finished", "undoing"]
KEY = "nestvec.shrink"
"""The key of the record in the metadata of the column of vectors."""
_VERSION = 1


@dataclass(frozen=True)
class FormerIndex:
    """The index of the searches before a shrink: all that is needed to build it again.

    Attributes:
        name: Its name.
        kind: The kind, as LanceDB names it, such as IVF_PQ.
        metric: The metric of LanceDB: cosine, dot or l2.
        partitions: The number of partitions; None if it could not be read.
        details: The parameters that LanceDB reports.
        size: Its bytes.
    """

    name: str
    kind: str
    metric: str
    partitions: int | None
    details: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True)
class PrefixSearch:
    """How the first stage is searched.

    Attributes:
        column: The column of prefixes.
        partition_rows: The rows of a partition of its index; None without an index.
        nprobes: The fitted number of partitions; None without an index.
    """

    column: str
    partition_rows: int | None = None
    nprobes: int | None = None


@dataclass(frozen=True)
class LanceRecord:
    """What a shrink has done, and what an undo needs.

    Attributes:
        state: The last step that is complete.
        point: The operating point, in its text form.
        metric: The metric of the searches.
        column: The column of prefixes that the shrink fills.
        former: The index of the searches before the shrink; None if there was none.
        active: The search of the first stage in use; None for the search before the shrink.
        unused: Columns that an earlier run of the shrink has left, to be dropped.
        skip_nulls: Whether rows without a vector were accepted.
        overlap: overlap@10 with exact answers; None if it was not measured.
    """

    state: LanceState
    point: str
    metric: Metric
    column: str
    former: FormerIndex | None = None
    active: PrefixSearch | None = None
    unused: tuple[str, ...] = ()
    skip_nulls: bool = False
    overlap: float | None = None

    @property
    def stages(self) -> OperatingPoint:
        """The operating point."""
        return OperatingPoint.parse(self.point)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "unused": list(self.unused), "version": _VERSION}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Create a record from the values of ``to_json``."""
        plain = {name: value for name, value in values.items() if name != "version"}
        former, active = values["former"], values["active"]
        parts = {
            "former": None if former is None else FormerIndex(**former),
            "active": None if active is None else PrefixSearch(**active),
            "unused": tuple(values["unused"]),
        }
        return cls(**{**plain, **parts})


def record_in(schema: Any, session: LanceSession) -> LanceRecord | None:
    """Return the record in the Arrow schema of a table; None if the table was not shrunk.

    Raises:
        DataError: If the record is damaged, or of a newer version of nestvec.
    """
    text = (schema.field(session.vector).metadata or {}).get(KEY.encode())
    if text is None:
        return None
    try:
        values = json.loads(text)
        if values["version"] > _VERSION:
            raise session.refuse("was shrunk by a newer version of nestvec. Upgrade nestvec.")
        return LanceRecord.from_json(values)
    except (ValueError, KeyError, TypeError):
        problem = f"has a record of a shrink that cannot be read (metadata {KEY} of column"
        raise session.refuse(f"{problem} {session.vector}). Remove it.") from None


def read_record(session: LanceSession) -> LanceRecord | None:
    """Return the record of a table; None if it was not shrunk."""
    return session.read(lambda table: record_in(table.schema, session))


def write_record(session: LanceSession, record: LanceRecord | None) -> None:
    """Write the record of a table in one commit; None to remove it."""

    def work(table: Any) -> None:
        present = table.schema.field(session.vector).metadata or {}
        others = {key.decode(): value.decode() for key, value in present.items()}
        others.pop(KEY, None)
        own = {} if record is None else {KEY: json.dumps(record.to_json())}
        table.replace_field_metadata(session.vector, {**others, **own})

    session.change(work)
