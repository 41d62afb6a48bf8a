"""Find the files of a retrieval set in a folder, in the layouts of BEIR, MTEB, TREC and MS MARCO.

A file is found by its name. Parts such as ``corpus-00000-of-00002.parquet`` form one table:

    corpus     corpus.*, corpus/corpus-*, corpus/<split>-*, data/corpus-*, collection.*
    queries    queries.* or query.*, queries/queries-*, queries/<split>-*, data/queries-*,
               queries.<split>.*
    labels     qrels/<split>.*, qrels/<split>-*, qrels.*, qrels-<split>.*, data/<split>-*

Files are not opened, except to check that ``data/<split>`` contains labels. A set of stored vectors
may have no corpus file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestvec.data.labels import LABEL_FORMATS, PLAIN_SUFFIXES, has_labels
from nestvec.data.records import refuse_vectors, suffix_of
from nestvec.data.tally import Tally
from nestvec.errors import DataError

Parts = tuple[Path, ...]
"""The files that form one table, in order; usually one file."""
Tables = Mapping[str, Parts]
"""Tables by name: the file name without part number and suffix."""

_SUFFIXES = (".jsonl", ".tsv", ".csv", ".parquet")  # in order of preference
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_CORPUS, _QUERIES = ("corpus", "collection"), ("queries", "query")
_SPLITS = ("test", "dev", "validation", "default")  # in order of preference
_KNOWN_SPLITS = (*_SPLITS, "train", "val")


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a retrieval set.

    Attributes:
        folder: The folder.
        corpus: Tables of documents; empty if there are none.
        queries: Tables of queries; empty if there are none.
        qrels: Tables of relevance labels, by split; empty if there are none.
    """

    folder: Path
    corpus: Tables
    queries: Tables
    qrels: Tables

    @classmethod
    def find(cls, folder: Path) -> DatasetFiles:
        """Find the files in a folder.

        Raises:
            DataError: If there is no such folder, or relevance labels have an unknown format.
        """
        if folder.is_file():
            refuse_vectors(folder)
        if not folder.is_dir():
            raise DataError(folder, "does not exist" if not folder.exists() else "is not a folder")
        queries = _find(folder, _QUERIES) or _find_by_split(folder, _QUERIES[0])
        return cls(folder, _find(folder, _CORPUS), queries, _find_qrels(folder))

    def check_corpus(self) -> None:
        """Check that there is a table of documents.

        Raises:
            DataError: If there is none.
        """
        if self.corpus:
            return
        problem = "has no corpus.jsonl (or .jsonl.gz, .parquet, .csv, .tsv)"
        if not (self.queries and self.qrels):
            raise DataError(self.folder, f"{problem}, so it is not a retrieval set")
        remedy = "Add the texts, or pass stored vectors in place of the model"
        raise DataError(self.folder, f"{problem}. {remedy} (load_dataset: document_ids).")

    def choose_split(self, split: str | None) -> str:
        """Return the split to load: ``split``, else the preferred one.

        Raises:
            DataError: If there is no such split.
        """
        if not self.qrels:
            raise DataError(self.folder, "has no qrels/<split>.tsv (or .jsonl, .csv, .parquet)")
        if found := preferred_split([*self.qrels], split):
            return found
        known = ", ".join(sorted(self.qrels))
        raise DataError(
            self.folder, f"has no split {split or _SPLITS[0]!r}. Choose one of {known}."
        )

    def corpus_of(self, split: str = _SPLITS[0]) -> Parts:
        """Return the documents of a split: most sets have one corpus for all splits."""
        return self._pick(self.corpus, (*_CORPUS, split))

    def queries_of(self, split: str = _SPLITS[0]) -> Parts:
        """Return the queries of a split; empty if there are none."""
        # In MS MARCO, the queries of dev.small are also in dev.
        names = (*_QUERIES, split, split.partition(".")[0])
        return self._pick(self.queries, names) if self.queries else ()

    def describe_labels(self, split: str) -> str:
        """Return the file of the labels of a split, and the names of the other splits."""
        file = self.qrels[split][0].relative_to(self.folder).as_posix()
        others = ", ".join(sorted(set(self.qrels) - {split}))
        return f"{file} (other splits: {others})" if others else file

    def warn_unread(self, used: Iterable[Path], *, vectors: bool = False) -> None:
        """Log a warning if the folder contains other tables, except those of other splits.

        Args:
            used: The files that were read.
            vectors: Whether tables of documents and of queries can be vectors, which are read
                elsewhere.
        """
        others = [parts for name, parts in self.queries.items() if name not in _QUERIES]
        known = {*used, *(path for parts in (*self.qrels.values(), *others) for path in parts)}
        tally = Tally(self.folder)
        for path in _data_files(self.folder):
            place = path.relative_to(self.folder)
            of_vectors = vectors and place.parts[0].partition(".")[0] in (*_CORPUS, *_QUERIES)
            if path not in known and not of_vectors:
                tally.add("data files that are not read", place.as_posix())
        tally.log()

    def _pick(self, tables: Tables, names: Sequence[str]) -> Parts:
        for name in names:
            if name in tables:
                return tables[name]
        if len(tables) == 1:
            return next(iter(tables.values()))
        first = next(iter(tables.values()))[0]
        found = ", ".join(tables)
        raise DataError(first.parent, f"contains several tables: {found}. Keep one of them.")


