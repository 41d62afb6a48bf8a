"""Open the two sides of a comparison, and read what is known about each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.quantizer import code_bytes
from nestvec.errors import InvalidArgument
from nestvec.models.differences import same_model
from nestvec.operate.live.database import LiveDatabase, TableSearch
from nestvec.operate.live.indexes import LiveIndex
from nestvec.operate.live.opening import open_live
from nestvec.sources.places import shown_place
from nestvec.types import Encoder, ModelInfo

_EXAMPLES = 3
_TITLE = 200  # most characters of a title
_NO_INDEX = "the place is not an index of nestvec"
_OTHER_POINT = "the index stores the codes of another operating point"


@dataclass(frozen=True)
class SearchedPlace:
    """A search to compare.

    Attributes:
        place: The path or URL of an index, or the URL of a table of PostgreSQL.
        search: How a table is searched; an index uses only ``search.point``.
        model: The model of queries that are texts; None for the recorded model of an index.
    """

    place: Path | str
    search: TableSearch = field(default_factory=TableSearch)
    model: Encoder | None = None


class Sizes(NamedTuple):
    """Bytes per document, in memory and on disk; None with the reason if they are unknown."""

    ram: float | None
    disk: float | None
    unknown: str


@contextmanager
def open_both(
    old: SearchedPlace, new: SearchedPlace
) -> Iterator[tuple[LiveDatabase, LiveDatabase]]:
    """Open both sides. An index that is compared with itself is opened once.

    Raises:
        DataError: If there is no index and no table at a place.
        InvalidArgument: If both sides are the same search.
    """
    same = str(old.place) == str(new.place)
    if same and (old.search, old.model) == (new.search, new.model):
        problem = f"OLD and NEW are the same search of {shown_place(old.place)}."
        remedy = 'Pass another index, or another operating point: --new-point "128:int8".'
        raise InvalidArgument(f"{problem} {remedy}")
    with ExitStack() as stack:
        before = stack.enter_context(open_live(old.place, old.search, old.model))
        only_point = new.search == TableSearch(point=new.search.point)
        if same and isinstance(before, LiveIndex) and only_point:
            yield before, LiveIndex(before.engine, new.search.point, new.model or old.model)
            return
        yield before, stack.enter_context(open_live(new.place, new.search, new.model))


def same_engine(old: LiveDatabase, new: LiveDatabase) -> bool:
    """Return whether both sides search the same open index."""
    return isinstance(old, LiveIndex) and isinstance(new, LiveIndex) and old.engine is new.engine


def check_vectors(old: LiveDatabase, new: LiveDatabase, what: str) -> None:
    """Check that both sides can be searched with the same vectors.

    Args:
        old: The side OLD.
        new: The side NEW.
        what: What the vectors are, for the message.

    Raises:
        InvalidArgument: If the width, the metric or the model differs.
    """
    models = [model_of(side) for side in (old, new)]
    known = [each for each in models if each is not None]
    problem = ""
    if old.dim != new.dim:
        problem = f"OLD has {old.dim} dims and NEW has {new.dim}"
    elif old.metric != new.metric:
        problem = f"OLD is searched by {old.metric} and NEW by {new.metric}"
    elif len(known) == len(models) and not same_model(*known):
        problem = f"OLD contains vectors of {known[0].identity}, and NEW those of "
        problem += known[1].identity
    if problem:
        remedy = "Pass a log of texts: --queries LOG."
        raise InvalidArgument(f"{problem}, so {what} cannot search both. {remedy}")


def model_of(side: LiveDatabase) -> ModelInfo | None:
    """Return the model of the stored vectors; None for a table, which records none."""
    return side.engine.manifest.model if isinstance(side, LiveIndex) else None


def sizes_of(side: LiveDatabase) -> Sizes:
    """Return the bytes per document of an index."""
    if not isinstance(side, LiveIndex):
        return Sizes(None, None, _NO_INDEX)
    engine, point = side.engine, side.path.point
    if point is None or point == engine.manifest.point:
        found = engine.bytes()
        return Sizes(found.ram_per_vector, found.disk_per_vector, "")
    if not engine.capabilities.any_point:
        return Sizes(None, None, _OTHER_POINT)
    return Sizes(float(code_bytes(*point.stages[0].representation)), None, _OTHER_POINT)


def titles_of(sides: Sequence[LiveDatabase], ids: Sequence[str]) -> dict[str, str]:
    """Return titles, or beginnings of texts, by id; documents without a text are left out."""
    found: dict[str, str] = {}
    for side in sides:
        missing = [id_ for id_ in ids if id_ not in found]
        if not (isinstance(side, LiveIndex) and missing):
            continue
        for id_, document in side.engine.get(missing).items():
            text = " ".join((document.title or document.text).split())
            if text:
                found[id_] = text if len(text) <= _TITLE else f"{text[:_TITLE]}…"
    return found


class DocumentIds:
    """The ids of all documents of one side, as sorted 64-bit hashes: 8 bytes a document."""

    def __init__(self, side: LiveDatabase) -> None:
        """Read the ids."""
        self._side = side
        self._hashes: NDArray[np.int64] = np.sort(
            np.fromiter((hash(id_) for id_ in side.ids()), dtype=np.int64)
        )

    def __len__(self) -> int:
        """Count the documents."""
        return len(self._hashes)

    def __contains__(self, id_: object) -> bool:
        """Return whether there is a document with this id."""
        place = int(np.searchsorted(self._hashes, hash(id_)))
        return place < len(self._hashes) and int(self._hashes[place]) == hash(id_)

    def missing_from(self, other: DocumentIds) -> tuple[int, tuple[str, ...]]:
        """Return how many of these documents another side does not contain, and a few ids."""
        count = int((~np.isin(self._hashes, other._hashes)).sum())
        if not count:
            return 0, ()
        missing = (id_ for id_ in self._side.ids() if id_ not in other)
        return count, tuple(islice(missing, _EXAMPLES))
