"""The fields of documents and the kinds of their values, read from the terms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nestvec.engines.filters.datafusion import TERMS, has_any
from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.engines.filters.terms import KINDS, field_of, item_kind_term, kind_term
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
        for block in self._table.blocks([TERMS]):
            for term in block[TERMS].flatten().unique().to_pylist():
                field = field_of(term)
                if field is not None:
                    found.add(field)
        return found

    def _read(self, table: Any, fields: list[str]) -> dict[str, FieldKinds]:
        version = table.name, int(table.version)
        known = self._known if version == self._version else {}
        for field in fields:
            if field not in known:
                values = _kinds(table, [kind_term(field, kind) for kind in KINDS])
                items = Kinds.NONE
                if Kinds.LIST in values:
                    items = _kinds(table, [item_kind_term(field, kind) for kind in KINDS])
                known[field] = FieldKinds(values, items)
        self._known, self._version = known, version
        return known


def _kinds(table: Any, terms: list[str]) -> Kinds:
    """Return the kinds whose terms a document has."""
    found = Kinds.NONE
    for kind, term in zip(KINDS, terms, strict=True):
        if len(table.search().where(has_any([term])).select([ID]).limit(1).to_arrow()):
            found |= kind
    return found
