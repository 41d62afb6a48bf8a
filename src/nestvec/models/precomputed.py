"""Folders of precomputed vectors, looked up by id: ``.npy`` files with ids, or Parquet.

A folder contains ``corpus.npy`` and ``corpus.ids.txt`` (one id per line), and optionally
``queries.npy`` and ``queries.ids.txt``. Alternatively it contains ``corpus.parquet`` and
``queries.parquet`` with a column ``id`` or ``_id`` and a column ``vector`` or ``embedding``. Other
columns are not read. Without a model, texts cannot be encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestvec.codec.arrays import as_embeddings
from nestvec.errors import DataError, InvalidArgument, ModelError, refuse_string
from nestvec.files.atomic import replace_files
from nestvec.models.base import BaseEncoder
from nestvec.models.folder_config import configured_dims
from nestvec.models.info import choose_dims, published_facts
from nestvec.models.known import Rows
from nestvec.models.model_of_vectors import model_of_vectors
from nestvec.models.parquet_vectors import REMEDY, read_parquet_vectors
from nestvec.sources.model_name import VECTORS_FILE, read_model_name, write_model_name
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress

_STEMS: Mapping[Kind, str] = {"document": "corpus", "query": "queries"}
_CHUNK = 16_384  # rows checked at a time, so that a mapped file can be larger than memory


def check_ids(ids: Iterable[str]) -> None:
    """Check that each id can be written on one line.

    Raises:
        InvalidArgument: If an id is empty or contains a line break.
    """
    for name in ids:
        if not name or "\n" in name or "\r" in name:
            raise InvalidArgument(f"id {name!r} is empty or has a line break. Choose another id.")


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Write ids, one per line; call ``check_ids`` first."""
    path.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8", newline="\n")


