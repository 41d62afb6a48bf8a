"""The base class of request bodies: optional fields may be null, and unknown fields are refused.

Some clients send null for each optional field that they do not use. Null therefore means that the
field is absent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

_logger = logging.getLogger(__name__)


def _allow_null(schema: dict[str, Any]) -> None:
    """Document in a JSON schema that optional fields may be null."""
    null = {"type": "null"}
    for name, entry in schema.get("properties", {}).items():
        if name in schema.get("required", ()) or null in entry.get("anyOf", ()):
            continue
        notes = {key: entry.pop(key) for key in ("default", "title") if key in entry}
        others = entry.pop("anyOf", None) or [dict(entry)]
        entry.clear()
        entry.update({"anyOf": [*others, null], **notes})


class RequestBody(BaseModel):
    """A request body.

    Attributes:
        ignored_fields: Fields that are ignored, each with the reason.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=_allow_null)

    ignored_fields: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_absent(cls, given: Any) -> Any:
        """Remove optional fields that are null, and ignored fields."""
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        used = {}
        for name, value in given.items():
            if name in cls.ignored_fields:
                report_ignored(name, cls.ignored_fields[name])
            elif value is not None or name not in fields or fields[name].is_required():
                used[name] = value
        return used


@cache
def report_ignored(name: str, reason: str) -> None:
    """Log an ignored field, once per process."""
    _logger.warning("the field %r of a request is ignored: %s", name, reason)