def preferred_split(known: Sequence[str], split: str | None) -> str | None:
    """Return ``split`` if it is known; without ``split``, the preferred one; None if there is none.

    Preferred are ``test``, the only split, ``dev``, ``validation`` and ``default``, in this order.
    """
    only = known if len(known) == 1 else []
    names = [_SPLITS[0], *only, *_SPLITS[1:]] if split is None else [split]
    return next((name for name in names if name in known), None)


def find_corpus(folder: Path) -> Parts:
    """Return the files of the corpus in a folder; empty if there is none.

    Raises:
        DataError: If there are several corpora.
    """
    corpus = _find(folder, _CORPUS)
    return DatasetFiles(folder, corpus, {}, {}).corpus_of() if corpus else ()


def _find(folder: Path, names: Sequence[str]) -> Tables:
    """Find the tables with one of the names, or all tables in a subfolder with this name."""
    for place in (folder, *(folder / name for name in names), folder / "data"):
        tables = _tables(place)
        known = names if place.name not in names or place == folder else (*names, *_KNOWN_SPLITS)
        found = {name: parts for name, parts in tables.items() if name in known}
        if found:
            return found
    return {}


def _find_by_split(folder: Path, name: str) -> Tables:
    """Find the tables ``name.<split>``, by split."""
    found = _tables(folder).items()
    return {stem[len(name) + 1 :]: parts for stem, parts in found if stem.startswith(f"{name}.")}


def _find_qrels(folder: Path) -> Tables:
    entries = sorted(each for each in folder.iterdir() if each.name.lower().startswith("qrels"))
    found: dict[str, Parts] = {}
    for entry in entries:
        if entry.is_dir():
            found = {**_tables(entry, plain=True), **found}
    for name, parts in _tables(folder, plain=True).items():
        if name.lower().startswith("qrels"):
            found.setdefault(name[len("qrels") :].strip("._-") or "qrels", parts)
    filled = [each for each in entries if each.is_file() or any(_visible(each))]
    if filled and not found:
        raise DataError(filled[0], f"has no readable relevance labels. Use {LABEL_FORMATS}.")
    if filled:
        return found
    loose = [*_tables(folder / "data").items(), *_tables(folder).items()]
    return {name: parts for name, parts in loose if name in _KNOWN_SPLITS and has_labels(parts[0])}


def _tables(folder: Path, *, plain: bool = False) -> Tables:
    """Return the tables in a folder; of several formats, the first in order of preference."""
    suffixes = (*_SUFFIXES, *PLAIN_SUFFIXES) if plain else _SUFFIXES
    found: dict[str, dict[tuple[int, bool], list[Path]]] = {}
    for path in _visible(folder):
        suffix = suffix_of(path)
        packed = path.name.lower().endswith(".gz")
        if suffix not in suffixes or not path.is_file() or (packed and suffix == ".parquet"):
            continue
        stem = path.name[: -len(suffix) - len(".gz") * packed]
        kinds = found.setdefault(_PART.sub("", stem), {})
        kinds.setdefault((suffixes.index(suffix), packed), []).append(path)
    return {name: tuple(kinds[min(kinds)]) for name, kinds in found.items()}


def _visible(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _data_files(folder: Path) -> Iterator[Path]:
    names = (*_CORPUS, *_QUERIES, "data")
    for path in _visible(folder):
        of_labels = path.name.lower().startswith("qrels")
        inside = path.is_dir() and (path.name in names or of_labels)
        for file in _visible(path) if inside else (path,):
            is_data = suffix_of(file) in _SUFFIXES or (of_labels and suffix_of(file) != ".md")
            if is_data and file.is_file():
                yield file
