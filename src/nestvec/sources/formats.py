"""Recognize the format of a file of vectors by its content.

Binary formats start with a signature. The formats of ann-benchmarks and big-ann-benchmarks do not:
their files are recognized by the dim in the first bytes, which must fit the size of the file, and
the suffix of the name decides between formats that fit. Text is JSON Lines or CSV.
"""

from __future__ import annotations

import gzip
import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from nestvec.data.records import suffix_of
from nestvec.errors import DataError
from nestvec.sources.raw_records import RAW_FORMATS, fitting_formats

NPY, NPZ, PARQUET, ARROW, ARROW_STREAM = "npy", "npz", "parquet", "arrow", "arrow-stream"
JSONL, CSV, HDF5, FAISS = "jsonl", "csv", "hdf5", "faiss"
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    PARQUET: (".parquet",),
    NPY: (".npy",),
    NPZ: (".npz",),
    ARROW: (".arrow", ".feather", ".ipc"),
    ARROW_STREAM: (".arrows",),
    JSONL: (".jsonl", ".ndjson"),
    CSV: (".csv", ".tsv"),
    HDF5: (".hdf5", ".h5"),
    FAISS: (".faiss", ".index"),
    **{name: (f".{name}",) for name in RAW_FORMATS},
}
"""The suffixes of each format; text files can also be compressed (``.gz``)."""
_SIGNATURES = (
    (b"\x93NUMPY", NPY),
    (b"PK\x03\x04", NPZ),
    (b"PAR1", PARQUET),
    (b"ARROW1", ARROW),
    (b"\xff\xff\xff\xff", ARROW_STREAM),
    (b"\x89HDF\r\n\x1a\n", HDF5),
)
_FAISS_FIRST = (b"Ix", b"Iw", b"IH", b"IB", b"IL", b"IN", b"IS", b"Is", b"IR", b"Iv")
_PICKLE = "is a pickle, which can run any program when it is read"
_REFUSED = (
    *((bytes((0x80, version)), _PICKLE) for version in range(2, 6)),
    (b"FEA1", "is a Feather file of version 1"),
    (b"SQLite format 3", "is a SQLite database"),
)
_REWRITE = "Write the vectors as .npy, .parquet or .jsonl."
_HEAD_BYTES = 4_096
_logger = logging.getLogger(__name__)


def format_of_name(path: Path) -> str | None:
    """Return the format that the suffix of a name states; None for other suffixes."""
    suffix = suffix_of(path)
    return next((name for name, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def is_vectors_file(path: Path) -> bool:
    """Return whether the suffix of a file, or its first bytes, are those of vectors.

    Text needs a known suffix, as any text could be CSV.
    """
    if format_of_name(path) is not None:
        return True
    try:
        return detect_format(path) not in (JSONL, CSV)
    except DataError:
        return False


def detect_format(path: Path) -> str:
    """Return the format of a file, by its content.

    Raises:
        DataError: If the file is missing or empty, or the format is unknown, refused or ambiguous.
    """
    head = _read_head(path)
    named = format_of_name(path)
    found = _by_signature(head, path) or _by_structure(head, path, named) or _text_format(head)
    if found in (None, CSV) and named is not None:  # any text can be CSV
        return named  # if the file is damaged, its reader names the problem
    if found is None:
        known = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        raise DataError(path, f"is not a known file of vectors. Known are: {known}.")
    if named not in (None, found, *_SAME.get(found, ())):
        _logger.warning(
            "%s: the content is %s, but the suffix states %s; the content is used",
            path,
            found,
            named,
        )
    return found


_SAME = {ARROW_STREAM: (ARROW,), ARROW: (ARROW_STREAM,)}  # both use the suffix .arrow


def _read_head(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(path, "is a folder, not a file" if path.is_dir() else "does not exist")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                head = file.read(_HEAD_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(path, f"is a broken gzip file ({error})") from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    if not head:
        raise DataError(path, "is empty")
    return head


def _by_signature(head: bytes, path: Path) -> str | None:
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            if name == NPZ:
                _check_archive(path)
            return name
    if head[:2] in _FAISS_FIRST and b"\x00" in head[:12]:
        return FAISS
    for signature, problem in _REFUSED:
        if head.startswith(signature) and not fitting_formats(path):
            raise DataError(path, f"{problem}. {_REWRITE}")
    return None


def _check_archive(path: Path) -> None:
    """Refuse ZIP archives without arrays, such as the pickles of ``torch.save``."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(path, f"is damaged or not a .npz file ({error})") from error
    if any(name.endswith(".pkl") for name in names):
        raise DataError(path, f"is a PyTorch file, which contains a pickle. {_REWRITE}")
    if not any(name.endswith(".npy") for name in names):
        raise DataError(path, f"is a ZIP archive without arrays. {_REWRITE}")


def _by_structure(head: bytes, path: Path, named: str | None) -> str | None:
    """Recognize formats without signature: their first numbers must fit the size of the file."""
    if named is not None and named not in RAW_FORMATS:
        return None
    fitting = fitting_formats(path)
    if named in fitting:
        return named
    if not fitting or named is not None or _text_format(head) is not None:
        return None
    if len(fitting) > 1:
        suffixes = " or ".join(f".{name}" for name in fitting)
        raise DataError(path, f"can be {suffixes}. Add the suffix to the name of the file.")
    return fitting[0]


def _text_format(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character can be split at the end of the head
            return None
        text = head[: error.start].decode("utf-8-sig")
    if "\x00" in text or not text.strip():
        return None
    return JSONL if text.lstrip()[0] in "{[" else CSV
