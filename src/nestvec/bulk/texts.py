"""The texts of a corpus or of queries, split into the texts of shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from nestvec.data.corpus import Corpus, is_text_folder, open_corpus, open_queries
from nestvec.data.dataset_files import DatasetFiles
from nestvec.data.text_files import SUFFIXES
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.object_storage import is_object_storage, local_copy
from nestvec.types import Kind

_ROWS = (".jsonl", ".csv", ".tsv", ".parquet", ".gz")  # suffixes of files of rows


@dataclass(frozen=True)
class ShardTexts:
    """The texts of one shard.

    Attributes:
        number: Number of the shard, from 0.
        ids: Ids of the texts, [n].
        texts: The texts, each with its title, [n].
    """

    number: int
    ids: Sequence[str]
    texts: Sequence[str]

    @property
    def file(self) -> str:
        """Name of the shard's file."""
        return f"{self.number:05d}.parquet"

    @cached_property
    def digest(self) -> str:
        """The sha256 of ids and texts."""
        found = hashlib.sha256()
        for pair in zip(self.ids, self.texts, strict=True):
            found.update(json.dumps(pair).encode())
        return found.hexdigest()


def split_texts(corpus: Corpus, rows: int) -> Iterator[ShardTexts]:
    """Yield the texts of each shard in order; only one shard is in memory at a time.

    Args:
        corpus: The texts.
        rows: Number of texts of each shard except the last.
    """
    documents, number = iter(corpus), 0
    while block := list(islice(documents, rows)):
        ids, contents = zip(*((id_, each.content) for id_, each in block), strict=True)
        yield ShardTexts(number, ids, contents)
        number += 1


@dataclass(frozen=True)
class TextSource:
    """Documents or queries at a local path or a URL of object storage.

    Attributes:
        place: As ``path`` of ``open_corpus``, or ``s3://bucket/prefix``. For queries, a folder
            with ``queries.jsonl``, or a file with the columns of a corpus.
        kind: "document" or "query".
        passage_words: As in ``open_corpus``, for a folder of text files only; None for its
            default.
    """

    place: str
    kind: Kind = "document"
    passage_words: int | None = None

    @contextmanager
    def opened(self) -> Iterator[Corpus]:
        """Open the texts. Objects are copied to a temporary folder: texts are read twice.

        Raises:
            DataError: If the texts cannot be read.
            InvalidArgument: If ``passage_words`` does not apply.
        """
        if is_object_storage(self.place):
            with local_copy(self.place, (*_ROWS, *SUFFIXES)) as copy:
                yield self._open(copy)
        else:
            yield self._open(Path(self.place))

    def _open(self, path: Path) -> Corpus:
        words = self.passage_words
        if words is not None:
            if self.kind != "document" or not is_text_folder(path):
                problem = "passage_words applies to documents in a folder of text files"
                raise InvalidArgument(f"{problem}, and {self.place} is none. Omit it.")
            return open_corpus(path, passage_words=words)
        return open_corpus(path) if self.kind == "document" else _open_queries(path)


def _open_queries(path: Path) -> Corpus:
    if not path.is_dir():
        return open_queries(path)
    files = DatasetFiles.find(path).queries_of()
    if not files:
        raise DataError(path, "has no queries.jsonl (or .jsonl.gz, .parquet, .csv, .tsv)")
    if len(files) > 1:
        raise DataError(path, f"has {len(files)} files of queries. Name one of them.")
    return open_queries(files[0])