def read_ids(path: Path) -> list[str]:
    """Read ids, one per line.

    Raises:
        DataError: If the file is missing or not UTF-8, or a line is empty.
    """
    try:
        with path.open(encoding="utf-8") as file:
            ids = [line.rstrip("\n") for line in file]
    except FileNotFoundError as error:
        raise DataError(path, "is missing. It lists the ids of the rows, one per line.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"cannot be read as UTF-8 ({error})") from error
    if "" in ids:
        raise DataError(path, "has an empty line instead of an id", line=ids.index("") + 1)
    return ids


@dataclass(frozen=True)
class _Vectors:
    """Checked vectors of one kind; ``rows`` maps each id to its row in ``values``."""

    path: Path
    rows: Mapping[str, int]
    values: NDArray[np.floating[Any]]

    def chunks(self) -> Iterator[Embeddings]:
        for start in range(0, len(self.values), _CHUNK):
            yield self.values[start : start + _CHUNK].astype(np.float32)


class PrecomputedVectors(BaseEncoder):
    """Precomputed vectors, accepted in place of a model."""

    def __init__(
        self, info: ModelInfo, vectors: Mapping[Kind, _Vectors], *, model_name: str = ""
    ) -> None:
        """Store checked vectors; use ``load`` to open a folder."""
        self._info = info
        self._vectors = vectors
        self._model_name = model_name

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        model: str | None = None,
        dims: tuple[int, ...] | None = None,
        models: Rows | None = None,
    ) -> PrecomputedVectors:
        """Open a folder of vectors and check every row.

        Args:
            folder: The folder; ``.npy`` files are memory-mapped.
            model: Name of the model of the vectors; by default the name that the folder records,
                else the name of the folder.
            dims: Dims to measure.
            models: Rows that take precedence over the table of known models.

        Raises:
            DataError: If a file is damaged, a row is NaN, infinite or zero, or the numbers of ids
                and rows differ.
            InvalidArgument: If a requested dim is larger than full_dim, or the vectors must not be
                truncated.
            ModelError: If ``config.json`` in the folder is not JSON or has impossible dims.
            MissingExtra: If a Parquet file needs ``pyarrow`` and it is not installed.
        """
        vectors = {
            kind: _open(folder, stem) for kind, stem in _STEMS.items() if _files(folder, stem)
        }
        if not vectors:
            raise DataError(folder, "contains neither corpus.npy nor corpus.parquet")
        widths = {kind: found.values.shape[1] for kind, found in vectors.items()}
        full_dim, *others = set(widths.values())
        if others:
            both = f"corpus {widths['document']}, queries {widths['query']}"
            raise DataError(
                folder, f"has vectors of different dims ({both}). Use one model for both."
            )
        # Adding queries later must not change the fingerprint, so only the corpus counts if there
        # is one.
        fingerprint = _fingerprint(vectors.get("document") or vectors["query"])
        recorded = read_model_name(folder)
        name, row = model_of_vectors(
            folder, full_dim, stated=model, recorded=recorded, models=models
        )
        configured = configured_dims(folder)
        chosen = choose_dims(full_dim, requested=dims, configured=configured, known=row)
        info = ModelInfo(
            name=str(folder),
            fingerprint=fingerprint,
            full_dim=full_dim,
            dims=chosen.dims,
            dims_source=chosen.source,
            dims_trained=chosen.trained,
            **published_facts(configured, row),
        )
        return cls(info, vectors, model_name=name)

    @property
    def info(self) -> ModelInfo:
        """Information about the model of the vectors."""
        return self._info

    @property
    def model_name(self) -> str:
        """Name of the model that computed the vectors; "" if it is not known."""
        return self._model_name

    def ids(self, kind: Kind) -> list[str]:
        """Return the ids of a kind in file order; an empty list without a file."""
        return list(self._vectors[kind].rows) if kind in self._vectors else []

    def check(self, ids: Sequence[str], *, kind: Kind) -> None:
        """Check that each id has a vector.

        Raises:
            DataError: If an id has no vector.
        """
        if kind not in self._vectors:
            raise DataError(self._info.name, f"contains no {_STEMS[kind]} vectors")
        found = self._vectors[kind]
        missing = [name for name in ids if name not in found.rows]
        if missing:
            count = f"{len(missing)} of {len(ids)} ids have no vector"
            problem = f"{count}, the first is {missing[0]!r}. Add the vectors, or remove these ids."
            raise DataError(found.path, problem)

    def take(self, ids: Sequence[str], *, kind: Kind) -> Embeddings:
        """Return the vectors of ids, in the given order, float32 [n, full_dim].

        Raises:
            DataError: If an id has no vector.
        """
        self.check(ids, kind=kind)
        found = self._vectors[kind]
        rows = np.fromiter((found.rows[name] for name in ids), dtype=np.int64, count=len(ids))
        return found.values[rows].astype(np.float32)

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Raise an error: there is no model.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            f"{self._info.name}: contains vectors and no model, so it cannot encode texts. "
            "Use the model of the vectors."
        )

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Return 0: it is unknown which texts were truncated."""
        return 0


def has_vectors(folder: Path) -> bool:
    """Return whether a folder contains precomputed vectors."""
    return any(_files(folder, stem) for stem in _STEMS.values())


def save_vectors(
    ids: Sequence[str],
    embeddings: ArrayLike,
    folder: Path | str,
    *,
    kind: Kind,
    model: str | None = None,
) -> None:
    """Write the vectors of a kind, and their ids, to a folder of vectors.

    Args:
        ids: [n].
        embeddings: [n, full_dim], as the model returns them: an array, a tensor or lists.
        folder: The folder; files of the other kind stay as they are.
        kind: "document" or "query".
        model: Name of the model that computed the vectors, such as "text-embedding-3-large". The
            folder records the name, so that the trained dims of a known model are known later.

    Raises:
        InvalidArgument: If the numbers of ids and rows differ, an id is empty, has a line break
            or appears twice, or the folder records another model.
        DataError: If the folder cannot be written.
    """
    refuse_string(ids, "ids")
    vectors_of_ids, folder = as_embeddings(embeddings), Path(folder)
    if vectors_of_ids.ndim != 2 or len(ids) != len(vectors_of_ids):
        shape = list(vectors_of_ids.shape)
        raise InvalidArgument(f"{len(ids)} ids for embeddings of shape {shape}")
    check_ids(ids)
    if len(set(ids)) != len(ids):
        raise InvalidArgument("An id appears twice. Ids must be unique.")
    stem = _STEMS[kind]
    targets = [folder / f"{stem}.npy", folder / f"{stem}.ids.txt"]
    if model is not None:
        _check_recorded(folder, model)
        targets.append(folder / VECTORS_FILE)
    with replace_files(*targets) as (vectors, names, *description):
        with vectors.open("wb") as file:
            np.save(file, vectors_of_ids.astype(np.float32, copy=False), allow_pickle=False)
        write_ids(names, ids)
        for described in description:
            write_model_name(described, model or "")


def _check_recorded(folder: Path, model: str) -> None:
    recorded = read_model_name(folder)
    if recorded not in ("", model):
        raise InvalidArgument(
            f"{folder} records vectors of {recorded}, not of {model}. Write to another folder."
        )


def _files(folder: Path, stem: str) -> list[Path]:
    return [file for file in (folder / f"{stem}.npy", folder / f"{stem}.parquet") if file.is_file()]


def _open(folder: Path, stem: str) -> _Vectors:
    path, *others = _files(folder, stem)
    if others:
        raise DataError(
            folder, f"contains both {path.name} and {others[0].name}. Remove one of them."
        )
    if path.suffix == ".parquet":
        ids, values = read_parquet_vectors(path)
    else:
        ids, values = read_ids(folder / f"{stem}.ids.txt"), _read_npy(path)
    if len(ids) != len(values):
        raise DataError(path, f"has {len(values)} rows, but there are {len(ids)} ids")
    if not len(values) or not values.shape[1]:
        raise DataError(path, f"is empty: its shape is {list(values.shape)}.")
    vectors = _Vectors(path, {name: row for row, name in enumerate(ids)}, values)
    _check_rows(vectors, ids)
    return vectors


def _check_rows(vectors: _Vectors, ids: Sequence[str]) -> None:
    if len(vectors.rows) != len(ids):
        first = next(name for row, name in enumerate(ids) if vectors.rows[name] != row)
        raise DataError(vectors.path, f"id {first!r} appears twice. Ids must be unique.")
    start = 0
    for chunk in vectors.chunks():
        for problem, bad in (
            ("has NaN or infinite values", ~np.isfinite(chunk).all(axis=1)),
            ("is all zeros, so it has no direction", ~chunk.any(axis=1)),
        ):
            if bad.any():
                row = start + int(bad.argmax())
                which = f"the vector of id {ids[row]!r} (row {row})"
                raise DataError(vectors.path, f"{which} {problem}. {REMEDY}")
        start += len(chunk)


def _fingerprint(vectors: _Vectors) -> str:
    total = hashlib.sha256("\n".join(vectors.rows).encode())
    for chunk in vectors.chunks():
        total.update(chunk.tobytes())
    return total.hexdigest()


def _read_npy(path: Path) -> NDArray[np.floating[Any]]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(path, f"is damaged or not a .npy file of numbers ({error})") from error
    if not isinstance(values, np.ndarray):
        raise DataError(path, "is an archive of arrays (.npz). Save one array with numpy.save.")
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        shape = f"{values.dtype} {list(values.shape)}"
        raise DataError(path, f"contains {shape}, not floating-point numbers [n, dim]")
    return values
