"""The state of an index after one commit, with a running hash over all commits.

SQLite stores the state (``documents``). The newest segment records its counter and its running
hash (``segments``), so that a commit that SQLite lost is detected.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from nestvec.codec.codec import MAX_MISFIT
from nestvec.engines.embedded.checksums import digest

CALIBRATION_ROWS = 1_000  # a calibration on fewer rows would not fit the rows added later
TAIL_ROWS = 4_096  # a tail of at least this many rows is encoded
# The codecs are fitted again if the calibration does not fit more than ``MAX_MISFIT`` of the added
# values, and the added rows are at least this number and this share of the calibrated rows.
_MIN_ADDED, _MIN_ADDED_SHARE = 20, 0.1


@dataclass(frozen=True)
class Span:
    """A range of rows, of a segment or of a part.

    Attributes:
        first_row: The first row.
        n_rows: The number of rows.
        token: Distinguishes the files of parts that have the same rows.
    """

    first_row: int
    n_rows: int
    token: str = ""

    @property
    def end(self) -> int:
        """The row after the last row."""
        return self.first_row + self.n_rows


@dataclass(frozen=True)
class State:
    """The state of an index after one commit.

    Attributes:
        counter: The number of commits.
        generation: The number of compactions. Each compaction renumbers the rows.
        n_documents: The number of documents.
        documents_sum: Exclusive or of the checksums of all rows; it detects a lost row.
        deleted_sum: Exclusive or of the checksums of all deleted rows.
        segments: The rows of each segment file, in the order of their numbers.
        parts: The rows of each part, from row 0 without gaps.
        checked: Values added since the codecs were fitted, for codecs with a calibration.
        outside: The number of these values that the calibration does not fit.
        previous: Running hash of the previous commit.
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
        """The number of stored vectors, including those of deleted documents."""
        return self.segments[-1].end if self.segments else 0

    @property
    def n_coded(self) -> int:
        """The number of rows in parts, which are all rows before the tail."""
        return self.parts[-1].end if self.parts else 0

    @property
    def is_calibrated(self) -> bool:
        """Whether the calibration of the codes fits enough rows, or all rows.

        If not, searches do not use the codes. They score all rows from their vectors.
        """
        return self.n_coded >= CALIBRATION_ROWS or self.n_coded == self.n_rows

    @property
    def needs_calibration(self) -> bool:
        """Whether the codecs should be fitted again.

        The rows have doubled since the codecs were fitted, or the calibration does not fit the
        rows that were added.
        """
        fitted = self.parts[0].end if self.parts else 0  # all rows, when the codecs were fitted
        added = self.n_rows - fitted
        drifted = self.outside > MAX_MISFIT * self.checked
        return (
            not self.is_calibrated
            or added >= fitted
            or (drifted and added >= max(_MIN_ADDED, _MIN_ADDED_SHARE * fitted))
        )

    @property
    def codes_are_due(self) -> bool:
        """Whether the tail should be encoded now."""
        if self.n_documents < CALIBRATION_ROWS:
            return False
        return self.needs_calibration or self.n_rows - self.n_coded >= TAIL_ROWS

    @property
    def body(self) -> str:
        """All values except the running hash, as JSON."""
        values = asdict(self)
        del values["previous"]
        return json.dumps(values, sort_keys=True)

    @property
    def digest(self) -> bytes:
        """The running hash: a hash of these values and of the previous running hash."""
        return digest(self.previous + self.body.encode())

    def next(self, **changes: Any) -> State:
        """Return the state of the next commit, with changed values."""
        return replace(self, counter=self.counter + 1, previous=self.digest, **changes)

    @classmethod
    def parse(cls, body: str, previous: bytes) -> State:
        """Read a state that ``body`` wrote."""
        values = json.loads(body)
        for name in ("segments", "parts"):
            values[name] = tuple(Span(**span) for span in values[name])
        return cls(**values, previous=previous)


def next_parts(state: State, *, at_least: int = 1) -> tuple[Span, ...] | None:
    """Return the parts after encoding the tail; None if the tail is shorter than ``at_least``.

    The tail is merged with the last part while that part is shorter than twice the merged rows, so
    the number of parts grows only with the logarithm of the number of rows. If the codecs should be
    fitted again, all rows become one part.
    """
    end, first = state.n_rows, state.n_coded
    if end - first < max(1, at_least):
        return None
    parts, merge_all = list(state.parts), state.needs_calibration
    while parts and (merge_all or parts[-1].n_rows < 2 * (end - first)):
        first = parts.pop().first_row
    return (*parts, Span(first, end - first, state.digest.hex()))
