"""Read a folder of text files as a corpus: one document for each passage of each file.

Plain text, Markdown and reStructuredText files are read; HTML and PDF files are not.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from nestvec.data.passages import PASSAGE_WORDS, find_headings, split_passages
from nestvec.data.tally import Tally
from nestvec.types import Document, Metadata

SUFFIXES = (".txt", ".md", ".markdown", ".rst")
_WITHOUT_SUFFIX = "readme"
_MAX_NAMED = 3  # skipped files that the warning lists

_logger = logging.getLogger(__name__)


def read_text_files(
    folder: Path, *, passage_words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> dict[str, Document]:
    """Read all text files of a folder and its subfolders, split into passages.

    Hidden files and hidden folders are ignored. Links, files of other types, and files that are
    empty, are not UTF-8, contain NUL or cannot be read are skipped with a warning.

    Args:
        folder: The folder to search.
        passage_words: As ``words`` in ``split_passages``.
        overlap_words: As in ``split_passages``.

    Returns:
        Documents by id, in path order; empty if there is no text. The id is the path relative to
        the folder, with ``#1``, ``#2`` ... if a file has several passages. The title is the first
        heading of the file, else its name. The metadata are ``file`` and ``parent`` (the relative
        path), ``passage`` and ``line`` (numbers, from 1).

    Raises:
        InvalidArgument: If ``passage_words`` or ``overlap_words`` is outside its limits.
    """
    corpus: dict[str, Document] = {}
    unread, tally = [], Tally(folder)
    for path in _find_text_files(folder, tally):
        file = path.relative_to(folder).as_posix()
        text = _read(path)
        if text is None:
            unread.append(file)
            continue
        passages = split_passages(text, words=passage_words, overlap_words=overlap_words)
        if not passages:
            tally.add("files without text, skipped", file)
        title = next((heading.title for heading in find_headings(text)), path.name)
        for number, passage in enumerate(passages, start=1):
            metadata: Metadata = {
                "file": file,
                "parent": file,
                "passage": number,
                "line": passage.line,
            }
            id_ = f"{file}#{number}" if len(passages) > 1 else file
            corpus[id_] = Document(passage.text, title, metadata)
    _warn_unread(folder, unread)
    tally.log()
    return corpus


def _find_text_files(folder: Path, tally: Tally) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, onerror=_warn_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(parent, name)
            if not _is_text_name(name):
                tally.add("files of other types, skipped", path.relative_to(folder).as_posix())
            elif _is_regular(path):
                found.append(path)
            else:
                tally.add("links and pipes, skipped", path.relative_to(folder).as_posix())
    return sorted(found, key=Path.as_posix)


def _is_text_name(name: str) -> bool:
    lower = name.lower()
    return lower.endswith(SUFFIXES) or lower == _WITHOUT_SUFFIX


def _is_regular(path: Path) -> bool:
    # A link may lead out of the folder or duplicate a file. Reading a pipe may never end.
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True  # reading it fails too, with a warning


def _read(path: Path) -> str | None:
    """Return the text of a file, or None if it cannot be read as text."""
    try:
        os.fsencode(path).decode()  # the path becomes an id, which must be valid text
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text else text


def _warn_folder(error: OSError) -> None:
    _logger.warning("%s: skipped (%s)", error.filename, error.strerror)


def _warn_unread(folder: Path, files: list[str]) -> None:
    if files:
        more = f" and {len(files) - _MAX_NAMED} more" if len(files) > _MAX_NAMED else ""
        named = ", ".join(files[:_MAX_NAMED]) + more
        _logger.warning("%s: skipped %s, which cannot be read as UTF-8 text", folder, named)
