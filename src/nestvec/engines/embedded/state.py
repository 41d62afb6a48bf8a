"""What one commit of an index says: its counter, what is there, and a running hash over all before.

Plain values; SQLite holds them (``database``), the newest segment their witness (``segments``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from nestvec.engines.embedded.checksums import digest


@dataclass(frozen=True)
class Span:
    """Rows that stand together: of a segment, or of a part of the codes.

    Attributes:
        first_row: The first one.
        n_rows: How many.
        token: What tells the files of a part from those of another that has the same rows.
    """

    first_row: int
    n_rows: int
    token: str = ""

    @property
    def end(self) -> int:
        """The row after the last one."""
        return self.first_row + self.n_rows


@dataclass(frozen=True)
class State:
    """One commit.

    Attributes:
        counter: Counts commits.
        generation: Counts compactions, each of which numbers rows anew.
        n_documents: Documents that are there.
        documents_sum: Exclusive or of the checksums of their rows: one that is lost is missed.
        deleted_sum: The same of the rows that are not there any more.
        segments: The rows of each segment file, by its number.
        parts: The rows of each part of the codes, from row 0 without gaps.
        checked: Values added since the codecs were fitted, where those have learnt ranges.
        outside: How many of them stand outside these.
        previous: Running hash of the commit before.
    """

    counter: int = 0
    generation: int = 0
    n_documents: int = 0
    documents_sum: int = 0
    deleted_sum: int = 0
    segments: tuple[Span, ...] = ()
    parts: tuple[Span, ...] = ()
    checked: int = 0
    outside: int = 0
    previous: bytes = b""

    @property
    def n_rows(self) -> int:
        """Rows that hold a vector, of documents that are there or were."""
        return self.segments[-1].end if self.segments else 0

    @property
    def n_coded(self) -> int:
        """Rows that parts of the codes stand for: all before the tail."""
        return self.parts[-1].end if self.parts else 0

    @property
    def body(self) -> str:
        """All values but the running hash, as JSON."""
        values = asdict(self)
        del values["previous"]
        return json.dumps(values, sort_keys=True)

    @property
    def digest(self) -> bytes:
        """The running hash: of these values and the hash of the commit before."""
        return digest(self.previous + self.body.encode())

    def next(self, **changes: Any) -> State:
        """Return the commit after this one."""
        return replace(self, counter=self.counter + 1, previous=self.digest, **changes)

    @classmethod
    def parse(cls, body: str, previous: bytes) -> State:
        """Read back what ``body`` wrote."""
        values = json.loads(body)
        for name in ("segments", "parts"):
            values[name] = tuple(Span(**span) for span in values[name])
        return cls(**values, previous=previous)


def next_parts(state: State, *, at_least: int) -> tuple[Span, ...] | None:
    """Return the parts after the tail is coded; None while that is shorter than ``at_least``."""
    end, first = state.n_rows, state.n_coded
    if end - first < max(1, at_least):
        return None
    parts = list(state.parts)
    while parts and parts[-1].n_rows < 2 * (end - first):
        first = parts.pop().first_row
    return (*parts, Span(first, end - first, state.digest.hex()))
