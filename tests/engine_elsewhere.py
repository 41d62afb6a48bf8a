"""An engine of another package, which stores nothing."""

from __future__ import annotations

from nestvec.engines.engine import Capabilities
from nestvec.errors import DataError


class OurEngine:
    """Raises an error for every place, like an engine that cannot reach its server."""

    capabilities = Capabilities(
        frozenset({"float16"}), frozenset({"float16"}), stored=frozenset({"float16"})
    )

    @classmethod
    def open(cls, place: str, *, verify: bool = False) -> OurEngine:
        raise DataError(place, "is not there")
