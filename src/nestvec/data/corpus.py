"""Load a corpus: documents by id, from a BEIR folder, one file of rows, or a folder of texts.

What is asked of the corpus, and which documents answer it, is the work of ``retrieval``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from nestvec.data.passages import PASSAGE_WORDS
from nestvec.data.records import Row, metadata_of, new_id_of, read_records, suffix_of, text_of
from nestvec.data.text_files import SUFFIXES, read_text_files
from nestvec.errors import DataError
from nestvec.types import Document

_OWN_COLUMNS = ("_id", "id", "title", "text")
# No leading zeros and no plus: such are codes and telephone numbers. Of more than 15 digits not
# every integer is a float, so nor is it a number to whoever reads the metadata as JSON.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")


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
    corpus: dict[str, Document] = {}
    for line, row in _read_typed(path):
        id_column = "_id" if "_id" in row or "id" not in row else "id"
        document_id = new_id_of(path, row, id_column, corpus, line=line)
        text = text_of(path, row, "text", line=line)
        # Exports of data frames write null for a document without a title.
        title = text_of(path, row, "title", line=line) if row.get("title") is not None else ""
        corpus[document_id] = Document(text, title, metadata_of(row, (id_column, "title", "text")))
    return corpus


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
    rows = list(read_records(path))
    others = [column for column in rows[0][1] if column not in _OWN_COLUMNS]
    numeric = [column for column in others if _holds_numbers([row[column] for _, row in rows])]
    for line, row in rows:
        numbers = {column: _number(row[column]) for column in numeric if row[column]}
        yield line, {key: value for key, value in row.items() if key not in numeric} | numbers


def _holds_numbers(values: Sequence[str]) -> bool:
    filled = [value for value in values if value]
    return bool(filled) and all(_NUMBER.fullmatch(value) for value in filled)


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
