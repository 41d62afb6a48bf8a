"""Bring an index up to date with a corpus: add what is new, replace what has changed, no more.

What is there as it should be is not encoded again, so what was interrupted goes on where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nestvec.index.index import Index
from nestvec.types import Document, OnProgress

_PASSAGE_NUMBER = re.compile(r"#[0-9]+\Z")


@dataclass(frozen=True)
class Changes:
    """What a corpus would change in an index.

    Attributes:
        new: Documents whose ids are not there.
        changed: Documents whose ids are there with another content.
        same: How many are there as they are.
        outdated: Ids of passages that a file of the corpus no longer has.
    """

    new: dict[str, Document]
    changed: dict[str, Document]
    same: int
    outdated: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many documents are to be encoded."""
        return len(self.new) + len(self.changed)


def compare(index: Index, corpus: Mapping[str, Document]) -> Changes:
    """Find what a corpus would change in an index, without a model."""
    new, changed = {}, {}
    there = index.get(list(corpus))
    for id_, document in corpus.items():
        if id_ not in there:
            new[id_] = document
        elif there[id_] != document:
            changed[id_] = document
    same = len(corpus) - len(new) - len(changed)
    return Changes(new, changed, same, tuple(_outdated(index, corpus)))


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
    index.upsert_documents({**changes.new, **changes.changed}, on_progress=on_progress)
    if changes.outdated:
        index.delete(changes.outdated)


def _outdated(index: Index, corpus: Mapping[str, Document]) -> Iterator[str]:
    """Yield the passages of files of the corpus that the corpus does not have."""
    files = {document.metadata["file"] for document in corpus.values() if _is_passage(document)}
    if files:
        for id_ in index.ids():
            if id_ not in corpus and _PASSAGE_NUMBER.sub("", id_) in files:
                yield id_


def _is_passage(document: Document) -> bool:
    return {"file", "passage"} <= document.metadata.keys()
