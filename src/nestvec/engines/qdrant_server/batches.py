"""Split changes and queries so that no request is larger than a server accepts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
REQUEST_BYTES = 24_000_000
"""Largest body of a request; a server accepts 32 MB by default."""
_FLOAT_BYTES = 25
"""Longest text of a float in a list, with its comma."""


def batches(items: Iterable[Item], limit: int = REQUEST_BYTES) -> Iterator[list[Item]]:
    """Yield items in their order, in as few lists as the limit permits.

    An item that is larger than the limit is alone in its list.

    Args:
        items: The bodies of the items.
        limit: The largest size of the JSON text of one list, in bytes.
    """
    batch: list[Item] = []
    size = 0
    for item in items:
        own = json_bytes(item) + 1
        if batch and size + own > limit:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += own
    if batch:
        yield batch


def json_bytes(value: Any) -> int:
    """Return at least the bytes of a JSON text; vectors are not converted for it."""
    if isinstance(value, dict):
        return 2 + sum(json_bytes(key) + json_bytes(each) + 2 for key, each in value.items())
    if isinstance(value, list):
        if value and isinstance(value[0], float):
            return 2 + _FLOAT_BYTES * len(value)
        return 2 + sum(json_bytes(each) + 1 for each in value)
    return len(json.dumps(value))
