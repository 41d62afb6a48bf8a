"""Find the vectors of a folder: files ``corpus.*`` and ``queries.*``, or shards.

Shards are Parquet or Arrow files, as ``nestvec embed``, Ray, Spark, DuckDB and ``datasets`` write
them. The shards of ``nestvec embed`` are listed in ``embeddings.json``, and those of ``datasets``
in ``state.json``. All other shards are read in the order of their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nestvec.data.records import suffix_of
from nestvec.errors import DataError, MissingExtra
from nestvec.sources.arrow_columns import has_vectors_column
from nestvec.sources.arrow_files import read_schema
from nestvec.sources.formats import CSV, JSONL, SUFFIXES, format_of_name
from nestvec.sources.hdf5_files import stored_kinds
from nestvec.sources.manifest import MANIFEST
from nestvec.sources.stream import ANY_COLUMNS
from nestvec.sources.text_rows import first_row, is_batch_answer
from nestvec.types import Kind

STEMS: Mapping[Kind, str] = {"document": "corpus", "query": "queries"}
NOUNS: Mapping[Kind, str] = {"document": "documents", "query": "queries"}
_SHARDS = (".parquet", ".arrow")
_STATE, _SPLITS, _DATA = "state.json", "dataset_dict.json", "data"
_MODEL_FILES = ("modules.json", "config.json")
_TEXT = (JSONL, CSV)
_ANY_IDS = replace(ANY_COLUMNS, number_rows=True)


def find_vectors(path: Path) -> dict[Kind, Path]:
    """Return where the vectors of each kind are; an empty dict if there are none.

    Args:
        path: A file of vectors, or a folder.

    Raises:
        DataError: If several files can be the vectors of a kind.
        MissingExtra: If the library that reads a file is not installed.
    """
    if path.is_file():
        kinds = stored_kinds(path) if format_of_name(path) == "hdf5" else ("document",)
        return dict.fromkeys(kinds, path)
    if not path.is_dir():
        return {}
    found = {kind: file for kind in STEMS if (file := _find(path, STEMS[kind]))}
    return found or ({"document": path} if _is_shards(path) else {})


def _find(folder: Path, stem: str) -> Path | None:
    found = sorted(_candidates(folder, stem))
    if len(found) > 1:  # a data set can contain its texts next to its vectors
        found = [path for path in found if _states_vectors(path)] or found[:1]
    if len(found) > 1:
        first, second, *_ = (path.name for path in found)
        raise DataError(folder, f"contains both {first} and {second}. Remove one of them.")
    return found[0] if found else None


def _candidates(folder: Path, stem: str) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if path.name == stem and _is_shards(path):
                yield path
        elif path.name.partition(".")[0] == stem and not path.name.startswith("."):
            name = format_of_name(path)
            suffixes = () if name is None else SUFFIXES[name]
            plain = path.name == stem + path.suffix or path.name == f"{stem}{suffix_of(path)}.gz"
            if suffixes and plain and (name not in _TEXT or _states_vectors(path)):
                yield path


def _states_vectors(path: Path) -> bool:
    """Return whether a table has a column of vectors; True for files that contain only vectors."""
    name = format_of_name(path)
    try:
        if path.is_dir():
            return _is_shards(path)
        if name in _TEXT:
            row = first_row(path, is_csv=name == CSV)
            if not is_batch_answer(row):
                _ANY_IDS.find(list(row), path)
        elif path.suffix in _SHARDS:
            return has_vectors_column(read_schema(path))
    except (DataError, MissingExtra):
        return False
    return True


def _is_shards(folder: Path) -> bool:
    """Return whether a folder directly contains shards of vectors."""
    if (folder / MANIFEST).is_file():
        return True
    if any((folder / name).is_file() for name in _MODEL_FILES):
        return False
    try:
        found = list_shards(folder)
    except DataError:  # raised again when the shards are read, if they are vectors
        found = [file for file in folder.iterdir() if file.suffix in _SHARDS]
        return not found or _states_vectors(found[0])
    return bool(found) and _states_vectors(found[0])


def list_shards(folder: Path) -> list[Path]:
    """Return the Parquet and Arrow files of a folder in their order; an empty list without any.

    Raises:
        DataError: If the folder contains several splits, both types of files, or files of which
            some are missing.
    """
    if (folder / _SPLITS).is_file():
        folder = _only_split(folder, _read_json(folder / _SPLITS).get("splits") or [])
    if (folder / _STATE).is_file():
        return _listed(folder)
    found = _of_types(folder)
    if not found and (folder / _DATA).is_dir():
        return _of_types(folder / _DATA)
    return found


def _of_types(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix in _SHARDS and file.is_file())
    shown = [file for file in files if not file.name.startswith((".", "_"))]
    if len({file.suffix for file in shown}) > 1:
        raise DataError(folder, "contains both .parquet and .arrow files. Remove one type.")
    splits = {file.name.partition("-")[0] for file in shown if "-of-" in file.name}
    if len(splits) > 1:
        _refuse_splits(folder, sorted(splits))
    _check_complete(folder, shown)
    return shown


def _check_complete(folder: Path, shards: list[Path]) -> None:
    """Check that no shard of ``train-00000-of-00002.parquet`` is missing."""
    for shard in shards:
        _, separator, total = shard.stem.rpartition("-of-")
        if separator and total.isdecimal() and int(total) != len(shards):
            problem = f"contains {len(shards)} shards of {int(total)}"
            raise DataError(folder, f"{problem} ({shard.name}). Add the missing shards.")


def _only_split(folder: Path, splits: list[str]) -> Path:
    if len(splits) != 1:
        _refuse_splits(folder, splits)
    return folder / splits[0]


def _refuse_splits(folder: Path, splits: list[str]) -> None:
    problem = f"contains {len(splits)} splits ({', '.join(splits)})"
    raise DataError(folder, f"{problem}. Pass the folder of one split, or write one split only.")


def _listed(folder: Path) -> list[Path]:
    """Return the files that ``datasets`` lists in ``state.json``."""
    listed = _read_json(folder / _STATE).get("_data_files") or []
    names = [str(entry.get("filename", "")) for entry in listed]
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise DataError(folder, f"lists the file {name!r}, which is missing.")
    return [folder / name for name in names]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, f"cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise DataError(path, "is not a JSON object")
    return values
