"""Write vectors to files of all supported formats, and convert between formats.

Vectors are written in blocks. The files appear under their names only when they are complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestvec.codec.arrays import as_embeddings
from nestvec.errors import DataError, InvalidArgument, refuse_string
from nestvec.files.atomic import replace_file, replace_files
from nestvec.sources import formats, write_arrays, write_tables
from nestvec.sources.folders import find_vectors
from nestvec.sources.ids import RowNumbers, check_ids, check_unique, ids_file, read_ids, write_ids
from nestvec.sources.load import open_vectors
from nestvec.sources.raw_records import RAW_FORMATS
from nestvec.sources.schemes import is_vectors_url
from nestvec.sources.stream import (
    Block,
    Columns,
    FloatType,
    VectorStream,
    Writer,
    array_stream,
    checked,
    warn_of_numbers,
)
from nestvec.types import Kind, OnProgress

FloatName: TypeAlias = Literal["float16", "float32"]
_WRITERS: Mapping[str, Writer] = {
    formats.NPY: write_arrays.write_npy,
    formats.NPZ: write_arrays.write_npz,
    formats.FAISS: write_arrays.write_faiss,
    "fvecs": write_arrays.write_fvecs,
    "fbin": write_arrays.write_fbin,
    formats.PARQUET: write_tables.write_parquet,
    formats.ARROW: write_tables.write_arrow,
}
_WITHOUT_IDS = (formats.NPY, formats.FAISS, "fvecs", "fbin")
_ONLY_FLOAT32 = (formats.FAISS, "fvecs", "fbin")
TARGETS = (*_WRITERS, formats.JSONL, formats.CSV, formats.HDF5)
"""The formats that can be written."""


@dataclass(frozen=True)
class Saved:
    """What was written.

    Attributes:
        rows: Number of vectors.
        dim: Number of dimensions of each vector.
        dtype: Type of the stored numbers.
        format: The format of the file.
        ids_file: The file of the ids, if the format stores no ids.
        other_kind: The kind of the vectors that the source contains, too, and that were not
            converted.
    """

    rows: int
    dim: int
    dtype: FloatName
    format: str
    ids_file: Path | None = None
    other_kind: Kind | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        values = asdict(self)
        return {**values, "ids_file": None if self.ids_file is None else str(self.ids_file)}


def save_embeddings(
    ids: Sequence[str],
    embeddings: ArrayLike,
    path: Path | str,
    *,
    to: str | None = None,
    dtype: FloatName | None = None,
) -> Saved:
    r"""Write vectors and their ids to a file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "vectors.jsonl"
    >>> save_embeddings(["a"], [[0.5, 1.0]], path).rows
    1
    >>> path.read_text()
    '{"id": "a", "embedding": [0.5, 1]}\n'

    Args:
        ids: [n].
        embeddings: [n, dim], as a model returns them: an array, a tensor or lists.
        path: The file. The suffix determines the format. Files of formats without ids get a second
            file, ``NAME.ids.txt``.
        to: The format, if the suffix does not state it.
        dtype: The type of the stored numbers; by default float16 for float16, otherwise float32.

    Raises:
        InvalidArgument: If the format is unknown, the numbers of ids and rows differ, or an id
            appears twice or cannot be stored.
        DataError: If a vector is NaN, infinite or zero, or the file cannot be written.
        MissingExtra: If the library that writes the format is not installed.
    """
    refuse_string(ids, "ids")
    values, path = as_embeddings(embeddings), Path(path).expanduser()
    if values.ndim != 2 or len(ids) != len(values):
        problem = f"{len(ids)} ids for embeddings of shape {list(values.shape)}"
        raise InvalidArgument(f"{problem}. Pass embeddings [n, dim] and n ids.")
    if len(set(ids)) != len(ids):
        id_ = Counter(ids).most_common(1)[0][0]
        raise InvalidArgument(f"id {id_!r:.80} appears twice. Ids must be unique.")
    name = _target(path, to)
    if name in _WITHOUT_IDS:
        check_ids(ids)
    return _write(array_stream(path, values, ids), path, name, dtype)


def convert_embeddings(  # noqa: PLR0913 - the options are keyword-only
    source: Path | str,
    target: Path | str,
    *,
    to: str | None = None,
    kind: Kind = "document",
    dtype: FloatName | None = None,
    columns: Columns | None = None,
    on_progress: OnProgress | None = None,
) -> Saved:
    """Read vectors from a file or folder and write them to a file of another format.

    Args:
        source: The file, folder or table, as in ``load_embeddings``.
        target: The file to write; the suffix determines the format.
        to: The format of the target, if the suffix does not state it.
        kind: Whether to convert documents or queries, if the source contains both.
        dtype: The type of the stored numbers; by default that of the source.
        columns: The columns of the source.
        on_progress: Called with the number of written vectors and their total, if it is known.

    Raises:
        InvalidArgument: If the format is unknown, the source and the target are the same file, or
            an id cannot be stored.
        DataError: If the source cannot be read or the target cannot be written. An existing target
            is then unchanged.
        MissingExtra: If the library that reads or writes a format is not installed.
    """
    target = Path(target).expanduser()
    file = None if is_vectors_url(source) else Path(source).expanduser()
    if file is not None and file.resolve() == target.resolve():
        raise InvalidArgument(f"{target} is both source and target. Choose another target.")
    name = _target(target, to)
    stream = open_vectors(source, kind=kind, columns=columns or Columns())
    if on_progress is not None:
        stream = _reported(stream, on_progress)
    other: Kind = "query" if kind == "document" else "document"
    saved = _write(stream, target, name, dtype, kind=kind)
    contained = {} if file is None else find_vectors(file)
    return replace(saved, other_kind=other if {kind, other} <= set(contained) else None)


def _target(path: Path, to: str | None) -> str:
    name = formats.format_of_name(path) if to is None else to
    if name == formats.ARROW_STREAM:
        name = formats.ARROW
    if name not in TARGETS:
        given = f"the format {to!r}" if to is not None else f"the suffix of {path.name!r}"
        choices = ", ".join(TARGETS)
        if to is None:
            choices += ", or name the format with --to (in Python: to=...)"
        raise InvalidArgument(f"vectors cannot be written with {given}. Choose one of {choices}.")
    return name


def _reported(stream: VectorStream, on_progress: OnProgress) -> VectorStream:
    def read() -> Iterator[Block]:
        done = 0
        for block in stream.read():
            yield block
            done += len(block.values)
            on_progress(done, max(done, stream.rows or 0))

    return replace(stream, read=read)


class _Counted:
    """Blocks on their way to a writer: cast, counted, and with their ids recorded."""

    def __init__(self, stream: VectorStream, dtype: FloatType) -> None:
        self._stream, self._dtype = stream, dtype
        self._ids: list[str] = []
        self.rows, self.dim = 0, 0

    @property
    def ids(self) -> Sequence[str]:
        return RowNumbers(range(self.rows)) if self._stream.numbered else self._ids

    def blocks(self) -> Iterator[Block]:
        for block in checked(self._stream):
            if not self._stream.numbered and block.ids is not None:
                self._ids.extend(block.ids)
            self.rows, self.dim = self.rows + len(block.values), block.values.shape[1]
            yield block._replace(values=_cast(block, self._dtype))
        if not self.rows * self.dim:
            raise DataError(self._stream.path, f"is empty: its shape is {[self.rows, self.dim]}.")
        check_unique(self.ids, self._stream.path)


def _cast(block: Block, dtype: FloatType) -> NDArray[np.floating[Any]]:
    if block.values.dtype == dtype:
        return block.values
    with np.errstate(over="ignore", under="ignore"):
        values = block.values.astype(dtype)
    for problem, bad in (
        ("has values above 65,504, the limit of float16", ~np.isfinite(values).all(axis=1)),
        ("has only values that float16 rounds to zero", ~values.any(axis=1)),
    ):
        if bad.any():
            at = int(bad.argmax())
            name = "" if block.ids is None else f" of id {block.ids[at]!r}"
            which = f"the vector{name} (row {block.start + at})"
            raise DataError(block.path, f"{which} {problem}. Use float32, or normalize vectors.")
    return values


def _check_shared(path: Path, ids: Sequence[str]) -> None:
    """Check that no other file needs the ids that would be replaced: ``v.npy`` and ``v.fvecs``.

    Raises:
        DataError: If another file without ids has the same name and other ids.
    """
    names = ids_file(path)
    others = sorted(each for each in path.parent.iterdir() if _uses_ids(each, names))
    others = [each for each in others if each.name != path.name]
    if others and names.is_file() and read_ids(names) != list(ids):
        problem = f"contains the ids of {others[0].name}, which differ from those of {path.name}"
        raise DataError(names, f"{problem}. Choose another name for {path.name}.")


def _uses_ids(path: Path, names: Path) -> bool:
    stored_elsewhere = (formats.NPY, formats.FAISS, *RAW_FORMATS)
    return ids_file(path) == names and formats.format_of_name(path) in stored_elsewhere


def _writer(name: str, path: Path, kind: Kind) -> Writer:
    if name == formats.JSONL:
        return write_tables.jsonl_writer(path)
    if name == formats.CSV:
        return write_tables.csv_writer(path)
    return write_arrays.hdf5_writer(kind) if name == formats.HDF5 else _WRITERS[name]


def _write(
    stream: VectorStream,
    path: Path,
    name: str,
    dtype: FloatName | None,
    *,
    kind: Kind = "document",
) -> Saved:
    stored: FloatType = stream.dtype if dtype is None else np.dtype(dtype)
    if name in _ONLY_FLOAT32:
        if dtype == "float16":
            raise InvalidArgument(f"{name} stores float32 only. Choose npy, npz, parquet or arrow.")
        stored = np.dtype(np.float32)
    counted = _Counted(stream, stored)
    writer = _writer(name, path, kind)
    if name not in _WITHOUT_IDS:
        with replace_file(path) as temporary:
            writer(temporary, counted.blocks(), stored)
    else:
        with replace_files(path, ids_file(path)) as (temporary, names):
            writer(temporary, counted.blocks(), stored)
            check_ids(counted.ids)
            _check_shared(path, counted.ids)
            write_ids(names, counted.ids)
    warn_of_numbers(stream, counted.rows)
    return Saved(
        counted.rows,
        counted.dim,
        "float16" if stored == np.float16 else "float32",
        name,
        ids_file(path) if name in _WITHOUT_IDS else None,
    )
