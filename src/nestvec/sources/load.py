"""Read vectors from files of all formats, folders of shards, and databases.

``docs/vectors.md`` lists the formats. The content of a file determines its reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from nestvec.curve.sample import Draw
from nestvec.errors import DataError
from nestvec.sources import formats
from nestvec.sources.arrow_files import open_arrow, open_parquet_vectors
from nestvec.sources.faiss_files import open_faiss
from nestvec.sources.folders import NOUNS, STEMS, find_vectors
from nestvec.sources.hdf5_files import open_hdf5
from nestvec.sources.model_name import read_model_name
from nestvec.sources.npy_files import open_npy, open_npz
from nestvec.sources.openai_batch import read_openai_batch
from nestvec.sources.raw_records import RAW_FORMATS, open_raw
from nestvec.sources.sampling import collect_sample
from nestvec.sources.schemes import is_vectors_url, open_url
from nestvec.sources.shards import open_folder
from nestvec.sources.stored import StoredEmbeddings
from nestvec.sources.stream import Columns, VectorStream, array_stream, collect
from nestvec.sources.text_rows import first_row, is_batch_answer, open_csv, open_jsonl
from nestvec.types import Kind

_OPENERS: Mapping[str, Callable[[Path, Columns], VectorStream]] = {
    formats.NPY: open_npy,
    formats.NPZ: open_npz,
    formats.PARQUET: open_parquet_vectors,
    formats.ARROW: open_arrow,
    formats.ARROW_STREAM: open_arrow,
    formats.CSV: open_csv,
    formats.FAISS: open_faiss,
}


def load_embeddings(  # noqa: PLR0913 - the options are keyword-only
    path: Path | str,
    *,
    kind: Kind = "document",
    id_column: str | None = None,
    vector_column: str | None = None,
    number_rows: bool = False,
    sample: int | None = None,
    seed: int = 0,
) -> StoredEmbeddings:
    """Read vectors and their ids from a file, a folder or a database.

    The vectors are read in blocks. Vectors of more than 1 GiB are stored in a temporary file; a
    ``.npy`` file of float16 or float32 is mapped to memory instead.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "vectors.jsonl"
    >>> path.write_text('{"id": "a", "embedding": [0.5, 1]}')
    34
    >>> vectors = load_embeddings(path)
    >>> vectors.ids, vectors.values.tolist()
    (['a'], [[0.5, 1.0]])

    Args:
        path: A file: ``.npy``, ``.npz``, Parquet, Arrow, JSON Lines, OpenAI batch answers, CSV,
            HDF5, ``.fvecs``, ``.bvecs``, ``.ivecs``, ``.fbin``, ``.u8bin`` or a flat FAISS index.
            Or a folder: with files ``corpus.*`` and ``queries.*``, or with shards. Or the URL of a
            database or of object storage, such as
            ``postgresql://HOST/DATABASE?table=TABLE&id=COLUMN&vector=COLUMN``.
        kind: Whether to read documents or queries, if the file or folder can contain both.
        id_column: Column of the ids; by default ``id`` or ``_id``.
        vector_column: Column of the vectors; by default ``vector`` or ``embedding``.
        number_rows: Whether to use row numbers as ids instead of a column.
        sample: Number of rows to return, chosen at random; None for all rows. The sample depends
            on the ids and the seed, not on the order of the rows, and is sorted by id.
        seed: Seed of the sample.

    Returns:
        The ids [n] and the vectors [n, dim]: float16 if stored as float16, otherwise float32.
        ``sample`` of the result has the number of all rows.

    Raises:
        DataError: If the file cannot be read, an id is missing or appears twice, or a vector is
            missing, NaN, infinite, zero, or has another dim than the first.
        InvalidArgument: If there are both ``id_column`` and ``number_rows``, or ``sample`` is below
            1.
        MissingExtra: If the library that reads the format is not installed.
    """
    columns = Columns(id_column, vector_column, number_rows)
    stream = open_vectors(path, kind=kind, columns=columns)
    return collect(stream) if sample is None else collect_sample(stream, Draw(sample, seed))


def open_vectors(path: Path | str, *, kind: Kind = "document", columns: Columns) -> VectorStream:
    """Open a file, a folder or a table of vectors; no vector is checked before it is read.

    Raises:
        DataError: As ``load_embeddings``, for problems in the first bytes or the schema.
        MissingExtra: If the library that reads the format is not installed.
    """
    if isinstance(path, str) and is_vectors_url(path):
        return open_url(path, columns)
    path = Path(path).expanduser()
    if not path.is_dir():
        return _open_file(path, kind, columns)
    found = find_vectors(path)
    if kind not in found:
        problem = f"contains no vectors of {NOUNS[kind]}"
        raise DataError(path, f"{problem}: neither {STEMS[kind]}.* nor a folder {STEMS[kind]}")
    place = found[kind]
    stream = open_folder(place, columns) if place.is_dir() else _open_file(place, kind, columns)
    return stream if stream.model else replace(stream, model=read_model_name(path))


def _open_file(path: Path, kind: Kind, columns: Columns) -> VectorStream:
    name = formats.detect_format(path)
    if name == formats.HDF5:
        return open_hdf5(path, columns, kind)
    if name in RAW_FORMATS:
        return open_raw(path, name, columns)
    if name == formats.JSONL:
        return _open_json_lines(path, columns)
    return _OPENERS[name](path, columns)


def _open_json_lines(path: Path, columns: Columns) -> VectorStream:
    """Open JSON Lines, which can be the answers of a batch of the OpenAI API."""
    if not is_batch_answer(first_row(path, is_csv=False)):
        return open_jsonl(path, columns)
    stored = read_openai_batch(path)
    stream = array_stream(path, np.asarray(stored.values), stored.ids)
    return replace(stream, model=stored.model)
