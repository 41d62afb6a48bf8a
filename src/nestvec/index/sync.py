"""Update an index from a corpus: add new documents, and replace changed ones.

Unchanged documents are not encoded again, so the same call continues an interrupted update. The
corpus is read twice in blocks: once to compare it, and once to encode it.
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
    """The differences between a corpus and an index.

    Attributes:
        corpus: The corpus.
        new: Ids of documents that the index does not contain.
        changed: Ids of documents that differ from those in the index.
        same: Number of documents that equal those in the index.
        outdated: Ids in the index of passages that their file no longer contains.
    """

    corpus: Corpus
    new: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    outdated: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of documents to encode."""
        return len(self.new) + len(self.changed)

    def texts(self) -> Iterator[str]:
        """Yield the texts of the documents to encode; the corpus is read."""
        ids = {*self.new, *self.changed}
        return (document.content for id_, document in self.corpus if id_ in ids)


def compare(index: Index, corpus: Corpus | Mapping[str, Document]) -> Changes:
    """Compare an index with a corpus. No model is loaded."""
    new: list[str] = []
    changed: list[str] = []
    same, seen, files = 0, set[str](), set[object]()
    compared = Corpus.of(corpus)
    documents = iter(compared)
    while block := dict(islice(documents, _BLOCK)):
        existing = index.get(list(block))
        for id_, document in block.items():
            if id_ not in existing:
                new.append(id_)
            elif existing[id_] != document:
                changed.append(id_)
            else:
                same += 1
            if _is_passage(document):
                files.add(document.metadata["file"])
        seen.update(block)
    outdated = tuple(_outdated(index, seen, files)) if files else ()
    return Changes(compared, tuple(new), tuple(changed), same, outdated)


def apply_changes(index: Index, changes: Changes, *, on_progress: OnProgress | None = None) -> None:
    """Add the new documents, replace the changed ones, and delete the outdated passages.

    Args:
        index: The index that was compared.
        changes: The result of ``compare``.
        on_progress: Called with the number of encoded documents and the total.

    Raises:
        IndexLocked: If another process changes the index.
        ModelError: If the model cannot encode texts, or cannot be found.
        DataError: If the disk is full. The index then contains the batches before the error.
    """
    ids = {*changes.new, *changes.changed}
    updated = Corpus(
        lambda: ((id_, document) for id_, document in changes.corpus if id_ in ids),
        len(ids),
    )
    index.upsert_documents(updated, on_progress=on_progress)
    if changes.outdated:
        index.delete(changes.outdated)


def _outdated(index: Index, seen: Collection[str], files: Collection[object]) -> Iterator[str]:
    """Yield the ids of passages of the corpus's files that are not in the corpus."""
    for id_ in index.ids():
        if id_ not in seen and _PASSAGE_NUMBER.sub("", id_) in files:
            yield id_


def _is_passage(document: Document) -> bool:
    return {"file", "passage"} <= document.metadata.keys()
