"""Collections of Milvus: their fields, and how they are created, loaded and indexed.

Milvus cannot add a vector field to a collection, and before version 2.4 a collection has one. So
each width of vectors has a collection of its own.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from nestvec.engines.filters.milvus import ORDERED, TOKENS
from nestvec.engines.filters.tokens import LONGEST_TOKEN
from nestvec.engines.milvus.connection import CALL_S, STRONG, Connection
from nestvec.errors import DataError, InvalidArgument

ID, EMBEDDING, DOCUMENT = "id", "embedding", "document"
LONGEST_TEXT = 65_535
"""Bytes of a text in Milvus."""
MOST_ITEMS = 4_096
"""Items of a list in Milvus."""
MOST_RESULTS = 16_384
"""Results of one search or query in Milvus."""
M, EF_CONSTRUCTION = 16, 200
IndexType = Literal["FLAT", "HNSW"]
_PARAMETERS: dict[IndexType, dict[str, int]] = {
    "FLAT": {},
    "HNSW": {"M": M, "efConstruction": EF_CONSTRUCTION},
}


class StaleTable(InvalidArgument):
    """A collection that a search needs does not exist, or no longer."""

    def __init__(self, dim: int, shown: str) -> None:
        """Name the width of the first stage and the URL of the index."""
        problem = f"{shown} has no prefixes of {dim} dims."
        super().__init__(f"{problem} Run nestvec index use URL POINT to build them.")


class IndexState(NamedTuple):
    """What Milvus built: the type of an index, and how many rows it has to index and indexed."""

    kind: str
    rows: int
    indexed: int
    state: str


def create_documents(connection: Connection, name: str, dim: int) -> None:
    """Create the collection of documents with their full vectors; its index is FLAT.

    Milvus then loads the collection, for seconds. ``load`` waits until it is loaded.
    """
    create(connection, name, dim, documents=True)


def create_prefixes(connection: Connection, name: str, dim: int) -> None:
    """Create a collection of prefixes, as ``create_documents`` does."""
    create(connection, name, dim, documents=False)


def create_records(connection: Connection, name: str) -> None:
    """Create the collection of records of indexes, unless it exists."""
    if connection.run(lambda client: client.has_collection(name, timeout=CALL_S)):
        return
    types = connection.types
    schema = connection.client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, types.VARCHAR, is_primary=True, max_length=LONGEST_TEXT)
    for field in ("kind", "owner"):
        schema.add_field(field, types.VARCHAR, max_length=512)
    schema.add_field("version", types.INT64)
    _add_texts(schema, types, "payload", LONGEST_TEXT)
    schema.add_field(EMBEDDING, types.FLOAT_VECTOR, dim=2)  # a collection must have a vector
    _build(connection, name, schema)


def load(connection: Connection, name: str) -> None:
    """Load a collection into memory, so that it can be searched; return when it is loaded."""
    _begin_loading(connection, name)
    connection.wait(
        lambda client: getattr(client.get_load_state(name)["state"], "name", "") == "Loaded"
    )


def build_index(connection: Connection, name: str, kind: IndexType) -> None:
    """Create the index of vectors of a collection that is not loaded.

    Milvus builds it in the background. ``wait_for_index`` returns when it is complete.
    """
    parameters = connection.client.prepare_index_params()
    parameters.add_index(
        EMBEDDING, index_type=kind, metric_type="IP", params=dict(_PARAMETERS[kind])
    )
    connection.run(lambda client: client.create_index(name, parameters, sync=False, timeout=CALL_S))


def replace_index(connection: Connection, name: str, kind: IndexType) -> None:
    """Give a collection another index of vectors; meanwhile it cannot be searched."""
    connection.run(lambda client: client.release_collection(name, timeout=CALL_S))
    connection.run(lambda client: client.drop_index(name, EMBEDDING, timeout=CALL_S))
    build_index(connection, name, kind)
    wait_for_index(connection, name, kind)
    load(connection, name)


def wait_for_index(connection: Connection, name: str, kind: IndexType) -> None:
    """Return when an index is complete, and is the one that was requested.

    Raises:
        DataError: If Milvus could not build the index, or built another one.
    """

    def complete(_: Any) -> bool:
        found = index_state(connection, name)
        if found.kind != kind or found.state == "Failed":
            problem = f"the index of {name} is {found.kind} ({found.state}), not {kind}."
            raise DataError(connection.shown, f"{problem} Run nestvec index use again.")
        return found.state == "Finished" and found.indexed >= found.rows

    connection.wait(complete)


def index_state(connection: Connection, name: str) -> IndexState:
    """Return the state of the index of vectors; its rows are those on disk."""
    found = connection.run(lambda client: client.describe_index(name, EMBEDDING, timeout=CALL_S))
    values = found or {}
    return IndexState(
        str(values.get("index_type", "")),
        int(values.get("total_rows", 0)),
        int(values.get("indexed_rows", 0)),
        str(values.get("state", "")),
    )


def flush(connection: Connection, name: str) -> None:
    """Write the rows that are in memory to segments on disk, which can be indexed."""
    connection.run(lambda client: client.flush(name, timeout=CALL_S))


def compact(connection: Connection, name: str) -> None:
    """Let Milvus merge the segments of a collection, in the background."""
    flush(connection, name)
    connection.run(lambda client: client.compact(name, timeout=CALL_S))


def drop(connection: Connection, name: str) -> None:
    """Drop a collection; without a collection, do nothing."""
    connection.run(lambda client: client.drop_collection(name, timeout=CALL_S))


def create(connection: Connection, name: str, dim: int, *, documents: bool) -> None:
    """Create a collection of documents or of prefixes, and begin to load it."""
    types = connection.types
    schema = connection.client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, types.VARCHAR, is_primary=True, max_length=LONGEST_TEXT)
    schema.add_field(EMBEDDING, types.FLOAT_VECTOR, dim=dim)
    _add_texts(schema, types, TOKENS, LONGEST_TOKEN)
    schema.add_field(ORDERED, types.JSON)
    if documents:
        _add_texts(schema, types, DOCUMENT, LONGEST_TEXT)
    _build(connection, name, schema)


def _begin_loading(connection: Connection, name: str) -> None:
    connection.run(lambda client: client.load_collection(name, _async=True, timeout=CALL_S))


def _add_texts(schema: Any, types: Any, field: str, longest: int) -> None:
    schema.add_field(
        field,
        types.ARRAY,
        element_type=types.VARCHAR,
        max_capacity=MOST_ITEMS,
        max_length=longest,
    )


def _build(connection: Connection, name: str, schema: Any) -> None:
    connection.run(
        lambda client: client.create_collection(
            name, schema=schema, consistency_level=STRONG, num_shards=1, timeout=CALL_S
        )
    )
    build_index(connection, name, "FLAT")
    _begin_loading(connection, name)
