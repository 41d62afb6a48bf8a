"""Read vectors from a collection of Milvus that other programs wrote.

``milvus://host:port/database?collection=docs&id=key&vector=embedding`` or
``milvus-lite:///folder/docs.db?collection=docs`` names the collection and its fields. The rows are
read in the order of their primary keys. A collection of a server must be loaded.

The parameter ``collection`` can also name an index of nestvec, whose vectors are in the field
``embedding``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import DataError
from nestvec.sources.ids import as_id, code_text
from nestvec.sources.milvus_address import DEFAULT_COLLECTION, parse_address
from nestvec.sources.milvus_connection import CALL_S, STRONG, MilvusConnection
from nestvec.sources.places import COLUMN_PARAMETERS
from nestvec.sources.stream import Block, Columns, FloatType, VectorStream, block_rows

RECORDS = "nestvec_indexes"
"""The collection of the records of all indexes of nestvec in a database."""
_INDEX = re.compile(r"\w{1,48}", re.ASCII)
_PARAMETERS = ("collection", "tls", *COLUMN_PARAMETERS)
_TYPES: Mapping[str, FloatType] = {
    "FLOAT_VECTOR": np.dtype(np.float32),
    "FLOAT16_VECTOR": np.dtype(np.float16),
}
_MOST_ROWS = 2_000
"""Most rows of one call: a message of Milvus has a limit, and rows are Python lists."""


@dataclass(frozen=True)
class _CollectionFields:
    """The collection and its fields that are read.

    Attributes:
        collection: The name of the collection.
        is_index: Whether the primary keys are codes of ids, as in an index of nestvec.
        key: The primary key.
        ids: The field of the ids; None if rows are numbered.
        vectors: The field of the vectors.
        dtype: The type of the numbers.
        dim: The width of the vectors.
    """

    collection: str
    is_index: bool
    key: str
    ids: str | None
    vectors: str
    dtype: FloatType
    dim: int


def open_milvus(url: str, columns: Columns) -> VectorStream:
    """Open a collection; its rows are read when the stream is read.

    Args:
        url: The URL with the parameters ``collection`` (default ``documents``) and optionally
            ``id`` (default: the primary key) and ``vector``, the names of fields.
        columns: Names of the fields if the URL does not contain them.

    Raises:
        InvalidArgument: If the URL cannot be parsed.
        DataError: If the server cannot be reached, there is no such file, collection or field, or
            the collection is not loaded.
        IndexLocked: If another process uses the file of Milvus Lite.
        MissingExtra: If pymilvus or Milvus Lite is not installed.
    """
    address, place = parse_address(url, _PARAMETERS)
    name = place.parameters.get("collection", DEFAULT_COLLECTION)
    if address.is_lite and not Path(address.uri).exists():  # Milvus Lite would create the file
        raise DataError(address.shown, "names a file that does not exist. Check the path.")
    with closing(MilvusConnection(address)) as connection:
        fields = _fields(connection, name, columns.named_in(place.parameters))
        _check_loaded(connection, fields.collection)

    def read() -> Iterator[Block]:
        with closing(MilvusConnection(address)) as connection:
            yield from _blocks(connection, fields)

    return VectorStream(address.shown, fields.dtype, read, numbered=fields.ids is None)


def _fields(connection: MilvusConnection, name: str, columns: Columns) -> _CollectionFields:
    collection = _find(connection, name)
    found = connection.run(
        lambda client: client.describe_collection(collection, timeout=CALL_S)["fields"]
    )
    key = next(field["name"] for field in found if field.get("is_primary"))
    kinds = {field["name"]: field["type"].name for field in found}
    of_vectors = [field for field, kind in kinds.items() if kind in _TYPES]
    if columns.ids is None and not columns.number_rows:
        columns = replace(columns, ids=key)
    ids, vectors = columns.find(list(kinds), connection.shown, of_vectors=of_vectors)
    if kinds[vectors] not in _TYPES:
        problem = f"field {vectors} has the type {kinds[vectors]}, not {' or '.join(_TYPES)}."
        raise DataError(connection.shown, f"{problem} Append &vector=FIELD to the URL.")
    dim = next(int(field["params"]["dim"]) for field in found if field["name"] == vectors)
    is_index = collection != name and ids == key
    return _CollectionFields(collection, is_index, key, ids, vectors, _TYPES[kinds[vectors]], dim)


def _find(connection: MilvusConnection, name: str) -> str:
    """Return the name of a collection, or of the collection of an index of nestvec.

    Raises:
        DataError: If there is neither.
    """
    if connection.run(lambda client: client.has_collection(name, timeout=CALL_S)):
        return name
    names = connection.run(lambda client: client.list_collections(timeout=CALL_S))
    found = _table_of_index(connection, name) if RECORDS in names else None
    if found is None:
        listed = ", ".join(sorted(str(each) for each in names if each != RECORDS)) or "none"
        problem = f"contains no collection {name} (its collections: {listed})."
        raise DataError(connection.shown, f"{problem} Append ?collection=NAME to the URL.")
    return found


def _table_of_index(connection: MilvusConnection, name: str) -> str | None:
    if not _INDEX.fullmatch(name):
        return None
    rows = _query(
        connection, RECORDS, f'kind == "record" and owner == "{name}"', "version", "payload"
    )
    if not rows:
        return None
    newest = max(rows, key=lambda row: int(row["version"]))
    return str(json.loads("".join(newest["payload"]))["table"])


def _check_loaded(connection: MilvusConnection, name: str) -> None:
    """Check that a collection can be read; loading it would change the memory of a server."""
    state = connection.run(lambda client: client.get_load_state(name, timeout=CALL_S)["state"])
    if getattr(state, "name", "") != "Loaded":
        problem = f"the collection {name} is not loaded, so its rows cannot be read."
        raise DataError(connection.shown, f"{problem} Load it: client.load_collection({name!r}).")


def _blocks(connection: MilvusConnection, fields: _CollectionFields) -> Iterator[Block]:
    """Yield all rows in the order of their primary keys.

    Raises:
        DataError: If Milvus repeats or omits rows.
    """
    before, done, last = _count(connection, fields), 0, list[Any]()
    for rows in _rows(connection, fields):
        keys = [*last, *(row[fields.key] for row in rows)]
        if keys != sorted(set(keys)):
            problem = f"Milvus returned primary keys near {keys[0]!r} twice or in another order."
            raise DataError(connection.shown, f"{problem} Read the collection again.")
        last, ids = keys[-1:], _ids(rows, fields, connection.shown, done)
        vectors = [row.get(fields.vectors) for row in rows]
        yield Block(connection.shown, done, ids, _matrix(vectors, ids, fields, connection.shown))
        done += len(rows)
    if done < before == _count(connection, fields):
        problem = f"Milvus returned {done:,} of {before:,} rows."
        raise DataError(connection.shown, f"{problem} Read the collection again.")


def _ids(
    rows: Sequence[Mapping[str, Any]], fields: _CollectionFields, shown: str, start: int
) -> list[str] | None:
    if fields.ids is None:
        return None
    ids = [as_id(row.get(fields.ids), shown, start + n) for n, row in enumerate(rows)]
    return list(map(code_text, ids)) if fields.is_index else ids


def _rows(
    connection: MilvusConnection, fields: _CollectionFields
) -> Iterator[list[Mapping[str, Any]]]:
    wanted = [field for field in (fields.key, fields.ids, fields.vectors) if field is not None]
    iterator: Any = connection.run(
        lambda client: client.query_iterator(
            fields.collection,
            batch_size=min(_MOST_ROWS, block_rows(fields.dim)),
            output_fields=list(dict.fromkeys(wanted)),
            consistency_level=STRONG,
            timeout=CALL_S,
        )
    )
    try:
        while rows := connection.run(lambda _: iterator.next()):
            yield list(rows)
    finally:
        iterator.close()


def _count(connection: MilvusConnection, fields: _CollectionFields) -> int:
    return int(_query(connection, fields.collection, "", "count(*)")[0]["count(*)"])


def _query(
    connection: MilvusConnection, name: str, expression: str, *fields: str
) -> list[Mapping[str, Any]]:
    """Return the few rows that match an expression."""
    return list(
        connection.run(
            lambda client: client.query(
                name,
                filter=expression,
                output_fields=list(fields),
                consistency_level=STRONG,
                timeout=CALL_S,
            )
        )
    )


def _matrix(
    vectors: Sequence[Any], ids: Sequence[str] | None, fields: _CollectionFields, shown: str
) -> NDArray[np.floating[Any]]:
    """Return the vectors of rows, [n, dim].

    Raises:
        DataError: If a vector is missing.
    """
    for row, vector in enumerate(vectors):
        if vector is None:
            which = f"of row {row}" if ids is None else f"of id {ids[row]!r}"
            raise DataError(shown, f"the vector {which} is missing (NULL). Remove the row.")
    if fields.dtype == np.float16:  # pymilvus returns bytes, in a list or alone
        parts = [each[0] if isinstance(each, list) else each for each in vectors]
        return np.frombuffer(b"".join(parts), "<f2").reshape(len(parts), fields.dim)
    return np.array(vectors, dtype=np.float32)
