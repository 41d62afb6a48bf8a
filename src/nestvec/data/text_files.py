"""Make a corpus of a folder of text files: a document for each passage of each file.

Plain text, Markdown and reStructuredText are read as they stand; whatever needs a parser of its
own (HTML, PDF) is not.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from nestvec.data.passages import PASSAGE_WORDS, find_headings, split_passages
from nestvec.types import Document, Metadata

SUFFIXES = (".txt", ".md", ".markdown", ".rst")
_WITHOUT_SUFFIX = "readme"
_NAMED = 3  # left-out files that the warning names

_logger = logging.getLogger(__name__)


def read_text_files(
    folder: Path, *, passage_words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> dict[str, Document]:
    """Read all text files of a folder and of those in it, split into passages.

    Hidden files, hidden folders and links are passed over. What is not UTF-8, holds NUL or cannot
    be read is left out with a warning.

    Args:
        folder: Where to look.
        passage_words: As ``split_passages`` takes it.
        overlap_words: As ``split_passages`` takes it.

    Returns:
        Documents by id, in the order of their paths. The id is the path from the folder, with
        ``#1``, ``#2`` ... where a file is several passages. The title is the file's first heading,
        else its name; the metadata are ``file`` and ``parent`` (the path from the folder),
        ``passage`` and ``line`` (numbers, counted from 1). Empty where no file holds text.

    Raises:
        InvalidArgument: If a limit is impossible.
    """
    corpus: dict[str, Document] = {}
    unread = []
    for path in _find_text_files(folder):
        file = path.relative_to(folder).as_posix()
        text = _read(path)
        if text is None:
            unread.append(file)
            continue
        passages = split_passages(text, words=passage_words, overlap_words=overlap_words)
        title = next((heading.title for heading in find_headings(text)), path.name)
        for number, passage in enumerate(passages, start=1):
            where: Metadata = {
                "file": file,
                "parent": file,
                "passage": number,
                "line": passage.line,
            }
            id_ = f"{file}#{number}" if len(passages) > 1 else file
            corpus[id_] = Document(passage.text, title, where)
    _warn_of_unread(folder, unread)
    return corpus


def _find_text_files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, onerror=_warn_of_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if _is_text_name(name))
        found += [path for path in paths if _is_regular(path)]
    return sorted(found, key=Path.as_posix)


def _is_text_name(name: str) -> bool:
    lower = name.lower()
    return not name.startswith(".") and (lower.endswith(SUFFIXES) or lower == _WITHOUT_SUFFIX)


def _is_regular(path: Path) -> bool:
    # A link may lead out of the folder, or show a file twice; a pipe may never end.
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True  # reading it will fail too, and say so


def _read(path: Path) -> str | None:
    """Return the text of a file, or None where it is none."""
    try:
        os.fsencode(path).decode()  # an id has to be text, too
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text else text


def _warn_of_folder(error: OSError) -> None:
    _logger.warning("%s: left out (%s)", error.filename, error.strerror)


def _warn_of_unread(folder: Path, files: list[str]) -> None:
    if files:
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        named = ", ".join(files[:_NAMED]) + more
        _logger.warning("%s: left out %s, no UTF-8 text that can be read", folder, named)
