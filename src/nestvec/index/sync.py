"""Bring an index up to date with a corpus: add what is new, replace what has changed, no more.

Documents that are equal are not encoded again, so what was interrupted is continued by the same
call. The corpus is read twice, block by block: once to compare, once to encode.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from nestvec.data.corpus import Corpus
from nestvec.index.index import Index
from nestvec.types import Document, OnProgress

_BLOCK = 1_024  # documents compared at a time
_PASSAGE_NUMBER = re.compile(r"#[0-9]+\Z")


@dataclass(frozen=True)
class Changes:
    """What a corpus would change in an index.

    Attributes:
        corpus: What the index was compared with.
        new: Ids of documents that are not there.
        changed: Ids that are there with another content.
        same: How many documents are there as they are.
        outdated: Ids of passages that a file of the corpus no longer has.
    """

    corpus: Corpus
    new: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    outdated: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many documents are to be encoded."""
        return len(self.new) + len(self.changed)


def compare(index: Index, corpus: Corpus | Mapping[str, Document]) -> Changes:
    """Find what a corpus would change in an index, without a model."""
    new: list[str] = []
    changed: list[str] = []
    same, seen, files = 0, set[str](), set[object]()
    compared = Corpus.of(corpus)
    documents = iter(compared)
    while block := dict(islice(documents, _BLOCK)):
        there = index.get(list(block))
        for id_, document in block.items():
            if id_ not in there:
                new.append(id_)
            elif there[id_] != document:
                changed.append(id_)
            else:
                same += 1
            if _is_passage(document):
                files.add(document.metadata["file"])
        seen.update(block)
    outdated = tuple(_outdated(index, seen, files)) if files else ()
    return Changes(compared, tuple(new), tuple(changed), same, outdated)


def bring_in(index: Index, changes: Changes, *, on_progress: OnProgress | None = None) -> None:
    """Make an index hold what a corpus holds.

    Args:
        index: What the changes were found in.
        changes: What ``compare`` found.
        on_progress: Called with documents encoded and in total.

    Raises:
        IndexLocked: If another process changes the index.
        ModelError: If the model cannot encode texts, or is not there.
        DataError: If the disk is full; then the batches before are there.
    """
    wanted = {*changes.new, *changes.changed}
    some = Corpus(
        lambda: ((id_, document) for id_, document in changes.corpus if id_ in wanted),
        len(wanted),
    )
    index.upsert_documents(some, on_progress=on_progress)
    if changes.outdated:
        index.delete(changes.outdated)


def _outdated(index: Index, seen: Collection[str], files: Collection[object]) -> Iterator[str]:
    """Yield the passages of files of the corpus that the corpus does not have."""
    for id_ in index.ids():
        if id_ not in seen and _PASSAGE_NUMBER.sub("", id_) in files:
            yield id_


def _is_passage(document: Document) -> bool:
    return {"file", "passage"} <= document.metadata.keys()
