"""The URL of an index in Milvus: its address, its name and the consistency of searches.

``sources.milvus_address`` lists the forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from nestvec.engines.places import check_name
from nestvec.errors import InvalidArgument
from nestvec.sources.milvus_address import DEFAULT_COLLECTION, MilvusAddress, parse_address

LEVELS = {"strong": "Strong", "session": "Session"}
"""The consistency of searches: by the parameter of the URL, the name in Milvus."""
_PARAMETERS = ("collection", "consistency", "tls")


@dataclass(frozen=True)
class Location(MilvusAddress):
    """A parsed URL.

    Attributes:
        name: The name of the index.
        level: The consistency level of searches, as Milvus names it.
    """

    name: str
    level: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL.

        Raises:
            InvalidArgument: If the URL is not one of the forms of an address, or its name or its
                consistency is not valid.
        """
        address, place = parse_address(url, _PARAMETERS)
        own = place.parameters
        name = check_name(own.get("collection", DEFAULT_COLLECTION), "collection")
        level = own.get("consistency", "strong")
        if level not in LEVELS:
            problem = f"consistency={level!r:.40} is not supported."
            raise InvalidArgument(f"{problem} Choose one of: {', '.join(LEVELS)}.")
        return cls(**vars(address), name=name, level=LEVELS[level])
