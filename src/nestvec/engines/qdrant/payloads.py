"""Documents as points of Qdrant.

Qdrant identifies a point by a UUID. That of a document is derived from its id by SHA-256. The
payload has the id itself, and each change compares it, so that two ids of one UUID are detected.

The payload has the whole document as JSON text, because a payload cannot contain every text and
every number of a document. ``filters.qdrant`` encodes the metadata that filters test.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from nestvec.engines.filters.qdrant import encoded
from nestvec.errors import InvalidArgument
from nestvec.types import Document

ID, DOCUMENT = "id", "document"
"""Keys of the payload."""


def point_id(id_: str) -> str:
    """Return the UUID of a document's id."""
    digest = hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()
    return str(uuid.UUID(bytes=digest[:16]))


def payload(id_: str, document: Document) -> dict[str, Any]:
    """Return the payload of a document.

    Raises:
        InvalidArgument: If the id contains half of a surrogate pair, which no UTF-8 text has.
    """
    try:
        id_.encode()
    except UnicodeEncodeError:
        problem = f"id {id_!r:.60} contains half of a surrogate pair, which Qdrant cannot store."
        raise InvalidArgument(f"{problem} Rename the document.") from None
    text = json.dumps([document.title, document.text, dict(document.metadata)])
    return {ID: id_, DOCUMENT: text, **encoded(document.metadata)}


def read_document(stored: dict[str, Any]) -> Document:
    """Return the document of a payload."""
    title, text, metadata = json.loads(stored[DOCUMENT])
    return Document(text, title, metadata)
