"""Build a retrieval set from the docstrings of this Python installation.

A query is the first paragraph of a docstring. Its relevant document is the rest of the docstring,
with the qualified name and the signature. The queries of a top-level package (in the standard
library: of a module) are all in one split.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import sysconfig
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nestvec.data.definitions import Definition, read_definitions
from nestvec.data.processes import map_in_processes
from nestvec.errors import DataError
from nestvec.types import Document, OnProgress

MAX_PER_PACKAGE = 2_000
"""Most documents of one package, so that a few large packages do not dominate the corpus."""

_TESTS = {"test", "tests", "testing"}
_VENDORED = {"_vendor", "vendor", "vendored", "_vendored", "extern", "externals", "_distutils"}
_NOT_LIBRARIES = {"idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"}
_SKIPPED_FOLDERS = _TESTS | _VENDORED | _NOT_LIBRARIES
_MAX_BYTES = 1_000_000  # longer files are generated code
_MAX_ANSWERS = 5  # a question of more documents is boilerplate
# The largest packages, up to this share of the queries, are in the train split only. Each of them
# would be most of a held-out split.
_TRAIN_ONLY = 0.5
_SHARES = {"test": 0.17, "dev": 0.04}
_MAX_DEV_QUERIES = 1_000
_MAX_WORKERS = 8  # starting more would take longer than reading
_FEW_FILES = 300  # faster to read in this process

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DocstringCorpus:
    """A retrieval set with all splits.

    Attributes:
        corpus: All documents by id, the qualified name; metadata: ``file``, ``line``.
        queries: Queries of all splits by id.
        qrels_by_split: Qrels of ``train``, ``dev`` and ``test``.
        counts: ``files`` read, ``broken_files`` that Python cannot parse, ``duplicates`` dropped.
    """

    corpus: dict[str, Document]
    queries: dict[str, str]
    qrels_by_split: dict[str, dict[str, dict[str, int]]]
    counts: dict[str, int]


class _File(NamedTuple):
    path: str
    shown: str  # relative to the installation's root, such as lib/python3.11/csv.py
    module: str


class _Package(NamedTuple):
    files: list[_File]
    max_documents: int


class _Found(NamedTuple):
    definition: Definition
    shown: str


class _Reading(NamedTuple):
    found: list[_Found]
    files: int
    broken_files: int


def harvest_docstrings(
    *,
    quick: bool = False,
    seed: int = 0,
    max_per_package: int = MAX_PER_PACKAGE,
    max_test_queries: int = 4_000,
    roots: Sequence[Path] | None = None,
    on_progress: OnProgress | None = None,
) -> DocstringCorpus:
    """Build a retrieval set from the docstrings of this Python installation, on all cores.

    Args:
        quick: Whether to read only the standard library, not site-packages.
        seed: Seed for choosing the held-out packages and queries.
        max_per_package: Most documents of one top-level package.
        max_test_queries: Most queries of the test split.
        roots: Folders of packages to read instead of this installation.
        on_progress: Called with the number of files read and the number of all files.

    Raises:
        DataError: If the folders contain no docstring.
    """
    if roots is None:
        roots = _installed_roots(quick=quick)
    packages = [_Package(files, max_per_package) for files in _files_by_package(roots)]
    readings = _read_packages(packages, on_progress)
    found = sorted(one for reading in readings for one in reading.found)
    if not found:
        raise DataError(", ".join(map(str, roots)), "contains no Python file with a docstring")
    corpus, questions = _make_documents(found)
    split_of = _split_packages(Counter(map(_package_of, questions)), seed)
    caps = {"train": len(questions), "dev": _MAX_DEV_QUERIES, "test": max_test_queries}
    queries, qrels_by_split = _make_queries(questions, split_of, caps, seed)
    counts = {
        "files": sum(reading.files for reading in readings),
        "broken_files": sum(reading.broken_files for reading in readings),
        "duplicates": len(found) - len(corpus),
    }
    return DocstringCorpus(corpus, queries, qrels_by_split, counts)


def _installed_roots(*, quick: bool) -> list[Path]:
    kinds = ("stdlib",) if quick else ("stdlib", "purelib", "platlib")
    return [Path(path) for path in dict.fromkeys(sysconfig.get_path(kind) for kind in kinds)]


def _files_by_package(roots: Iterable[Path]) -> list[list[_File]]:
    """Group files by top-level package, largest first, so that the longest work starts first."""
    packages = defaultdict(list)
    for root in roots:
        for file in _find_files(root.absolute()):
            packages[_package_of(file.module)].append(file)
    for files in packages.values():
        # In hash order, the documents below the cap come from all parts of the package.
        files.sort(key=lambda file: _hash(file.module))
    return sorted(packages.values(), key=len, reverse=True)


def _find_files(root: Path) -> Iterator[_File]:
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    base = next((prefix for prefix in prefixes if root.is_relative_to(prefix)), root.parent)
    for folder, subfolders, names in os.walk(root):
        # Names that are not identifiers are scripts, metadata and caches.
        subfolders[:] = sorted(
            name for name in subfolders if name.isidentifier() and name not in _SKIPPED_FOLDERS
        )
        parents = Path(folder).relative_to(root).parts
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 (pathlib is slow for 15,000 files)
            if suffix == ".py" and stem.isidentifier():
                path = Path(folder, name)
                parts = parents if stem == "__init__" and parents else (*parents, stem)
                yield _File(str(path), path.relative_to(base).as_posix(), ".".join(parts))


def _read_packages(packages: Sequence[_Package], on_progress: OnProgress | None) -> list[_Reading]:
    workers = min(_count_cores(), _MAX_WORKERS)
    if workers > 1 and sum(len(package.files) for package in packages) > _FEW_FILES:
        try:
            with closing(map_in_processes(_read_package, packages, workers)) as readings:
                return _follow(readings, packages, on_progress)
        except (OSError, ImportError, NotImplementedError) as error:
            _logger.info("reading in one process because no other could be started (%r)", error)
    return _follow(map(_read_package, packages), packages, on_progress)


def _follow(
    readings: Iterator[_Reading], packages: Sequence[_Package], on_progress: OnProgress | None
) -> list[_Reading]:
    collected = []
    done, total = 0, sum(len(package.files) for package in packages)
    for package, reading in zip(packages, readings, strict=True):
        collected.append(reading)
        done += len(package.files)
        if on_progress is not None:
            on_progress(done, total)
    return collected


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_package(package: _Package) -> _Reading:
    """Read the files of a package up to its document limit; runs in a worker process."""
    found: list[_Found] = []
    files = broken_files = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the files
        for file in package.files:
            if len(found) >= package.max_documents:
                break
            files += 1
            try:
                found.extend(_Found(one, file.shown) for one in _read_file(file))
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                broken_files += 1
    return _Reading(found[: package.max_documents], files, broken_files)


def _read_file(file: _File) -> list[Definition]:
    source = Path(file.path).read_bytes()
    # Parsing is slow, so files that cannot contain a docstring are not parsed.
    if len(source) > _MAX_BYTES or (b'"""' not in source and b"'''" not in source):
        return []
    return read_definitions(source, file.module)


