"""Documents as rows of a PostgreSQL table.

The columns are for people: title, text and metadata. PostgreSQL cannot store the character U+0000,
and ``jsonb`` does not distinguish large floats from integers. The column ``original`` then has the
whole document as JSON; it is NULL for all others.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from nestvec.errors import InvalidArgument
from nestvec.types import Document, MetadataValue

_LARGEST = 1e16  # jsonb writes larger floats without a decimal point


class DocumentRow(NamedTuple):
    """The columns of a document: JSON texts, except ``title`` and ``text``."""

    title: str
    text: str
    metadata: str
    original: str | None

    @classmethod
    def of(cls, document: Document) -> DocumentRow:
        """Return the row of a document."""
        metadata = dict(document.metadata)
        whole = json.dumps([document.title, document.text, metadata])
        plain = "\\u0000" not in whole and not any(map(_is_large, metadata.values()))
        values = json.dumps(metadata)
        if plain:
            return cls(document.title, document.text, values, None)
        title, text, values = (
            each.replace("\0", "�") for each in (document.title, document.text, values)
        )
        return cls(title, text, values.replace("\\u0000", "\\ufffd"), whole)

    @classmethod
    def read(cls, title: str, text: str, metadata: Any, original: str | None) -> Document:
        """Return the document of a row, whose metadata the client has parsed."""
        if original is not None:
            title, text, metadata = json.loads(original)
        return Document(text, title, metadata)


def check_ids(ids: list[str]) -> list[str]:
    """Return ids that PostgreSQL can store.

    Raises:
        InvalidArgument: If an id contains the character U+0000.
    """
    for id_ in ids:
        if "\0" in id_:
            problem = f"id {id_!r:.60} contains U+0000, which PostgreSQL cannot store."
            raise InvalidArgument(f"{problem} Rename the document.")
    return ids


def _is_large(value: MetadataValue) -> bool:
    items = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(item, float) and abs(item) >= _LARGEST for item in items)
