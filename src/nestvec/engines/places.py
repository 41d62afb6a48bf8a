"""The URL of an index in a database, and names of tables.

``sources.places`` parses URLs.
"""

from __future__ import annotations

import re

from nestvec.errors import InvalidArgument
from nestvec.sources.places import Place, is_url, shown_place

__all__ = ["Place", "check_name", "is_url", "shown_place"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")


def check_name(name: str, what: str) -> str:
    """Return the name of a table or a collection.

    Raises:
        InvalidArgument: If it is not 1 to 48 ASCII letters, digits and underscores, or begins with
            a digit.
    """
    if not _NAME.fullmatch(name):
        limit = "Use 1 to 48 letters a-z or A-Z, digits and underscores, a digit not first."
        raise InvalidArgument(f"{what} {name!r:.60} is not a valid name. {limit}")
    return name
