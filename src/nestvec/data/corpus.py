"""Load a corpus, documents by id, from a BEIR folder, one file of rows, or a folder of texts.

``retrieval`` loads queries and relevance labels.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nestvec.data.dataset_files import find_corpus
from nestvec.data.metadata import MetadataReader
from nestvec.data.parquet_rows import open_parquet
from nestvec.data.passages import PASSAGE_WORDS
from nestvec.data.records import (
    Part,
    Row,
    Table,
    has_no_header,
    id_column_of,
    id_of,
    is_missing,
    metadata_of,
    optional_text_of,
    path_of,
    read_records,
    read_texts,
    suffix_of,
    text_of,
)
from nestvec.data.tally import Tally
from nestvec.data.text_files import SUFFIXES, read_text_files
from nestvec.errors import DataError, InvalidArgument, refuse_string
from nestvec.types import Document, Kind

_NOUNS: Mapping[Kind, str] = {"document": "documents", "query": "queries"}
_OWN_COLUMNS = ("_id", "id", "title", "text")
# Values with leading zeros or a plus sign are codes and telephone numbers, not numbers. Integers
# of more than 15 digits cannot all be represented as floats, which JSON readers use.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")
_BOOLEAN = re.compile("true|false", re.IGNORECASE)
_ReadCell = Callable[[str], int | float]


@dataclass(frozen=True)
class Corpus:
    """Documents that each iteration reads again, so a corpus can be larger than memory.

    Attributes:
        read: Returns an iterator over (id, document); ids are unique.
        length: Number of documents; None if unknown.
        known_digest: The value of ``digest`` if it has been computed.
        source: The file or index that contains the documents. Its metadata that cannot be stored
            are left out with a warning. None for documents that were made in Python: metadata of
            other types are then an error.
        logged: Warnings about the documents, each of which is logged once.
    """

    read: Callable[[], Iterator[tuple[str, Document]]]
    length: int | None = None
    known_digest: str | None = None
    source: str | None = None
    logged: set[str] = field(default_factory=set, repr=False, compare=False)

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        """Yield (id, document), with metadata in the form that an index stores.

        Raises:
            InvalidArgument: If a value is not a ``Document``; or if there is no ``source``, and
                metadata have a type that cannot be stored.
        """
        reader = MetadataReader(strict=self.source is None)
        for id_, document in self.read():
            metadata = reader.read(id_, document.metadata)
            yield id_, replace(document, metadata=metadata)
        reader.warn(self.source or "metadata", logged=self.logged)

    @cached_property
    def digest(self) -> str:
        """The sha256 of all documents. An interrupted build resumes if the digest is equal.

        If the digest is unknown, all documents are read to compute it.
        """
        return self.known_digest or _digest_and_count(self)[0]

    @classmethod
    def checked(
        cls,
        read: Callable[[], Iterator[tuple[str, Document]]],
        tally: Tally,
        kind: Kind = "document",
    ) -> Corpus:
        """Create a corpus and read it once: errors are raised and duplicates are reported now."""
        unread = cls(read, source=str(tally.path))
        digest, length = _digest_and_count(_count_duplicates(unread, tally, kind))
        tally.log()
        return replace(unread, length=length, known_digest=digest)

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
        in_memory: Mapping[Any, Any] = documents
        return cls(lambda: _checked_types(in_memory), len(in_memory))


def _checked_types(documents: Mapping[Any, Any]) -> Iterator[tuple[str, Document]]:
    """Yield documents in memory; raise an error for the first that is not a ``Document``."""
    for id_, document in documents.items():
        if not isinstance(document, Document):
            problem = f"document {id_!r} has type {type(document).__name__}."
            raise InvalidArgument(f"{problem} Pass a Document, such as Document('a text').")
        yield id_, document


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
        texts = load_corpus(path, passage_words=passage_words, overlap_words=overlap_words)
        return Corpus.checked(lambda: iter(texts.items()), Tally(path))
    return _open_files(_files_of(path), "document")


def open_queries(path: Path) -> Corpus:
    """Open a file of queries with the columns of a corpus, as ``open_corpus`` does.

    Raises:
        DataError: If the file is missing or malformed, or an id appears twice.
    """
    return _open_files((path,), "query")


def _open_files(files: Sequence[Path], kind: Kind) -> Corpus:
    tally = Tally(*files)
    return Corpus.checked(lambda: _read_documents(files, tally, kind), tally, kind)


def load_corpus(
    path: Path | str, *, passage_words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> dict[str, Document]:
    """Load documents by id.

    Args:
        path: A JSONL, CSV, TSV or Parquet file, a BEIR folder, or another folder with text files.
            A file has the columns ``_id`` or ``id``, ``text`` and optionally ``title``. Other
            columns become metadata, in the form that ``metadata`` describes. A CSV or TSV column
            contains numbers or booleans if each of its values is a number, or ``true`` or
            ``false``, or empty.
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
        return load_documents(_files_of(path))
    corpus = read_text_files(path, passage_words=passage_words, overlap_words=overlap_words)
    if not corpus:
        kinds = ", ".join(SUFFIXES)
        problem = "has neither corpus.jsonl (or .jsonl.gz, .parquet, .csv, .tsv) nor text files"
        raise DataError(path, f"{problem} ({kinds})")
    return corpus


