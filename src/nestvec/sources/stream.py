"""Vectors of a file as a stream of blocks, checked and collected in bounded memory.

Each reader returns a ``VectorStream``. This module checks the values and collects them. It does not
know any format.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.sample import Draw
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.mapped import map_array, new_embeddings
from nestvec.sources.ids import RowNumbers, check_unique
from nestvec.sources.places import is_url
from nestvec.sources.stored import StoredEmbeddings

REMEDY = "Encode the text again, or remove the vector."
BLOCK_BYTES = 1 << 23  # size of a block of vectors
MAX_BLOCK_ROWS = 16_384
FloatType: TypeAlias = "np.dtype[np.floating[Any]]"
_logger = logging.getLogger(__name__)


class Block(NamedTuple):
    """Consecutive vectors of a file.

    Attributes:
        path: The file.
        start: Row of the first vector in the file.
        ids: The ids, [m]; None if the file stores no ids.
        values: The vectors, numbers [m, dim].
    """

    path: Path | str
    start: int
    ids: Sequence[str] | None
    values: NDArray[Any]


@dataclass(frozen=True, eq=False)
class VectorStream:
    """The vectors of a file or folder, read in blocks.

    Attributes:
        path: The file or folder.
        dtype: float16, or float32 for all other types of numbers.
        read: Reads the blocks from the start. The values need no checks.
        rows: Number of vectors; None if the format does not state the number.
        mapped: All vectors, if the file can be mapped to memory without a copy.
        model: Name of the model of the vectors; "" if it is not recorded.
        numbered: Whether the ids are row numbers, because the file stores no ids.
        zeros_allowed: Whether vectors can be all zeros, because nestvec wrote them and reported
            their number: a static model has no vector for a text of unknown words.
        draw: Lets the database draw a sample; returns the number of all rows, and the sample. None
            if the rows must be read.
    """

    path: Path | str
    dtype: FloatType
    read: Callable[[], Iterator[Block]]
    rows: int | None = None
    mapped: NDArray[np.floating[Any]] | None = None
    model: str = ""
    numbered: bool = False
    zeros_allowed: bool = False
    draw: Callable[[Draw], tuple[int, VectorStream]] | None = None


Writer: TypeAlias = Callable[[Path, Iterator[Block], FloatType], None]
"""Writes all blocks, of values of a type, to a path."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a file contain the ids and the vectors.

    Attributes:
        ids: Name of the column of the ids; None for ``id`` or ``_id``.
        vectors: Name of the column of the vectors; None for ``vector`` or ``embedding``.
        number_rows: Whether to ignore ids and use row numbers.
    """

    ids: str | None = None
    vectors: str | None = None
    number_rows: bool = False

    def __post_init__(self) -> None:
        """Check that the settings do not contradict each other.

        Raises:
            InvalidArgument: If there are both a column of ids and row numbers.
        """
        if self.number_rows and self.ids is not None:
            raise InvalidArgument("id_column and number_rows exclude each other. Pass one of them.")

    def find(
        self, present: Sequence[str], path: Path | str, *, of_vectors: Sequence[str] = ()
    ) -> tuple[str | None, str]:
        """Choose the columns of the ids (None with ``number_rows``) and of the vectors.

        Args:
            present: All columns.
            path: The file, or the URL of a table.
            of_vectors: The columns of a table that contain vectors. If no name is given and no
                column has a default name, the only one of these is chosen.

        Raises:
            DataError: If a column is missing.
        """
        named = "Name the column: nestvec convert SOURCE TARGET"
        vectors = _choose(self.vectors, VECTOR_COLUMNS, present)
        if vectors is None and self.vectors is None and len(of_vectors) == 1:
            (vectors,) = of_vectors
        if vectors is None:
            remedy = f"{named} --vector-column NAME"
            if is_url(path):
                remedy = "Append &vector=COLUMN to the URL."
            raise _missing(path, self.vectors, VECTOR_COLUMNS, present, remedy)
        if self.number_rows:
            return None, vectors
        ids = _choose(self.ids, ID_COLUMNS, present)
        if ids is None:
            remedy = f"{named} --id-column NAME, or use row numbers: --number-rows"
            if is_url(path):
                remedy = "Append &id=COLUMN to the URL."
            raise _missing(path, self.ids, ID_COLUMNS, present, remedy)
        return ids, vectors

    def named_in(self, parameters: Mapping[str, str]) -> Columns:
        """Return the columns that the parameters of a URL name, or else these columns."""
        ids, vectors = parameters.get("id", self.ids), parameters.get("vector", self.vectors)
        return Columns(ids, vectors, self.number_rows)


ID_COLUMNS = ("id", "_id")
VECTOR_COLUMNS = ("vector", "embedding")
ANY_COLUMNS = Columns()


def _choose(wanted: str | None, names: Sequence[str], present: Sequence[str]) -> str | None:
    candidates = names if wanted is None else (wanted,)
    return next((name for name in candidates if name in present), None)


def _missing(
    path: Path | str, wanted: str | None, names: Sequence[str], present: Sequence[str], remedy: str
) -> DataError:
    shown = " or ".join(names) if wanted is None else wanted
    columns = ", ".join(map(str, present))
    return DataError(path, f"has no column {shown} (its columns: {columns}). {remedy}")


def block_rows(dim: int, item_bytes: int = 4) -> int:
    """Return the number of vectors of a block."""
    return max(1, min(MAX_BLOCK_ROWS, BLOCK_BYTES // max(1, dim * item_bytes)))


def float_type(dtype: np.dtype[Any]) -> FloatType:
    """Return the type in which numbers of a type are stored: float16 or float32."""
    return np.dtype(np.float16 if dtype == np.float16 else np.float32)


def array_stream(
    path: Path, values: NDArray[Any], ids: Sequence[str] | None, *, number_rows: bool = False
) -> VectorStream:
    """Return the stream of an array of numbers [n, dim], which may be mapped from a file.

    Args:
        path: The file.
        values: The vectors, of any type of numbers and byte order.
        ids: The ids, [n]; None if there are none.
        number_rows: Whether to use row numbers instead of the ids.
    """
    names = None if number_rows else ids

    def read() -> Iterator[Block]:
        step = block_rows(values.shape[1], values.itemsize)
        for start in range(0, len(values), step):
            end = start + step
            yield Block(path, start, None if names is None else names[start:end], values[start:end])

    dtype = float_type(values.dtype)
    rows_in_order = bool(values.size) and values.strides[1] == values.itemsize
    as_is = values.dtype == dtype and values.dtype.isnative and rows_in_order
    return VectorStream(
        path, dtype, read, len(values), values if as_is else None, numbered=names is None
    )


def checked(stream: VectorStream) -> Iterator[Block]:
    """Yield the blocks of a stream as float16 or float32, with ids, after checking each vector.

    Raises:
        DataError: If a vector is NaN, infinite or zero, or has another dim than the first.
    """
    row, dim = 0, None
    for block in stream.read():
        width = block.values.shape[1]
        dim = width if dim is None else dim
        ids = block.ids
        if stream.numbered or ids is None:
            ids = RowNumbers(range(row, row + len(block.values)))
        if width != dim:
            which = f"the vector of id {ids[0]!r} (row {block.start})"
            problem = f"has {width} numbers, but the first has {dim}"
            raise DataError(block.path, f"{which} {problem}. {REMEDY}")
        with np.errstate(over="ignore"):  # a float64 that float32 cannot store is named below
            values = block.values.astype(stream.dtype, copy=False)
        named = Block(block.path, block.start, ids, values)
        if width:
            _check_values(named, zeros_allowed=stream.zeros_allowed)
        yield named
        row += len(values)


def _check_values(block: Block, *, zeros_allowed: bool) -> None:
    values = block.values.astype(np.float32, copy=False)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", values, values)
    if np.isfinite(squares).all() and squares.all():
        return
    problems = [("has NaN or infinite values", ~np.isfinite(values).all(axis=1))]
    if not zeros_allowed:
        problems.append(("is all zeros, so it has no direction", ~values.any(axis=1)))
    for problem, bad in problems:
        if bad.any():
            at = int(bad.argmax())
            ids = RowNumbers(range(len(values))) if block.ids is None else block.ids
            which = f"the vector of id {ids[at]!r} (row {block.start + at})"
            raise DataError(block.path, f"{which} {problem}. {REMEDY}")


def collect(stream: VectorStream) -> StoredEmbeddings:
    """Read all vectors of a stream into one array, in a temporary file above 1 GiB.

    Raises:
        DataError: If a vector cannot be used, an id appears twice, there are no vectors, or the
            disk is full.
    """
    ids: list[str] = []
    values = stream.mapped
    if values is not None and not values.size:
        raise empty_error(stream.path, values.shape)
    if values is not None:
        for block in checked(stream):
            _add(ids, block, stream)
    elif stream.rows is not None:
        values = _fill(stream, stream.rows, ids)
    else:
        values = _append(stream, ids)
    names: Sequence[str] = RowNumbers(range(len(values))) if stream.numbered else ids
    check_unique(names, stream.path)
    warn_of_numbers(stream, len(values))
    return StoredEmbeddings(stream.path, names, values, stream.model)


def warn_of_numbers(stream: VectorStream, n: int) -> None:
    """Log that the ids are row numbers, if they are."""
    if stream.numbered:
        _logger.warning("%s: no ids are read; the ids are row numbers, 0 to %d", stream.path, n - 1)


def _add(ids: list[str], block: Block, stream: VectorStream) -> None:
    if not stream.numbered and block.ids is not None:
        ids.extend(block.ids)


def _fill(stream: VectorStream, n: int, ids: list[str]) -> NDArray[Any]:
    values: NDArray[Any] = np.empty((0, 0), dtype=stream.dtype)
    done = 0
    for block in checked(stream):
        if not done:
            values = new_embeddings(n, block.values.shape[1], dtype=stream.dtype)
        end = done + len(block.values)
        if end > n:
            break
        values[done:end] = block.values
        _add(ids, block, stream)
        done = end
    if not values.size:
        raise empty_error(stream.path, (n, values.shape[1]))
    if done != n:
        raise DataError(stream.path, f"has {done} vectors, but states {n}. Write the file again.")
    return values


def _append(stream: VectorStream, ids: list[str]) -> NDArray[Any]:
    n, dim = 0, 0
    try:
        with tempfile.TemporaryFile() as file:
            for block in checked(stream):
                np.ascontiguousarray(block.values).tofile(file)
                n, dim = n + len(block.values), block.values.shape[1]
                _add(ids, block, stream)
            if not n * dim:
                raise empty_error(stream.path, (n, dim))
            file.flush()
            return map_array(file, stream.dtype, (n, dim))
    except OSError as error:
        place = tempfile.gettempdir()
        raise DataError(place, f"cannot store the vectors of {stream.path} ({error})") from error


def empty_error(path: Path | str, shape: tuple[int, ...]) -> DataError:
    """Return the error of a file or a table without vectors."""
    return DataError(path, f"is empty: its shape is {list(shape)}.")
