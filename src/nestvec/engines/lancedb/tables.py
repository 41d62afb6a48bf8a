"""Records of indexes in the Lance table ``nestvec_indexes``, and the tables of their documents.

Lance cannot rename a table. A table of documents therefore has a name of its own, and the record of
an index names its table: one commit of the records replaces an index by another one. A record
without a table is the record of an index that was dropped. A crash between two steps can leave a
table that no record names; the next ``create`` of an index of the same name deletes it.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace as with_values
from datetime import timedelta
from typing import Any, Self

from nestvec.engines.filters.datafusion import literal
from nestvec.engines.lancedb.connection import LanceFolder, MissingData
from nestvec.engines.lancedb.opened import OpenTable
from nestvec.engines.lancedb.place import LancePlace
from nestvec.engines.lancedb.rows import arrow, schema
from nestvec.engines.lancedb.table import LanceTable
from nestvec.engines.manifest import TOKENS_VERSION, Manifest
from nestvec.engines.tables import DocumentTables, Record
from nestvec.errors import DataError
from nestvec.sources.lance_tables import RECORDS

KEPT_S = 600
"""Old versions of the records are readable for this time."""
_COMPACTED_EVERY = 32  # versions of the records
_COLUMNS = ("name", "table_name", "manifest", "source")
_SUFFIX = re.compile(r"_[0-9a-f]{8}")


class LanceTables(DocumentTables):
    """A folder of Lance tables, and the name of one index in it."""

    def __init__(self, folder: LanceFolder, place: LancePlace) -> None:
        """Use a folder."""
        self._folder, self.shown, self.name = folder, place.shown, place.table
        self._known: dict[str, Record] = {}

    @classmethod
    def connect(cls, url: str) -> Self:
        """Open a folder, as ``DocumentTables.connect`` does.

        The parameter ``table`` of the URL names the index: ``lance://folder?table=docs``.
        """
        place = LancePlace.parse(url)
        return cls(LanceFolder(place), place)

    def read(self, name: str) -> Record | None:
        """Return the record of an index; None if there is no index of this name."""
        rows = self._rows(f"name = {literal(name)} AND table_name != ''")
        if not rows:
            self._known.pop(name, None)
            return None
        (row,) = rows
        manifest = Manifest.from_json(
            row["manifest"], f"{self.shown} ({RECORDS}, {name})", oldest=TOKENS_VERSION
        )
        record = Record(manifest, row["table_name"], row["adapter"], json.loads(row["source"]))
        self._known[name] = record
        return record

    def latest(self, name: str) -> Record | None:
        """Return the record of an index that was read last."""
        return self._known.get(name)

    def write(self, name: str, record: Record) -> None:
        """Write the record of an index; an existing record is replaced, except its table."""
        with self._folder.changing():
            former = self.read(name)
            table = record.table if former is None else former.table
            self._write({name: with_values(record, table=table)})

    def create(self, name: str, record: Record) -> None:
        """Create the empty table of an index, and write its record."""
        with self._folder.changing():
            self._drop_unnamed(name)
            table = f"{record.table}_{secrets.token_hex(4)}"
            columns = schema(record.manifest)

            def create() -> Any:
                return self._folder.database.create_table(table, schema=columns, exist_ok=True)

            self._call(create)
            self._write({name: with_values(record, table=table)})

    def move(self, name: str, columns: Any, batches: Iterator[Any]) -> None:
        """Replace the table of an index by a new one with these columns and rows."""
        with self._folder.changing():
            former = self.read(name)
            if former is None:
                raise DataError(self.shown, "contains no index any more. Build it again.")
            self._drop_unnamed(name)
            table = f"{name}_{secrets.token_hex(4)}"
            rows = arrow().RecordBatchReader.from_batches(columns, batches)
            self._call(lambda: self._folder.database.create_table(table, rows))
            self._write({name: with_values(former, table=table)})
            self._drop_table(former.table)

    def open(self, record: Record) -> LanceTable:
        """Open the table of an index."""
        known = (name for name, each in self._known.items() if each.table == record.table)
        name = next(known, self.name)
        return LanceTable(OpenTable(self._folder, self, name, record.table), record.manifest)

    def drop(self, name: str) -> None:
        """Delete the record and the table of an index."""
        with self._folder.changing():
            record = self.read(name)
            if record is not None:
                self._write({name: None})
                self._drop_table(record.table)

    def replace(self, name: str, by: str) -> None:
        """Give an index the name of another index, which is dropped, in one commit."""
        with self._folder.changing():
            former, new = self.read(name), self.read(by)
            self._write({name: new, by: None})
            if former is not None:
                self._drop_table(former.table)

    def close(self) -> None:
        """Release the writer's lock."""
        self._folder.close()

    def _write(self, records: dict[str, Record | None]) -> None:
        """Write records in one commit; None for an index that is dropped."""
        pa = arrow()
        kinds = [pa.field(name, pa.string()) for name in _COLUMNS]
        columns = pa.schema([*kinds, pa.field("adapter", pa.binary())])
        rows = pa.table(
            [list(each) for each in zip(*map(_row, records.items()), strict=True)], schema=columns
        )

        def write() -> None:
            table = self._folder.database.create_table(RECORDS, schema=columns, exist_ok=True)
            merge = table.merge_insert("name").when_matched_update_all()
            version = merge.when_not_matched_insert_all().execute(rows).version
            if version % _COMPACTED_EVERY == 0:
                table.optimize(cleanup_older_than=timedelta(seconds=KEPT_S))

        self._call(write)
        for name, record in records.items():
            if record is None:
                self._known.pop(name, None)
            else:
                self._known[name] = record

    def _rows(self, condition: str) -> list[dict[str, Any]]:
        """Return the records that match a condition."""
        if not self._folder.exists:
            return []

        def select() -> list[dict[str, Any]]:
            table = self._folder.database.open_table(RECORDS)
            rows: list[dict[str, Any]] = table.search().where(condition).to_list()
            return rows

        try:
            return self._folder.call(select)
        except MissingData:
            return []

    def _drop_unnamed(self, name: str) -> None:
        """Delete the tables of an index of this name that no record names."""
        named = {row["table_name"] for row in self._rows("true")}
        for table in self._call(self._folder.table_names):
            if table not in named and _SUFFIX.fullmatch(table.removeprefix(name)):
                self._drop_table(table)

    def _drop_table(self, table: str) -> None:
        self._call(lambda: self._folder.database.drop_table(table, ignore_missing=True))

    def _call(self, work: Any) -> Any:
        try:
            return self._folder.call(work)
        except MissingData as error:
            raise DataError(self.shown, str(error)) from None


def _row(item: tuple[str, Record | None]) -> tuple[Any, ...]:
    name, record = item
    if record is None:
        return name, "", "", "", None
    manifest, source = json.dumps(record.manifest.to_json()), json.dumps(dict(record.source))
    return name, record.table, manifest, source, record.adapter