def _make_documents(found: Iterable[_Found]) -> tuple[dict[str, Document], dict[str, str]]:
    """Return the documents without duplicates, and the questions, by document id."""
    corpus: dict[str, Document] = {}
    questions: dict[str, str] = {}
    texts: set[str] = set()
    for (name, line, question, text), shown in found:
        normalized = " ".join(text.casefold().split())
        if normalized in texts:
            continue
        texts.add(normalized)
        # Property setters and alternative definitions repeat a name.
        document_id = name if name not in corpus else f"{name}@{shown}:{line}"
        corpus[document_id] = Document(text, name, {"file": shown, "line": line})
        if question:
            questions[document_id] = question
    return corpus, questions


def _split_packages(sizes: Mapping[str, int], seed: int) -> dict[str, str]:
    """Assign packages to held-out splits until each split has its share of the queries."""
    total = sum(sizes.values())
    split_of: dict[str, str] = {}
    small, seen = [], 0
    for package in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if seen >= _TRAIN_ONLY * total:
            small.append(package)
        seen += sizes[package]
    filled = dict.fromkeys(_SHARES, 0)
    for package in sorted(small, key=lambda name: _hash(f"{seed} {name}")):
        split = next((name for name in _SHARES if filled[name] < _SHARES[name] * total), None)
        if split is not None:
            filled[split] += sizes[package]
            split_of[package] = split
    return dict.fromkeys(sizes, "train") | split_of


def _make_queries(
    questions: Mapping[str, str],
    split_of: Mapping[str, str],
    caps: Mapping[str, int],
    seed: int,
) -> tuple[dict[str, str], dict[str, dict[str, dict[str, int]]]]:
    """Merge equal questions; drop queries of two splits or of many documents."""
    answers = defaultdict(list)
    for document_id, question in questions.items():
        answers[question.casefold()].append(document_id)
    ids_by_split: dict[str, list[str]] = {split: [] for split in caps}
    documents_of = {f"q:{ids[0]}": ids for ids in answers.values() if len(ids) <= _MAX_ANSWERS}
    for query_id, ids in documents_of.items():
        splits = {split_of[_package_of(document_id)] for document_id in ids}
        if len(splits) == 1:
            ids_by_split[splits.pop()].append(query_id)
    queries: dict[str, str] = {}
    qrels_by_split = {}
    for split, query_ids in ids_by_split.items():
        sample = sorted(query_ids, key=lambda name: _hash(f"{seed} {name}"))[: caps[split]]
        queries |= {query_id: questions[documents_of[query_id][0]] for query_id in sorted(sample)}
        qrels_by_split[split] = {
            query_id: dict.fromkeys(documents_of[query_id], 1) for query_id in sorted(sample)
        }
    return queries, qrels_by_split


def _package_of(name: str) -> str:
    return name.split(".", 1)[0]


def _hash(text: str) -> bytes:
    # A pseudo-random order that does not depend on the platform or on other packages.
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
