"""The steps of a shrink in LanceDB, in their order. Each continues where a former run has ended.

record -> column -> filled -> index -> comparison -> switch. After the switch, the same steps catch
up with rows that others have added or changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from nestvec.operate.shrink.lancedb.columns import (
    OutdatedColumn,
    add_column,
    drop_columns,
    fill_column,
)
from nestvec.operate.shrink.lancedb.comparing import compare_search, count_outdated
from nestvec.operate.shrink.lancedb.indexes import build_index, index_bytes, indexes_of, needs_index
from nestvec.operate.shrink.lancedb.prepared import PreparedLance
from nestvec.operate.shrink.lancedb.records import LanceRecord, PrefixSearch, write_record
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.outcome import OnStep, ShrinkOutcome, ShrinkStep
from nestvec.types import OnProgress, begin_step
from nestvec.wording import count_text, size_text

_ROUNDS = 4  # of filling and comparing, while other programs change rows
_RENEWALS = 2


class LanceShrinking:
    """A shrink that runs.

    Attributes:
        record: The record after the last complete step.
        notes: What the user should know at the end.
    """

    def __init__(
        self, prepared: PreparedLance, on_step: OnStep | None, on_progress: OnProgress | None
    ) -> None:
        """Continue from the record of a prepared shrink."""
        self._prepared, self._on_step, self._on_progress = prepared, on_step, on_progress
        self._session = prepared.session
        self.record = prepared.record
        self.notes = list(prepared.notes)
        self._path = self._known_path()
        self._outdated = 0

    def run(self, min_overlap: float) -> None:
        """Run all steps that are not complete.

        Raises:
            DataError: If the overlap with exact answers is too small for the switch, or other
                programs change rows too often.
        """
        if self._prepared.is_new:
            self._step("write the record", self._start)
        for _ in range(_RENEWALS):
            try:
                self._run(min_overlap)
                return
            except OutdatedColumn:
                self._step("replace the column", self._renew)
        raise self._session.refuse("LanceDB cannot compute the column of prefixes. Run --undo.")

    def _run(self, min_overlap: float) -> None:
        names = self._session.read(lambda table: table.schema.names)
        if self.record.column not in names:
            self._step("add the column", self._add_column)
        self._step("fill the column", self._fill, unit="rows")
        builds = needs_index(self._session, self.record.column)
        if builds:
            self._step("build the index", self._index)
        if builds or self.record.active is None or self.record.active.column != self.record.column:
            self._step("compare with exact answers", self._compare, unit="rows")
            self._check_overlap(min_overlap)
            self._step("switch the search", self._switch)
        else:
            self._step("compare the prefixes", self._verify, unit="rows")
        if self._outdated:
            changed = count_text(self._outdated, "row")
            self.notes.append(
                f"Other programs changed {changed} meanwhile. Repeat the command to catch up."
            )
        if self.record.unused:
            self._step("drop the former column", self._drop_unused)

    def _step(self, name: str, work: Callable[[], str], *, unit: str = "steps") -> None:
        begin_step(self._on_progress, name, unit)
        start = time.perf_counter()
        detail = work()
        if self._on_step is not None:
            self._on_step(ShrinkStep(name, time.perf_counter() - start, detail))

    def _start(self) -> str:
        self._save(self.record)
        return self.record.point

    def _add_column(self) -> str:
        stage = self.record.stages.stages[0]
        add_column(self._session, self.record.column, stage)
        return f"{self.record.column} {stage.precision}[{stage.dim}]"

    def _fill(self) -> str:
        filled = fill_column(self._session, self.record.column, self._on_progress)
        return count_text(filled, "row")

    def _index(self) -> str:
        rows = build_index(self._session, self.record.column)
        self._path = PrefixSearch(self.record.column, rows)
        return size_text(index_bytes(self._session, self.record.column))

    def _compare(self) -> str:
        found = None
        for _ in range(_ROUNDS):
            found = compare_search(
                self._session, self.record, self._path, self._prepared.sample, self._on_progress
            )
            if not self._refilled(found.outdated):
                break
        assert found is not None
        self._path, self._outdated = found.path, found.outdated
        self.record = replace(self.record, overlap=found.overlap)
        width = f", nprobes {found.path.nprobes}" if found.path.nprobes else ""
        return f"overlap@10 {found.overlap:.4f}, {count_text(found.queries, 'query')}{width}"

    def _verify(self) -> str:
        for _ in range(_ROUNDS):
            self._outdated = count_outdated(
                self._session, self.record, self._path, self._on_progress
            )
            if not self._refilled(self._outdated):
                break
        return f"{count_text(self._outdated, 'row')} outdated"

    def _refilled(self, outdated: int) -> bool:
        """Fill outdated rows, and return whether the comparison must be repeated.

        Raises:
            OutdatedColumn: If LanceDB does not find the rows that are outdated.
        """
        if not outdated:
            return False
        if fill_column(self._session, self.record.column, None):
            return True
        raise OutdatedColumn

    def _check_overlap(self, min_overlap: float) -> None:
        overlap = self.record.overlap or 0.0
        if overlap < min_overlap:
            problem = f"overlap@10 is {overlap:.4f}, below --min-overlap {min_overlap:g}"
            remedy = "Nothing was switched. Lower the limit, or run the command with --undo."
            raise self._session.refuse(f"{problem}. {remedy}")

    def _switch(self) -> str:
        state = "switched" if self.record.state == "started" else self.record.state
        self._save(replace(self.record, state=state, active=self._path))
        return f"to {self._path.column}"

    def _renew(self) -> str:
        """Name another column, which the next steps fill; searches use the former one until then.

        LanceDB computes changed rows by the version of the last refresh. A clean-up of old
        versions deletes this version, and LanceDB then refuses to compute the column.
        """
        former = self.record.column
        stem, _, number = former.rpartition("_r")
        name = f"{stem}_r{int(number) + 1}" if stem and number.isdigit() else f"{former}_r2"
        self._save(replace(self.record, column=name, unused=(*self.record.unused, former)))
        self._path = self._known_path()
        return f"{former} by {name}"

    def _drop_unused(self) -> str:
        unused = tuple(each for each in self.record.unused if each != self.record.column)
        drop_columns(self._session, unused)
        self._save(replace(self.record, unused=()))
        return ", ".join(unused)

    def _known_path(self) -> PrefixSearch:
        """Return the present index of the column, also if a former run has built it."""
        record = self.record
        if record.active is not None and record.active.column == record.column:
            return record.active
        present = indexes_of(self._session, record.column)
        if not present:
            return PrefixSearch(record.column)
        # The size of partitions is that of a build with as many rows.
        rows = int(present[0].num_indexed_rows or 0)
        return PrefixSearch(record.column, max(1, int(rows**0.5)))

    def _save(self, record: LanceRecord) -> None:
        write_record(self._session, record)
        self.record = record


def lance_outcome(
    session: LanceSession, record: LanceRecord, state: str, notes: tuple[str, ...] = ()
) -> ShrinkOutcome:
    """Return the state of a table, with the sizes of what the shrink created."""
    stage = record.stages.stages[0]
    rows = session.read(lambda table: int(table.count_rows()))
    undone = state == "undone"
    width = 2 if stage.precision == "float16" else 4
    return ShrinkOutcome(
        session.shown,
        state,
        record.point,
        "",
        overlap=record.overlap,
        former_bytes=0 if record.former is None else record.former.size,
        index_bytes=0 if undone else index_bytes(session, record.column),
        column_bytes=0 if undone else rows * stage.dim * width,
        nprobes=None if record.active is None else record.active.nprobes,
        notes=notes,
    )
