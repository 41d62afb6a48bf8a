"""Records of indexes, in a collection of their own, and the journal of changes.

A record is one row, and a new version of it is a new row: a reader takes the newest version, so
that a record changes in one step. Former versions are deleted afterwards.

The journal has the keys of documents whose change has begun, for tables with prefixes. A change
that a crash interrupted is completed by ``PrefixCollections.repair``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nestvec.engines.manifest import TOKENS_VERSION, Manifest
from nestvec.engines.milvus.collections import ID, MOST_RESULTS, create_records, load
from nestvec.engines.milvus.connection import CALL_S, Connection
from nestvec.engines.milvus.documents import Rows
from nestvec.engines.milvus.rows import PIECE, Row
from nestvec.engines.tables import Record
from nestvec.sources.milvus_collections import RECORDS

_RECORD, _ADAPTER, _COMPLETE = "record", "adapter", "complete"
_OPEN, _DONE, _LEASE, _BATCH = "change", "changed", "lease", "batch"
_PART = 1_000_000  # characters of one row of an adapter, and about those of a journal entry
_FIELDS = [ID, "kind", "owner", "version", "payload"]


class Entry(NamedTuple):
    """A change in the journal.

    Attributes:
        id: The primary key of the entry.
        keys: The primary keys of the changed documents.
        open: Whether the change may still go on.
        age_s: Seconds since the change began.
    """

    id: str
    keys: list[str]
    open: bool
    age_s: float


class RecordedBatch(NamedTuple):
    """An addition of several requests.

    Attributes:
        rows: The primary keys of its rows in the records.
        keys: The primary keys of its documents.
    """

    rows: list[str]
    keys: list[str]


class Records:
    """The records of one database of Milvus."""

    def __init__(self, connection: Connection) -> None:
        """Use an open connection."""
        self._connection, self._loaded = connection, False
        self._stored = Rows(connection, RECORDS)

    def create(self) -> None:
        """Create the collection of records, unless it exists."""
        if not self._exists():
            create_records(self._connection, RECORDS)
            self._exists()

    def read(self, name: str) -> Record | None:
        """Return the record of an index; None if there is no index of this name."""
        row = self._newest(name)
        if row is None:
            return None
        values = json.loads("".join(row["payload"]))
        where = f"{self._connection.shown} ({RECORDS}, {name})"
        manifest = Manifest.from_json(values["manifest"], where, oldest=TOKENS_VERSION)
        adapter = self._adapter(values["adapter"]) if values["adapter"] else None
        return Record(manifest, values["table"], adapter, values["source"])

    def write(self, name: str, record: Record) -> None:
        """Write a new version of a record, and delete the former ones."""
        self.create()
        values: dict[str, object] = {
            "table": record.table,
            "manifest": json.dumps(record.manifest.to_json()),
            "source": dict(record.source),
            "adapter": self._write_adapter(record.adapter),
        }
        former = self._rows(_RECORD, name)
        version = max((int(row["version"]) for row in former), default=0) + 1
        key = f"{_RECORD}/{name}/{version}/{secrets.token_hex(4)}"
        self._stored.upsert([_row(key, _RECORD, name, version, json.dumps(values))])
        self._stored.delete([row[ID] for row in former])

    def remove(self, name: str) -> None:
        """Delete the record of an index, and its adapter if no other index has it."""
        rows = self._rows(_RECORD, name)
        self._stored.delete([row[ID] for row in rows])
        adapters = {_payload(row)["adapter"] for row in rows} - {""}
        adapters -= {_payload(row)["adapter"] for row in self._rows(_RECORD)}
        for digest in adapters:
            self._stored.delete([row[ID] for row in self._rows(_ADAPTER, digest)])

    def tables(self) -> set[str]:
        """Return the tables of all indexes."""
        return {str(_payload(row)["table"]) for row in self._rows(_RECORD)}

    # The journal

    def begin(self, table: str, keys: Sequence[str]) -> list[Entry]:
        """Write that documents are about to change, and return the entries."""
        entries = []
        for part in _parts(keys):
            entry = Entry(f"{_OPEN}/{table}/{secrets.token_hex(8)}", part, True, 0.0)
            self._stored.upsert([_row(entry.id, _OPEN, table, _now_ms(), json.dumps(part))])
            entries.append(entry)
        return entries

    def finish(self, table: str, entries: Sequence[Entry], *, keep: bool) -> None:
        """Delete entries of complete changes, or keep them for prefixes that are being built."""
        if not keep:
            self._stored.delete([entry.id for entry in entries])
            return
        for entry in entries:
            self._stored.upsert([_row(entry.id, _DONE, table, _now_ms(), json.dumps(entry.keys))])

    def journal(self, table: str) -> list[Entry]:
        """Return the entries of a table."""
        now = _now_ms()
        return [
            Entry(
                row[ID],
                json.loads("".join(row["payload"])),
                kind == _OPEN,
                (now - int(row["version"])) / 1000,
            )
            for kind in (_OPEN, _DONE)
            for row in self._rows(kind, table)
        ]

    # Complete prefixes

    def complete(self, table: str) -> dict[int, str]:
        """Return the collection of complete prefixes of each width."""
        rows = sorted(self._rows(_COMPLETE, table), key=lambda row: int(row["version"]))
        return {int(_payload(row)["dim"]): str(_payload(row)["name"]) for row in rows}

    def publish(self, table: str, dim: int, name: str) -> None:
        """Write that a collection has the complete prefixes of a width."""
        rows = self._rows(_COMPLETE, table)
        version = max((int(row["version"]) for row in rows), default=0) + 1
        text = json.dumps({"dim": dim, "name": name})
        self._stored.upsert([_row(f"{_COMPLETE}/{name}", _COMPLETE, table, version, text)])
        self._stored.delete([row[ID] for row in rows if _payload(row)["dim"] == dim])

    def withdraw(self, name: str) -> None:
        """Write that a collection of prefixes is not complete, or no longer exists."""
        self._stored.delete([f"{_COMPLETE}/{name}"])

    # Batches of several requests

    def begin_batch(self, table: str, keys: Sequence[str]) -> RecordedBatch:
        """Write that documents are about to be added."""
        token, batch = secrets.token_hex(8), RecordedBatch([], list(keys))
        for number, part in enumerate(_parts(keys)):
            row = f"{_BATCH}/{table}/{token}/{number}"
            self._stored.upsert([_row(row, _BATCH, table, _now_ms(), json.dumps(part))])
            batch.rows.append(row)
        return batch

    def batches(self, table: str) -> list[RecordedBatch]:
        """Return the batches of a table."""
        found: dict[str, RecordedBatch] = {}
        for row in self._rows(_BATCH, table):
            batch = found.setdefault(row[ID].rpartition("/")[0], RecordedBatch([], []))
            batch.rows.append(row[ID])
            batch.keys.extend(json.loads("".join(row["payload"])))
        return list(found.values())

    def remove_batch(self, batch: RecordedBatch) -> None:
        """Delete a batch."""
        self._stored.delete(batch.rows)

    # Leases

    def leases(self, table: str) -> list[tuple[str, float]]:
        """Return the keys of the leases of a table, and their ages in seconds."""
        now = _now_ms()
        rows = self._rows(_LEASE, table)
        return [(row[ID].partition("/")[2], (now - int(row["version"])) / 1000) for row in rows]

    def write_lease(self, table: str, key: str) -> None:
        """Write a lease, or its present time."""
        self._stored.upsert([_row(f"{_LEASE}/{key}", _LEASE, table, _now_ms(), "{}")])

    def remove_leases(self, keys: Sequence[str]) -> None:
        """Delete leases."""
        self._stored.delete([f"{_LEASE}/{key}" for key in keys])

    # Rows

    def _newest(self, name: str) -> Mapping[str, Any] | None:
        rows = self._rows(_RECORD, name)
        return max(rows, key=lambda row: (int(row["version"]), row[ID]), default=None)

    def _adapter(self, digest: str) -> bytes:
        rows = sorted(self._rows(_ADAPTER, digest), key=lambda row: int(row["version"]))
        return base64.b64decode("".join("".join(row["payload"]) for row in rows))

    def _write_adapter(self, content: bytes | None) -> str:
        """Write the bytes of an adapter, once, and return their digest; "" without an adapter."""
        if content is None:
            return ""
        digest = hashlib.sha256(content).hexdigest()
        text = base64.b64encode(content).decode()
        for start in range(0, len(text), _PART):
            key = f"{_ADAPTER}/{digest}/{start}"
            self._stored.upsert([_row(key, _ADAPTER, digest, start, text[start : start + _PART])])
        return digest

    def _exists(self) -> bool:
        """Return whether the collection exists; load it once."""
        if not self._loaded:
            if not self._connection.run(
                lambda client: client.has_collection(RECORDS, timeout=CALL_S)
            ):
                return False
            load(self._connection, RECORDS)
            self._loaded = True
        return True

    def _rows(self, kind: str, owner: str | None = None) -> list[Mapping[str, Any]]:
        if not self._exists():
            return []
        text = f'kind == "{kind}"' + ("" if owner is None else f' and owner == "{owner}"')
        return list(self._stored.some(_FIELDS, MOST_RESULTS, text))


def moved(record: Record, table: str) -> Record:
    """Return a record with another table."""
    return replace(record, table=table)


def _row(key: str, kind: str, owner: str, version: int, text: str) -> Row:
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    values = {ID: key, "kind": kind, "owner": owner, "version": version, "payload": pieces}
    return values | {"embedding": [0.0, 0.0]}


def _payload(row: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads("".join(row["payload"]))
    return values


def _parts(keys: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for key in keys:
        if part and size + len(key) > _PART:
            yield part
            part, size = [], 0
        part.append(key)
        size += len(key) + 4
    if part:
        yield part


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
