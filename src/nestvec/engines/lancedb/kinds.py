"""The fields of documents and the kinds of their values, read from the tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nestvec.engines.filters.datafusion import TOKENS, has_any
from nestvec.engines.filters.fields import FieldKinds
from nestvec.engines.filters.tokens import field_of, kinds_of
from nestvec.engines.lancedb.opened import OpenTable
from nestvec.engines.lancedb.rows import ID


class FieldReader:
    """Reads the kinds of fields. It knows them until the table changes."""

    def __init__(self, table: OpenTable) -> None:
        """Use an open table."""
        self._table = table
        self._known: dict[str, FieldKinds] = {}
        self._version: tuple[str, int] | None = None

    def kinds(self, fields: Iterable[str]) -> dict[str, FieldKinds]:
        """Return the kinds of values of fields, over all documents."""
        wanted = list(fields)
        return self._table.read(lambda table: self._read(table, wanted))

    def names(self) -> set[str]:
        """Return the fields of all documents."""
        found: set[str] = set()
        for block in self._table.blocks([TOKENS]):
            for token in block[TOKENS].flatten().unique().to_pylist():
                field = field_of(token)
                if field is not None:
                    found.add(field)
        return found

    def _read(self, table: Any, fields: list[str]) -> dict[str, FieldKinds]:
        version = table.name, int(table.version)
        known = self._known if version == self._version else {}
        for field in fields:
            if field not in known:
                known[field] = kinds_of(field, lambda token: _is_present(table, token))
        self._known, self._version = known, version
        return known


def _is_present(table: Any, token: str) -> bool:
    """Return whether a document has a token."""
    return bool(len(table.search().where(has_any([token])).select([ID]).limit(1).to_arrow()))
