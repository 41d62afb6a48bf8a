"""Read sentences for a large corpus from docstrings, pages of documentation and data sets.

The texts are split into sentences. Two sentences count as equal if their beginnings are equal.
``sentences`` builds the corpus and its vectors.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nestvec.data.docstrings import harvest_docstrings

SUFFIXES = frozenset({".md", ".rst", ".txt", ".asc"})
_SAME = 60  # sentences with this many equal first characters count as equal
_WORDS = 5, 60
_LETTERS = 0.7  # a smaller share of letters is code, a table or a list of numbers
_END = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[\"'(\[]?[A-Z])")
_FENCED = re.compile(r"^(```|~~~|----).*?^\1", re.MULTILINE | re.DOTALL)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_MARKUP = re.compile(
    r"<[^>]*>|!?\[(?=[^\]]*\]\()|\]\([^)]*\)|:\w+:(?=`)|[`*_#|]{1,3}|^\s*[-+>]\s", re.M
)
_DIRECTIVE = re.compile(r"^\s*(\.\. |:\w[\w-]*:|import |from |\$|>>>).*$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n\s*\n")


def of_packages(folders: Sequence[Path]) -> Iterator[str]:
    """Yield the docstrings of all packages in folders, without importing the packages."""
    everything = 10**9
    found = harvest_docstrings(
        roots=folders, max_per_package=everything, max_test_queries=everything
    )
    yield from found.queries.values()
    for document in found.corpus.values():
        yield document.text


def of_pages(folder: Path) -> Iterator[str]:
    """Yield the paragraphs of all pages below a folder, without code and markup."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            text = _FRONT_MATTER.sub("", path.read_text("utf-8", errors="replace"))
            text = _DIRECTIVE.sub("", _FENCED.sub("\n\n", text))
            yield from _PARAGRAPH.split(_MARKUP.sub("", text))


def of_rows(file: Path, columns: Sequence[str]) -> Iterator[str]:
    """Yield the texts of columns of a gzip-compressed JSONL file."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield from (str(row[column]) for column in columns if row.get(column))


def split_sentences(texts: Iterable[str]) -> Iterator[str]:
    """Yield the sentences of texts that are prose."""
    for text in texts:
        for sentence in _END.split(" ".join(text.split())):
            words = sentence.split()
            letters = sum(map(str.isalpha, sentence)) + len(words)
            if _WORDS[0] <= len(words) <= _WORDS[1] and letters >= _LETTERS * len(sentence):
                yield sentence


def beginning(sentence: str) -> str:
    """Return the first letters of a sentence in lower case, without digits and punctuation."""
    words = re.findall(r"[^\W\d_]+", sentence.casefold())
    return " ".join(words)[:_SAME]
