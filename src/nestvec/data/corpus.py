"""Load a corpus: documents by id, from a BEIR folder or from one file of rows.

What is asked of the corpus, and which documents answer it, is the work of ``retrieval``.
"""

from __future__ import annotations

from pathlib import Path

from nestvec.data.records import metadata_of, new_id_of, read_records, text_of
from nestvec.errors import DataError
from nestvec.types import Document


def load_corpus(path: Path | str) -> dict[str, Document]:
    """Load documents by id from a BEIR folder, or from one JSONL, CSV, TSV or Parquet file.

    A file has the columns ``_id`` or ``id``, ``text`` and perhaps ``title``; other columns of
    strings and numbers become the document's metadata.

    Raises:
        DataError: If a file is missing or malformed, or an id stands twice.
    """
    path = Path(path)
    return load_documents(find_file(path, "corpus.jsonl") if path.is_dir() else path)


def load_documents(path: Path) -> dict[str, Document]:
    """Load documents by id from one file.

    Raises:
        DataError: If it is malformed, or an id stands twice.
    """
    corpus: dict[str, Document] = {}
    for line, row in read_records(path):
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
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.exists():
            return candidate
    raise DataError(folder, f"has no {name} (or {name}.gz), so it is not a BEIR folder")
