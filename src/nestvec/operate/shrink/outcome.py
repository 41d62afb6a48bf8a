"""What a shrink reports: steps, planned statements, and the state at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias


@dataclass(frozen=True)
class ShrinkStep:
    """A step that has ended.

    Attributes:
        name: What was done.
        seconds: How long the step took.
        detail: A result of the step, such as a size; "" if there is none.
    """

    name: str
    seconds: float
    detail: str = ""


OnStep: TypeAlias = Callable[[ShrinkStep], None]


@dataclass(frozen=True)
class PlannedStatement:
    """A statement that a shrink would run.

    Attributes:
        sql: The statement.
        lock: The lock that the statement holds, and what the lock blocks.
        seconds: The estimated time; 0 if less than a second.
        size: The estimated bytes of disk space that the statement needs; negative if freed.
        when: The command that runs the statement: "shrink" or "finish".
    """

    sql: str
    lock: str
    seconds: float = 0.0
    size: int = 0
    when: str = "shrink"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Create a statement from the values of ``to_json``."""
        return cls(**values)


@dataclass(frozen=True)
class ShrinkOutcome:
    """The state of a table after a command.

    Attributes:
        place: The URL of the table without credentials.
        state: "switched", "finished" or "undone".
        point: The operating point, in its text form.
        function: The search function, as SQL names it; "" for a table of LanceDB.
        ef_search: The fitted ``hnsw.ef_search``; None if no index was fitted.
        overlap: overlap@10 of the new search with exact answers on sampled rows; None if it was
            not measured.
        former_bytes: Size of the former index; 0 if there was none.
        index_bytes: Size of the new index; 0 after an undo.
        column_bytes: Size of the values of the new column; 0 without a new column.
        freed_bytes: Bytes that the command freed.
        nprobes: The fitted number of partitions of LanceDB; None if no index was fitted.
        notes: What the user should know, one sentence each.
    """

    place: str
    state: str
    point: str
    function: str
    ef_search: int | None = None
    overlap: float | None = None
    former_bytes: int = 0
    index_bytes: int = 0
    column_bytes: int = 0
    freed_bytes: int = 0
    nprobes: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def call(self) -> str:
        """The call that searches the table: SQL, or Python for a table of LanceDB."""
        if not self.function:
            return f'search_table("{self.place}", vector, 10)'
        return f"SELECT * FROM {self.function}($1, 10)"  # noqa: S608 - it is only printed

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Create an outcome from the values of ``to_json``."""
        return cls(**{**values, "notes": tuple(values["notes"])})
