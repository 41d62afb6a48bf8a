"""The collections of indexes in a server, and their records.

The documents of an index ``docs`` are in a collection of a new name, such as ``docs_1f2e3d4c``, and
``docs`` is an alias of it: an index is replaced by one change of aliases. The metadata of the
collection contain the record of the index. An adapter is in a collection of its own, such as
``docs_1f2e3d4c_adapter``, because metadata should be small.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator
from typing import Any, Self

from nestvec.engines.manifest import TOKENS_VERSION, Manifest
from nestvec.engines.qdrant.columns import NO_GRAPH, Layout
from nestvec.engines.qdrant.requests import PAYLOAD_INDEXES, Body
from nestvec.engines.qdrant_server.collection import NO_INDEXING, ServerCollection
from nestvec.engines.qdrant_server.connection import CHANGE_S, QdrantConnection
from nestvec.engines.qdrant_server.location import QdrantLocation
from nestvec.engines.qdrant_server.table import ServerTable
from nestvec.engines.table_engine import UNFINISHED
from nestvec.engines.tables import DocumentTables, Record
from nestvec.errors import DamagedFile, DataError, InvalidArgument

WIDEST = 65_536
"""The widest vectors of Qdrant."""
_RECORD = "nestvec"
"""The key of the record in the metadata of a collection."""
_ADAPTER = "_adapter"
_PART = 4_000_000  # characters of an adapter in one point


class ServerTables(DocumentTables):
    """A connection to a server, and the name of one index in it."""

    def __init__(self, connection: QdrantConnection) -> None:
        """Use an open connection."""
        self._connection, self._models = connection, connection.models
        self.shown, self.name = connection.shown, connection.location.name
        self._names: dict[str, str] = {}  # of indexes, by collection
        self._adapters: dict[str, bytes | None] = {}  # by collection; they never change

    @classmethod
    def connect(cls, url: str) -> Self:
        """Connect to a server, as ``DocumentTables.connect`` does."""
        return cls(QdrantConnection(QdrantLocation.parse(url)))

    def read(self, name: str) -> Record | None:
        """Return the record of an index; None if there is no index of this name."""
        info = self._connection.info(name)
        text = None if info is None else (info.config.metadata or {}).get(_RECORD)
        if not text:
            return None
        where = f"{self.shown} (metadata of {name})"
        try:
            values = json.loads(text)
            manifest, source = json.dumps(values["manifest"]), dict(values["source"])
            table, has_adapter = str(values["collection"]), bool(values["adapter"])
        except (ValueError, KeyError, TypeError) as error:
            problem = f"cannot be read ({error!r}). Rebuild the index."
            raise DamagedFile(where, problem) from error
        if table not in self._adapters:
            self._adapters[table] = self._read_adapter(table) if has_adapter else None
        self._names[table] = name
        read = Manifest.from_json(manifest, where, oldest=TOKENS_VERSION)
        return Record(read, table, self._adapters[table], source)

    def write(self, name: str, record: Record) -> None:
        """Write the record of an index; an existing record is replaced, except its adapter."""
        self._connection.configure(record.table, metadata=_metadata(record))

    def create(self, name: str, record: Record) -> None:
        """Create the empty collection of an index; the index appears when it is complete."""
        full_dim = record.manifest.model.full_dim
        if full_dim > WIDEST:
            problem = f"vectors of {full_dim:,} dims are wider than the {WIDEST:,} of Qdrant."
            raise InvalidArgument(f"{problem} Truncate the vectors before indexing.")
        final = name.removesuffix(UNFINISHED)
        for each in {name, final}:
            self._check_no_other(each)
        table = f"{final}_{secrets.token_hex(4)}"
        if record.adapter is not None:
            self._write_adapter(table, record.adapter)
        placed = Record(record.manifest, table, record.adapter, record.source)
        self._create(table, creation(placed))
        collection = ServerCollection(self._connection, table)
        for operation in PAYLOAD_INDEXES:
            collection.update(operation)
        self._alias({"create_alias": {"collection_name": table, "alias_name": name}})

    def open(self, record: Record) -> ServerTable:
        """Open the collection of an index."""
        table = ServerTable(self._connection, record)
        name = self._names.get(record.table)
        table.reread = lambda: None if name is None else self.read(name)
        return table

    def drop(self, name: str) -> None:
        """Delete the record and the collection of an index; without an index, do nothing."""
        record = self.read(name)
        if record is not None:
            self._alias({"delete_alias": {"alias_name": name}})
            self._delete(record.table)

    def replace(self, name: str, by: str) -> None:
        """Give an index the name of another index, by one change of aliases.

        Collections of former indexes of the name are deleted, also those that a killed process
        left behind.
        """
        new = self.read(by)
        if new is None:
            return
        changes: list[Body] = [{"delete_alias": {"alias_name": by}}]
        if self.read(name) is not None:
            changes.append({"delete_alias": {"alias_name": name}})
        changes.append({"create_alias": {"collection_name": new.table, "alias_name": name}})
        self._alias(*changes)
        for table in self._unused(name):
            self._delete(table)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _check_no_other(self, name: str) -> None:
        info = self._connection.info(name)
        if info is not None and not self._has_record(info):
            problem = f"the collection {name} exists, and is no index of nestvec."
            raise DataError(self.shown, f"{problem} Choose another name.")

    def _create(self, name: str, body: Body) -> None:
        valid = self._models.CreateCollection.model_validate(body)
        parameters = {key: getattr(valid, key) for key in body}
        parameters["vectors_config"] = parameters.pop("vectors")

        def create(client: Any) -> None:
            if not client.collection_exists(name):  # created by a call whose answer was lost
                client.create_collection(name, timeout=CHANGE_S, **parameters)

        self._connection.run(create)

    def _delete(self, table: str) -> None:
        for name in (table, f"{table}{_ADAPTER}"):
            if self._has_record(self._connection.info(name)):
                self._connection.call("delete_collection", name, timeout=CHANGE_S)

    def _has_record(self, info: Any | None) -> bool:
        """Return whether nestvec has created a collection."""
        return info is not None and _RECORD in (info.config.metadata or {})

    def _alias(self, *changes: Body) -> None:
        body = self._models.ChangeAliasesOperation.model_validate({"actions": list(changes)})
        self._connection.call("update_collection_aliases", body.actions)

    def _unused(self, name: str) -> set[str]:
        """Return the collections of an index that no alias names."""
        own = re.compile(f"({re.escape(name)}_[0-9a-f]{{8}})(?:{_ADAPTER})?")
        call = self._connection.call
        found = [each.name for each in call("get_collections").collections]
        used = {each.collection_name for each in call("get_aliases").aliases}
        return {match[1] for match in map(own.fullmatch, found) if match} - used

    def _write_adapter(self, table: str, content: bytes) -> None:
        name = f"{table}{_ADAPTER}"
        self._create(name, {"vectors": {}, "metadata": {_RECORD: ""}})
        for number, part in enumerate(_parts(base64.b64encode(content).decode())):
            point = self._models.PointStruct(id=number, vector={}, payload={"part": part})
            self._connection.change("upsert", name, [point])

    def _read_adapter(self, table: str) -> bytes:
        parts, offset = list[str](), None
        while True:
            block, offset = self._connection.call(
                "scroll", f"{table}{_ADAPTER}", limit=1, offset=offset, with_payload=True
            )
            parts += [point.payload["part"] for point in block]
            if offset is None:
                return base64.b64decode("".join(parts))


def creation(record: Record) -> Body:
    """Return the body that creates the collection of an index."""
    manifest = record.manifest
    return {
        "vectors": Layout(manifest.model.full_dim, manifest.stored).config({}, {}),
        "hnsw_config": NO_GRAPH,
        "optimizers_config": NO_INDEXING,
        "payload": {"memory": "cold"},
        "metadata": _metadata(record),
    }


def _metadata(record: Record) -> Body:
    """Return the metadata; one text, because a server merges the keys of nested values."""
    values = {
        "collection": record.table,
        "manifest": record.manifest.to_json(),
        "source": dict(record.source),
        "adapter": record.adapter is not None,
    }
    return {_RECORD: json.dumps(values)}


def _parts(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PART):
        yield text[start : start + _PART]