def is_text_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder that is read as text files."""
    return path.is_dir() and not find_corpus(path)


def load_documents(files: Sequence[Part]) -> dict[str, Document]:
    """Load documents by id from the files or tables of a corpus.

    Raises:
        DataError: If a file is malformed, or two documents have the same id.
    """
    tally = Tally(*map(path_of, files))
    return dict(Corpus(lambda: _read_documents(files, tally), source=str(tally.path)))


def without_texts(ids: Iterable[str]) -> dict[str, Document]:
    """Return documents of which only the ids are known.

    Raises:
        InvalidArgument: If there is no id, or an id is not a string or appears twice.
    """
    refuse_string(ids, "document_ids")
    listed = list(ids)
    if not listed:
        raise InvalidArgument("document_ids is empty. Pass the ids of the stored vectors.")
    other = next((id_ for id_ in listed if not isinstance(id_, str)), None)
    if other is not None:
        raise InvalidArgument(f"document_ids contains {other!r}, which is not a string.")
    documents = dict.fromkeys(listed, Document(""))
    if len(documents) < len(listed):
        first = next(id_ for id_, count in Counter(listed).items() if count > 1)
        raise InvalidArgument(f"document_ids contains {first!r} twice. Ids must be unique.")
    return documents


def states_texts(path: Path) -> bool:
    """Return whether a table of documents has a column of texts; a table of vectors has none.

    Raises:
        DataError: If the file cannot be read.
    """
    if suffix_of(path) == ".parquet":
        with open_parquet(path) as file:
            return "text" in file.schema_arrow.names
    if has_no_header(path):
        return True
    _, row = next(read_records(path))
    return "text" in row


def _files_of(path: Path) -> Sequence[Path]:
    return find_corpus(path) if path.is_dir() else (path,)


def _read_documents(
    files: Sequence[Part], tally: Tally, kind: Kind = "document"
) -> Iterator[tuple[str, Document]]:
    """Yield ids and documents; a repeated document is skipped.

    Only the ids and a hash of each document are stored.
    """
    seen: dict[str, int] = {}
    for part in files:
        path = path_of(part)
        for line, row in _read_typed(part, tally):
            id_, document = _document_of(path, row, line=line, tally=tally)
            content = hash((document.title, document.text, repr(dict(document.metadata))))
            if id_ not in seen:
                seen[id_] = content
                yield id_, document
            elif seen[id_] == content:
                tally.add(f"repeated {_NOUNS[kind]}, skipped", id_)
            else:
                problem = f"id {id_!r} appears twice, with different {_NOUNS[kind]}"
                raise DataError(path, f"{problem}. Ids must be unique.", line=line)
    tally.log()


def _document_of(path: Path, row: Row, *, line: int, tally: Tally) -> tuple[str, Document]:
    id_column = id_column_of(row)
    id_ = id_of(path, row, id_column, line=line, tally=tally)
    text = optional_text_of(path, row, "text", line=line, tally=tally)
    no_title = is_missing(row.get("title"))
    title = "" if no_title else text_of(path, row, "title", line=line)
    return id_, Document(text, title, metadata_of(row, (id_column, "title", "text")))


def _count_duplicates(
    documents: Iterable[tuple[str, Document]], tally: Tally, kind: Kind
) -> Iterator[tuple[str, Document]]:
    """Yield the documents, and count those with the text of an earlier document."""
    seen: set[int] = set()  # hashes, because the texts may not fit in memory
    for id_, document in documents:
        key = hash(document.content)
        if key in seen and document.content.strip():
            tally.add(f"{_NOUNS[kind]} with the same text as an earlier {kind}", id_)
        seen.add(key)
        yield id_, document


def _read_typed(part: Part, tally: Tally) -> Iterator[tuple[int, Row]]:
    """Yield rows with line numbers; values of CSV and TSV columns of one type are converted."""
    in_columns = (".csv", ".tsv")
    if isinstance(part, Table) or suffix_of(part) not in in_columns or has_no_header(part):
        yield from read_texts(part, tally)
        return
    types = _column_types(part)
    for line, row in read_records(part):
        typed = {column: read(row[column]) for column, read in types.items() if row[column]}
        yield line, {key: value for key, value in row.items() if key not in types} | typed


def _column_types(path: Path) -> dict[str, _ReadCell]:
    """Return, for each column of numbers or of booleans, the function that reads a value.

    Each value of such a column has the type or is empty, and at least one value is not empty.
    """
    patterns: dict[_ReadCell, re.Pattern[str]] = {_number: _NUMBER, _boolean: _BOOLEAN}
    possible: dict[str, list[_ReadCell]] = {}
    for _, row in read_records(path):
        for column, value in row.items():
            if value and column not in _OWN_COLUMNS:
                types = possible.get(column, list(patterns))
                possible[column] = [each for each in types if patterns[each].fullmatch(value)]
    return {column: types[0] for column, types in possible.items() if types}


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _boolean(text: str) -> bool:
    return text.lower() == "true"
