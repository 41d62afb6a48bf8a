"""Load a corpus, documents by id, from a BEIR folder, one file of rows, or a folder of texts.

``retrieval`` loads queries and relevance labels.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nestvec.data.passages import PASSAGE_WORDS
from nestvec.data.records import (
    Row,
    metadata_of,
    new_id_of,
    read_records,
    suffix_of,
    text_of,
)
from nestvec.data.text_files import SUFFIXES, read_text_files
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document

_OWN_COLUMNS = ("_id", "id", "title", "text")
# Values with leading zeros or a plus sign are codes and telephone numbers, not numbers. Integers
# of more than 15 digits cannot all be represented as floats, which JSON readers use.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")


@dataclass(frozen=True)
class Corpus:
    """Documents that each iteration reads again, so a corpus can be larger than memory.

    Attributes:
        read: Returns an iterator over (id, document); ids are unique.
        length: Number of documents; None if unknown.
        known_digest: The value of ``digest`` if it has been computed.
    """

    read: Callable[[], Iterator[tuple[str, Document]]]
    length: int | None = None
    known_digest: str | None = None

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        """Yield (id, document)."""
        return self.read()

    @cached_property
    def digest(self) -> str:
        """The sha256 of all documents. An interrupted build resumes if the digest is equal.

        If the digest is unknown, all documents are read to compute it.
        """
        return self.known_digest or _digest_and_count(self)[0]

    @classmethod
    def checked(cls, read: Callable[[], Iterator[tuple[str, Document]]]) -> Corpus:
        """Create a corpus and read it once, so that errors in documents are raised now."""
        digest, length = _digest_and_count(read())
        return cls(read, length, digest)

    @classmethod
    def of(cls, documents: Corpus | Mapping[str, Document] | object) -> Corpus:
        """Create a corpus from documents in memory; return a corpus unchanged.

        Raises:
            InvalidArgument: If ``documents`` is neither a mapping nor a corpus.
        """
        if isinstance(documents, Corpus):
            return documents
        if not isinstance(documents, Mapping):
            kind = type(documents).__name__
            raise InvalidArgument(f"corpus is a {kind}. Pass a dict of Documents or a Corpus.")
        in_memory: Mapping[str, Document] = documents
        return cls(lambda: iter(in_memory.items()), len(in_memory))


def _digest_and_count(documents: Iterable[tuple[str, Document]]) -> tuple[str, int]:
    """Return the sha256 of ids, titles, texts and metadata, and the number of documents."""
    digest, count = hashlib.sha256(), 0
    for id_, document in documents:
        values = [id_, document.title, document.text, dict(document.metadata)]
        digest.update(json.dumps(values, default=repr).encode())
        count += 1
    return digest.hexdigest(), count


def open_corpus(
    path: Path | str, *, passage_words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> Corpus:
    """Open a corpus that is streamed from its file, and check all documents once.

    Rows of a file are not kept in memory. Passages of text files are.

    Args:
        path: As in ``load_corpus``.
        passage_words: As in ``load_corpus``.
        overlap_words: As in ``load_corpus``.

    Raises:
        InvalidArgument: If ``passage_words`` or ``overlap_words`` is outside its limits.
        DataError: If a file is missing or malformed, an id appears twice, or a folder contains
            neither rows nor text files.
    """
    path = Path(path)
    if is_text_folder(path):
        corpus = load_corpus(path, passage_words=passage_words, overlap_words=overlap_words)
        return Corpus.of(corpus)
    file = find_file(path, "corpus.jsonl") if path.is_dir() else path
    return Corpus.checked(lambda: _read_documents(file))


def load_corpus(
    path: Path | str, *, passage_words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> dict[str, Document]:
    """Load documents by id.

    Args:
        path: A JSONL, CSV, TSV or Parquet file, a BEIR folder, or another folder with text files.
            A file has the columns ``_id`` or ``id``, ``text`` and optionally ``title``. Other
            columns of strings and numbers become metadata. A CSV or TSV column is numeric if
            each of its values is a number or empty.
        passage_words: Text files are split into passages of at most this many words (see
            ``split_passages``).
        overlap_words: Number of words that a passage repeats of the previous passage.

    Raises:
        InvalidArgument: If ``passage_words`` or ``overlap_words`` is outside its limits.
        DataError: If a file is missing or malformed, an id appears twice, or a folder contains
            neither rows nor text files.
    """
    path = Path(path)
    if not is_text_folder(path):
        return load_documents(find_file(path, "corpus.jsonl") if path.is_dir() else path)
    corpus = read_text_files(path, passage_words=passage_words, overlap_words=overlap_words)
    if not corpus:
        kinds = ", ".join(SUFFIXES)
        raise DataError(path, f"has neither corpus.jsonl (or .gz) nor text files ({kinds})")
    return corpus


def is_text_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder that is read as text files."""
    return path.is_dir() and not _files(path, "corpus.jsonl")


def load_documents(path: Path) -> dict[str, Document]:
    """Load documents by id from one file.

    Raises:
        DataError: If the file is malformed, or an id appears twice.
    """
    return dict(_read_documents(path))


def _read_documents(path: Path) -> Iterator[tuple[str, Document]]:
    """Yield ids and documents of one file; only the ids are stored, to detect duplicates."""
    seen: set[str] = set()
    for line, row in _read_typed(path):
        id_column = "_id" if "_id" in row or "id" not in row else "id"
        document_id = new_id_of(path, row, id_column, seen, line=line)
        seen.add(document_id)
        text = text_of(path, row, "text", line=line)
        # Exported data frames have null for a missing title.
        title = text_of(path, row, "title", line=line) if row.get("title") is not None else ""
        metadata = metadata_of(row, (id_column, "title", "text"))
        yield document_id, Document(text, title, metadata)


def find_file(folder: Path, name: str) -> Path:
    """Return the path of a file in a BEIR folder, plain or ``.gz``.

    Raises:
        DataError: If there is no such file.
    """
    if not folder.is_dir():
        raise DataError(folder, "does not exist" if not folder.exists() else "is not a folder")
    found = _files(folder, name)
    if not found:
        raise DataError(folder, f"has no {name} (or {name}.gz), so it is not a BEIR folder")
    return found[0]


def _files(folder: Path, name: str) -> list[Path]:
    return [file for file in (folder / name, folder / f"{name}.gz") if file.exists()]


def _read_typed(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield rows with line numbers; values of numeric CSV and TSV columns become numbers."""
    if suffix_of(path) not in (".csv", ".tsv"):
        yield from read_records(path)
        return
    numeric = _numeric_columns(path)
    for line, row in read_records(path):
        numbers = {column: _number(row[column]) for column in numeric if row[column]}
        yield line, {key: value for key, value in row.items() if key not in numeric} | numbers


def _numeric_columns(path: Path) -> set[str]:
    """Return the columns whose values are all numbers or empty, with at least one number."""
    possible: set[str] | None = None
    filled: set[str] = set()
    for _, row in read_records(path):
        if possible is None:
            possible = {column for column in row if column not in _OWN_COLUMNS}
        for column in list(possible):
            if row[column] and not _NUMBER.fullmatch(row[column]):
                possible.discard(column)
            elif row[column]:
                filled.add(column)
    return (possible or set()) & filled


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
