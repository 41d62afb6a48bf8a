"""Read vectors of points of Qdrant that other programs wrote.

``qdrant-edge:///folder?vector=NAME`` names the folder of a shard of Qdrant Edge, and
``qdrant://host:port/collection?vector=NAME`` a collection of a server. The points are read in the
order of their ids. The ids are those of the points, or a field of the payload (``id=FIELD``).

An index of nestvec can be read, too: its vectors are named ``full``, and its ids are in the field
``id`` of the payload.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import (
    DataError,
    IndexLocked,
    InvalidArgument,
    first_line,
    require,
)
from nestvec.sources.ids import as_id
from nestvec.sources.places import COLUMN_PARAMETERS, Place
from nestvec.sources.qdrant_address import QdrantAddress, parse_qdrant
from nestvec.sources.qdrant_connection import QdrantServerConnection
from nestvec.sources.stream import REMEDY, Block, Columns, VectorStream

_BLOCK = 1_024  # points that are read at a time
_SHARD, _RECORD = "shard", "nestvec.json"  # the files of an index of nestvec
_CONFIG = "edge_config.json"
_INDEX, _INDEX_KEY = Columns("id", "full"), "nestvec"
_UNNAMED = ""  # the name of the only vector of points without named vectors
_Scroll: TypeAlias = Callable[[Any, "list[str]", "list[str] | bool"], tuple[Sequence[Any], Any]]


class _OpenPoints(NamedTuple):
    """Points that are open for reading.

    Attributes:
        shown: The URL, for messages.
        names: The names of the dense vectors.
        is_index: Whether nestvec created them.
        scroll: Returns points after an offset (None for the first) and the next offset (None at the
            end), with some fields of the payload and some vectors.
    """

    shown: str
    names: Sequence[str]
    is_index: bool
    scroll: _Scroll


def open_qdrant_edge(url: str, columns: Columns) -> VectorStream:
    """Open the folder of a shard of Qdrant Edge, while no other program uses it.

    Edge changes files of its own when a folder is opened. Points are not changed.

    Args:
        url: The URL with the parameters ``vector`` and ``id``.
        columns: The name of the vector, and the field of the ids, if the URL does not name them.

    Raises:
        InvalidArgument: If the URL names no folder, or has an unknown parameter.
        DataError: If there is no such folder or vector, or it cannot be opened.
        IndexLocked: If another program has opened it.
        MissingExtra: If Qdrant Edge is not installed.
    """
    place = Place.parse(url, COLUMN_PARAMETERS)
    path = url.partition("?")[0].partition("://")[2]
    if "?" in place.url or not Path(path).name:
        problem = "the URL names no folder, or has an unknown parameter."
        raise InvalidArgument(f"{problem} Write qdrant-edge://FOLDER?vector=NAME.")
    return _stream(partial(_edge, Path(path), place.shown), columns.named_in(place.parameters))


def open_qdrant(url: str, columns: Columns) -> VectorStream:
    """Open a collection of a server.

    Args:
        url: The URL with the parameters ``vector`` and ``id``.
        columns: The name of the vector, and the field of the ids, if the URL does not name them.

    Raises:
        InvalidArgument: If the URL names no server or no collection, or contains credentials.
        DataError: If the server cannot be reached, or there is no such collection or vector.
        MissingExtra: If qdrant-client is not installed.
    """
    address, place = parse_qdrant(url, COLUMN_PARAMETERS)
    return _stream(partial(_server, address), columns.named_in(place.parameters))


def _stream(
    opened: Callable[[], AbstractContextManager[_OpenPoints]], columns: Columns
) -> VectorStream:
    with opened() as points:
        if points.is_index and columns.ids is None and not columns.number_rows:
            columns = replace(columns, ids=_INDEX.ids)
        if points.is_index and columns.vectors is None:
            columns = replace(columns, vectors=_INDEX.vectors)
        names, shown = list(points.names), points.shown
        anything = replace(columns, ids=None, number_rows=True)
        _, vector = anything.find(names, shown, of_vectors=names)

    def read() -> Iterator[Block]:
        with opened() as points:
            yield from _blocks(points, vector, columns)

    return VectorStream(shown, np.dtype(np.float32), read, numbered=columns.number_rows)


def _blocks(points: _OpenPoints, vector: str, columns: Columns) -> Iterator[Block]:
    fields = [] if columns.ids is None else [columns.ids]
    wanted: list[str] | bool = [vector] if vector != _UNNAMED else True
    offset, start, dim = None, 0, 0
    while True:
        found, offset = points.scroll(offset, fields, wanted)
        if found:
            ids = None
            if not columns.number_rows:
                ids = [
                    as_id(_id_of(point, columns.ids), points.shown, start + row)
                    for row, point in enumerate(found)
                ]
            values = _matrix(found, vector, dim, points.shown)
            yield Block(points.shown, start, ids, values)
            start, dim = start + len(found), values.shape[1]
        if offset is None:
            return


def _id_of(point: Any, field: str | None) -> Any:
    return str(point.id) if field is None else (point.payload or {}).get(field)


def _matrix(points: Sequence[Any], vector: str, dim: int, shown: str) -> NDArray[np.floating[Any]]:
    """Return the vectors of points, float32 [n, dim].

    Raises:
        DataError: If a point has no such vector, or several vectors of this name.
    """
    rows = []
    for point in points:
        stored = point.vector
        row = stored.get(vector) if isinstance(stored, Mapping) else stored
        dim = dim or len(row or ())
        if not row or isinstance(row[0], Sequence) or len(row) != dim:
            problem = "is missing" if not row else "is not one vector of the width of the first"
            raise DataError(shown, f"the vector of point {point.id} {problem}. {REMEDY}")
        rows.append(row)
    return np.array(rows, dtype=np.float32)


@contextmanager
def _edge(folder: Path, shown: str) -> Iterator[_OpenPoints]:
    library: Any = require("qdrant_edge", extra="qdrant")
    is_index = (folder / _RECORD).is_file()
    place = folder / _SHARD if is_index else folder
    if not (place / _CONFIG).is_file():  # Edge would create files in the folder
        raise DataError(shown, f"is no shard of Qdrant Edge: {place} contains no {_CONFIG}.")
    shard = _load(library, place, shown)

    def scroll(
        offset: Any, fields: list[str], vectors: list[str] | bool
    ) -> tuple[Sequence[Any], Any]:
        request = library.ScrollRequest(
            offset=offset, limit=_BLOCK, with_payload=fields or False, with_vector=vectors
        )
        try:
            points, following = shard.scroll(request)
        except Exception as error:  # Edge raises no narrower type
            raise DataError(shown, f"Qdrant Edge: {first_line(error)}") from None
        return points, following

    try:
        yield _OpenPoints(shown, _edge_names(place / _CONFIG), is_index, scroll)
    finally:
        with suppress(Exception):
            shard.close()


def _load(library: Any, place: Path, shown: str) -> Any:
    try:
        return library.EdgeShard.load(str(place), None)
    except Exception as error:  # Edge raises no narrower type
        text = first_line(error)
        if "WouldBlock" in text:
            problem = "is open in a program. Close the folder there, or wait."
            raise IndexLocked(shown, problem) from None
        raise DataError(shown, f"cannot be opened ({text}).") from None


def _edge_names(file: Path) -> list[str]:
    """Return the names of the dense vectors that a configuration of Edge lists."""
    try:
        vectors = json.loads(file.read_text(encoding="utf-8"))["vectors"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(file, f"cannot be read ({error!r}).") from error
    return list(vectors)


@contextmanager
def _server(address: QdrantAddress) -> Iterator[_OpenPoints]:
    with closing(QdrantServerConnection(address)) as connection:
        info = connection.info(address.name)
        if info is None:
            names = [each.name for each in connection.call("get_collections").collections]
            listed = ", ".join(sorted(names)) or "none"
            problem = f"there is no collection {address.name} (collections: {listed})."
            raise DataError(address.shown, problem)

        def scroll(
            offset: Any, fields: list[str], vectors: list[str] | bool
        ) -> tuple[Sequence[Any], Any]:
            points, following = connection.call(
                "scroll",
                address.name,
                limit=_BLOCK,
                offset=offset,
                with_payload=fields or False,
                with_vectors=vectors,
            )
            return points, following

        stored = info.config.params.vectors
        names = list(stored) if isinstance(stored, Mapping) else [_UNNAMED] if stored else []
        is_index = _INDEX_KEY in (getattr(info.config, "metadata", None) or {})
        yield _OpenPoints(address.shown, names, is_index, scroll)
