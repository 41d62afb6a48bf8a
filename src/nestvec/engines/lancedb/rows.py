"""Documents as rows of a Lance table.

The columns ``title``, ``text`` and ``metadata`` (JSON) are for people, too. Filters use the columns
of ``Tokens``. ``vector`` has full vectors, and each prefix that a first stage scans has a column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.engines.filters.datafusion import KEYS, ORDERED, TOKENS, ordered_text
from nestvec.engines.filters.tokens import Tokens
from nestvec.engines.manifest import Manifest
from nestvec.errors import InvalidArgument, require
from nestvec.types import CodeKey, Document

ID, TITLE, TEXT, METADATA, VECTOR = "id", "title", "text", "metadata", "vector"
DOCUMENT = (ID, TITLE, TEXT, METADATA)
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
"""With this key, Lance repeats a commit if a concurrent commit inserts the same id."""
_PREFIX = re.compile(r"prefix_(?P<dim>[0-9]+)_(?P<precision>float32|float16)")


def arrow() -> Any:
    """Import pyarrow."""
    return require("pyarrow", extra="lancedb")


def vector_column(key: CodeKey, manifest: Manifest) -> str:
    """Return the column that a first stage scans: the full vectors, or their prefixes."""
    if key == (manifest.model.full_dim, manifest.stored):
        return VECTOR
    return f"prefix_{key[0]}_{key[1]}"


def column_key(name: str) -> CodeKey | None:
    """Return the representation in a column; None if the column has no prefixes."""
    found = _PREFIX.fullmatch(name)
    return (int(found["dim"]), found["precision"]) if found else None  # type: ignore[return-value]


def field_of(name: str, key: CodeKey) -> Any:
    """Return the Arrow field of a column of vectors."""
    pa = arrow()
    dim, precision = key
    item = pa.float16() if precision == "float16" else pa.float32()
    return pa.field(name, pa.list_(item, dim))


def schema(manifest: Manifest) -> Any:
    """Return the Arrow schema of a new table, with the column of the manifest's own point."""
    pa = arrow()
    full = manifest.model.full_dim, manifest.stored
    fields = [pa.field(ID, pa.string(), nullable=False, metadata=_PRIMARY_KEY)]
    fields += [pa.field(name, pa.string()) for name in DOCUMENT if name != ID]
    fields += [pa.field(name, pa.list_(pa.string())) for name in (TOKENS, KEYS, ORDERED)]
    fields.append(field_of(VECTOR, full))
    key = manifest.point.stages[0].representation
    name = vector_column(key, manifest)
    if name != VECTOR:
        fields.append(field_of(name, key))
    return pa.schema(fields)


def table_of(added: Mapping[str, Document], vectors: NDArray[np.floating], columns: Any) -> Any:
    """Return documents as an Arrow table.

    Args:
        added: Documents by id.
        vectors: [n, full_dim] in the same order, as the table stores them.
        columns: The Arrow schema of the Lance table.

    Raises:
        InvalidArgument: If a text is not valid Unicode, or the table has an unknown column.
    """
    pa = arrow()
    tokens = [Tokens.of(document.metadata) for document in added.values()]
    values: dict[str, Sequence[Any]] = {
        ID: list(added),
        TITLE: [document.title for document in added.values()],
        TEXT: [document.text for document in added.values()],
        METADATA: [json.dumps(dict(document.metadata)) for document in added.values()],
        TOKENS: [[*each.fields, *each.values] for each in tokens],
        KEYS: [list(each.ordered) for each in tokens],
        ORDERED: [list(map(ordered_text, each.ordered.values())) for each in tokens],
    }
    arrays = []
    for field in columns:
        if field.name in values:
            try:
                arrays.append(pa.array(values[field.name], field.type))
            except UnicodeEncodeError as error:
                problem = f"the {field.name} of a document contains invalid Unicode"
                raise InvalidArgument(f"{problem} ({error.reason}). Correct the text.") from None
            continue
        key = column_key(field.name)
        if key is None and field.name != VECTOR:
            problem = f"the table has a column {field.name!r}, which nestvec did not create."
            raise InvalidArgument(f"{problem} Remove the column.")
        arrays.append(vector_array(vectors if key is None else prefixes(vectors, key), field.type))
    return pa.table(arrays, schema=columns)


def prefixes(vectors: NDArray[np.floating], key: CodeKey) -> NDArray[np.floating]:
    """Return unit prefixes of stored vectors, [n, dim], in the precision of a column."""
    dim, precision = key
    wide = vectors.astype(np.float32)
    whole = dim == vectors.shape[1]
    return (wide if whole else prefix(wide, dim)).astype(precision)


def vector_array(vectors: NDArray[np.floating], kind: Any) -> Any:
    """Return vectors [n, dim] as an Arrow array of lists of a fixed size."""
    pa = arrow()
    flat = pa.array(np.ascontiguousarray(vectors).ravel(), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def vectors_of(column: Any) -> NDArray[np.floating]:
    """Return a column of vectors in its own precision, [n, dim]."""
    flat: NDArray[np.floating] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)


def documents_of(rows: Any) -> dict[str, Document]:
    """Return the documents of an Arrow table with the columns ``DOCUMENT``, by id."""
    columns = [rows[name].to_pylist() for name in DOCUMENT]
    return {
        id_: Document(text, title, json.loads(metadata))
        for id_, title, text, metadata in zip(*columns, strict=True)
    }
