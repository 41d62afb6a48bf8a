"""Load a corpus: documents by id, from a BEIR folder, one file of rows, or a folder of texts.

What is asked of the corpus, and which documents answer it, is the work of ``retrieval``.
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
# No leading zeros and no plus: such are codes and telephone numbers. Of more than 15 digits not
# every integer is a float, so nor is it a number to whoever reads the metadata as JSON.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")


@dataclass(frozen=True)
class Corpus:
    """Documents that are read anew at each iteration, so that they need not fit in memory.

    Attributes:
        read: Returns an iterator over (id, document); no id comes twice.
        length: How many documents there are; None where that is not known.
        known_digest: ``digest``, where it is known already.
    """

    read: Callable[[], Iterator[tuple[str, Document]]]
    length: int | None = None
    known_digest: str | None = None

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        """Yield (id, document)."""
        return self.read()

    @cached_property
    def digest(self) -> str:
        """The sha256 of all documents: an interrupted build of an equal digest is continued.

        Where it is not known, all documents are read for it.
        """
        return self.known_digest or _digest_and_count(self)[0]

    @classmethod
    def checked(cls, read: Callable[[], Iterator[tuple[str, Document]]]) -> Corpus:
        """Read all documents once, so that what is wrong with one is raised now."""
        digest, length = _digest_and_count(read())
        return cls(read, length, digest)

    @classmethod
    def of(cls, documents: Corpus | Mapping[str, Document] | object) -> Corpus:
        """Make a corpus of documents in memory; a corpus is returned as it is.

        Raises:
            InvalidArgument: If it is neither.
        """
        if isinstance(documents, Corpus):
            return documents
        if not isinstance(documents, Mapping):
            kind = type(documents).__name__
            raise InvalidArgument(f"the corpus is a {kind}: give a dict of Documents or a Corpus")
        in_memory: Mapping[str, Document] = documents
        return cls(lambda: iter(in_memory.items()), len(in_memory))


def _digest_and_count(documents: Iterable[tuple[str, Document]]) -> tuple[str, int]:
    """Return the sha256 of ids, titles, texts and metadata, in order, and how many there are."""
    digest, count = hashlib.sha256(), 0
    for id_, document in documents:
        values = [id_, document.title, document.text, dict(document.metadata)]
        digest.update(json.dumps(values, default=repr).encode())
        count += 1
    return digest.hexdigest(), count


def open_corpus(
    path: Path | str, *, passage_words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> Corpus:
    """Open a corpus whose documents are read one after another, and check it once from end to end.

    Text files of a folder are split into passages in memory; rows of a file are not kept.

    Args:
        path: One JSONL, CSV, TSV or Parquet file, a BEIR folder, or any other folder that holds
            text files. A file has the columns ``_id`` or ``id``, ``text`` and perhaps ``title``;
            other columns of strings and numbers become the document's metadata. In CSV and TSV,
            where all is text, a column is one of numbers if each of its values is one or empty.
        passage_words: The most words of a document that is made of a text file, as
            ``split_passages`` takes it.
        overlap_words: How many of them are the previous document's, as it takes them.

    Raises:
        InvalidArgument: If a limit of words is impossible.
        DataError: If a file is missing or malformed, an id stands twice, or a folder holds
            neither rows nor texts.
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
        path: One JSONL, CSV, TSV or Parquet file, a BEIR folder, or any other folder that holds
            text files. A file has the columns ``_id`` or ``id``, ``text`` and perhaps ``title``;
            other columns of strings and numbers become the document's metadata. In CSV and TSV,
            where all is text, a column is one of numbers if each of its values is one or empty.
        passage_words: The most words of a document that is made of a text file, as
            ``split_passages`` takes it.
        overlap_words: How many of them are the previous document's, as it takes them.

    Raises:
        InvalidArgument: If a limit of words is impossible.
        DataError: If a file is missing or malformed, an id stands twice, or a folder holds
            neither rows nor texts.
    """
    path = Path(path)
    if not is_text_folder(path):
        return load_documents(find_file(path, "corpus.jsonl") if path.is_dir() else path)
    corpus = read_text_files(path, passage_words=passage_words, overlap_words=overlap_words)
    if not corpus:
        kinds = ", ".join(SUFFIXES)
        raise DataError(path, f"holds neither corpus.jsonl (or .gz) nor text files ({kinds})")
    return corpus


def is_text_folder(path: Path) -> bool:
    """Tell whether a corpus would be made of the text files of a folder."""
    return path.is_dir() and not _files(path, "corpus.jsonl")


def load_documents(path: Path) -> dict[str, Document]:
    """Load documents by id from one file.

    Raises:
        DataError: If it is malformed, or an id stands twice.
    """
    return dict(_read_documents(path))


def _read_documents(path: Path) -> Iterator[tuple[str, Document]]:
    """Yield the ids and documents of one file; only the ids are kept, to find a repeated one."""
    seen: set[str] = set()
    for line, row in _read_typed(path):
        id_column = "_id" if "_id" in row or "id" not in row else "id"
        document_id = new_id_of(path, row, id_column, seen, line=line)
        seen.add(document_id)
        text = text_of(path, row, "text", line=line)
        # Exports of data frames write null for a document without a title.
        title = text_of(path, row, "title", line=line) if row.get("title") is not None else ""
        metadata = metadata_of(row, (id_column, "title", "text"))
        yield document_id, Document(text, title, metadata)


def find_file(folder: Path, name: str) -> Path:
    """Return a file of a BEIR folder, plain or ``.gz``.

    Raises:
        DataError: If there is none.
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
    """Yield rows with their line numbers; columns of numbers in CSV and TSV become numbers."""
    if suffix_of(path) not in (".csv", ".tsv"):
        yield from read_records(path)
        return
    numeric = _numeric_columns(path)
    for line, row in read_records(path):
        numbers = {column: _number(row[column]) for column in numeric if row[column]}
        yield line, {key: value for key, value in row.items() if key not in numeric} | numbers


def _numeric_columns(path: Path) -> set[str]:
    """Return the columns whose values are numbers or empty, some of them numbers."""
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
