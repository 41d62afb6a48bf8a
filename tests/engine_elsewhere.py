"""An engine as another package would bring one; nothing is stored in it."""

from __future__ import annotations

from nestvec.engines.engine import Capabilities
from nestvec.errors import DataError


class OurEngine:
    """Refuses every place, as an engine does that cannot reach its server."""

    capabilities = Capabilities(
        frozenset({"float16"}), frozenset({"float16"}), stored=frozenset({"float16"})
    )

    @classmethod
    def open(cls, place: str, *, verify: bool = False) -> OurEngine:
        raise DataError(place, "is not there")
