"""The URL of an index in a Qdrant server.

qdrant://HOST:PORT/COLLECTION?quantization=int8
qdrant+https://HOST:PORT/COLLECTION
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from nestvec.engines.places import check_name
from nestvec.engines.qdrant.indexing import check_quantization
from nestvec.sources.qdrant_address import QdrantAddress, parse_qdrant

_PARAMETERS = ("quantization",)


@dataclass(frozen=True)
class QdrantLocation(QdrantAddress):
    """A parsed URL; ``name`` is the name of the index.

    Attributes:
        quantization: The quantization that the URL requests; "" without one.
    """

    quantization: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL.

        Raises:
            InvalidArgument: If the URL is not one of the forms above, or contains credentials.
        """
        found, place = parse_qdrant(url, _PARAMETERS)
        check_name(found.name, "collection")
        requested = place.parameters.get("quantization")
        chosen = "" if requested is None else check_quantization(requested)
        return cls(**vars(found), quantization=chosen)
