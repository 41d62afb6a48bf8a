"""Load and save retrieval sets: a corpus, queries and relevance labels (qrels).

The layout is that of BEIR (arXiv 2104.08663): a folder with ``corpus.jsonl``, ``queries.jsonl``
and ``qrels/<split>.tsv``, each also as ``.gz``. Labels of unknown documents or queries are
ignored and counted, unless ``strict`` is set. Without relevance labels, load a query log or
generate queries with ``made_queries``.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nestvec.data.corpus import find_file, load_corpus, load_documents
from nestvec.data.query_log import MAX_QUERIES, read_query_log
from nestvec.data.records import (
    Row,
    check_columns,
    metadata_of,
    new_id_of,
    read_records,
    text_of,
)
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.atomic import replace_folder
from nestvec.types import Document, Evidence, Metadata

Qrels = Mapping[str, Mapping[str, int]]

_HEADER = ("query-id", "corpus-id", "score")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrievalSet:
    """A corpus with the queries and relevance labels of one split.

    Attributes:
        name: Name of the folder.
        split: Split of ``queries`` and ``qrels``; without a split, the source of the queries
            ("query log", "title").
        corpus: All documents by id.
        queries: Queries by id; with relevance labels, only queries with a relevant document.
        qrels: Grades by query id and document id; empty if the evidence is agreement.
        counts: Number of ignored items: ``unknown_documents`` and ``unknown_queries`` (distinct
            ids in the qrels that do not exist) and ``queries_without_relevant``. Query logs and
            generated queries have other counts.
        evidence: What metrics on this set are measured against.
        query_fields: Values of the other columns of each query, by query id.
    """

    name: str
    split: str
    corpus: dict[str, Document]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    counts: dict[str, int]
    evidence: Evidence = "labels"
    query_fields: Mapping[str, Metadata] = field(default_factory=dict)


def load_dataset(
    path: Path | str, *, split: str | None = None, strict: bool = False
) -> RetrievalSet:
    """Load one split of a BEIR folder; a folder without ``qrels`` is loaded as a query log.

    Args:
        path: The folder. Without ``qrels``, the evidence is agreement.
        split: A file name in ``qrels``, such as "test". By default ``test``; if there is none, the
            only split, or ``dev``.
        strict: Raise an error for labels of unknown documents or queries, instead of ignoring and
            counting them.

    Raises:
        DataError: If a file is missing or malformed, the split does not exist, or none of its
            queries has a relevant document.
    """
    path = Path(path)
    if split is None and not any((path / "qrels").glob("*.tsv*")):
        return load_query_log(path, _find_unlabeled_queries(path))
    corpus = load_documents(find_file(path, "corpus.jsonl"))
    texts, fields = _load_queries(find_file(path, "queries.jsonl"))
    split, qrels_path = _choose_split(path, split)
    grades, unknown = _read_qrels(qrels_path, corpus, texts, strict=strict)
    qrels = {
        query_id: labels
        for query_id, labels in grades.items()
        if max(labels.values(), default=0) > 0
    }
    if not qrels:
        raise DataError(qrels_path, "no query has a relevant document (score > 0) in the corpus")
    counts = {
        "unknown_documents": len(unknown["document"]),
        "unknown_queries": len(unknown["query"]),
        "queries_without_relevant": len(grades) - len(qrels),
    }
    _warn_of_unknown(qrels_path, counts)
    queries = {query_id: texts[query_id] for query_id in qrels}
    known = {query_id: fields[query_id] for query_id in qrels}
    name = path.resolve().name
    return RetrievalSet(name, split, corpus, queries, qrels, counts, query_fields=known)


def load_query_log(
    corpus_path: Path | str,
    queries_path: Path | str,
    *,
    limit: int | None = MAX_QUERIES,
    seed: int = 0,
) -> RetrievalSet:
    """Load a corpus and a query log without relevance labels: the evidence is agreement.

    Args:
        corpus_path: As in ``load_corpus``.
        queries_path: As in ``read_query_log``.
        limit: Most distinct queries to return; None for all.
        seed: Seed of the sample if there are more than ``limit``.

    Raises:
        InvalidArgument: If ``limit`` is below 1.
        DataError: If a file is missing or malformed, or there is no query.
    """
    corpus = load_corpus(corpus_path)
    log = read_query_log(queries_path, limit=limit, seed=seed)
    return RetrievalSet(
        name=Path(corpus_path).resolve().name.partition(".")[0],
        split="query log",
        corpus=corpus,
        queries=log.queries,
        qrels={},
        counts=log.counts,
        evidence="agreement",
        query_fields=log.fields,
    )


def save_dataset(
    corpus: Mapping[str, Document],
    queries: Mapping[str, str],
    qrels_by_split: Mapping[str, Qrels],
    path: Path | str,
) -> None:
    """Write a BEIR folder; an existing BEIR folder is replaced when the new one is complete.

    Raises:
        InvalidArgument: If the name of a split is not a plain file name.
        DataError: If ``path`` is not a BEIR folder or cannot be written.
    """
    for split in qrels_by_split:
        if not split or Path(split).name != split:
            raise InvalidArgument(f"split {split!r} is not a plain file name. Use 'test', say.")
    with replace_folder(Path(path), marker="corpus.jsonl") as folder:
        _write_jsonl(folder / "corpus.jsonl", (_document_row(*item) for item in corpus.items()))
        rows = ({"_id": query_id, "text": text} for query_id, text in queries.items())
        _write_jsonl(folder / "queries.jsonl", rows)
        (folder / "qrels").mkdir()
        for split, qrels in qrels_by_split.items():
            _write_qrels(folder / "qrels" / f"{split}.tsv", qrels)


def _read_qrels(
    path: Path, corpus: Mapping[str, Document], queries: Mapping[str, str], *, strict: bool
) -> tuple[dict[str, dict[str, int]], dict[str, set[str]]]:
    grades: dict[str, dict[str, int]] = {}
    unknown: dict[str, set[str]] = {"query": set(), "document": set()}
    for line, row in read_records(path):
        check_columns(path, row, _HEADER, line=line)
        query_id, document_id = row["query-id"], row["corpus-id"]
        grade = _grade(path, row["score"], line=line)
        for kind, wanted, known in (
            ("query", query_id, queries),
            ("document", document_id, corpus),
        ):
            if wanted not in known:
                unknown[kind].add(wanted)
                if strict:
                    problem = f"names the unknown {kind} {wanted!r}. Correct or delete the line."
                    raise DataError(path, problem, line=line)
        if query_id in queries:
            labels = grades.setdefault(query_id, {})
            if document_id in corpus and labels.setdefault(document_id, grade) != grade:
                pair = f"query {query_id!r} and document {document_id!r}"
                problem = f"{pair} have another score in an earlier line. Delete one of them."
                raise DataError(path, problem, line=line)
    return grades, unknown


def _grade(path: Path, score: str, *, line: int) -> int:
    try:
        return int(score)
    except ValueError as error:
        raise DataError(path, f"score {score!r} is not an integer", line=line) from error


def _warn_of_unknown(path: Path, counts: Mapping[str, int]) -> None:
    if counts["unknown_documents"] or counts["unknown_queries"]:
        _logger.warning(
            "%s: ignored relevance labels of %d unknown documents and %d unknown queries",
            path,
            counts["unknown_documents"],
            counts["unknown_queries"],
        )


def _find_unlabeled_queries(folder: Path) -> Path:
    find_file(folder, "corpus.jsonl")  # a missing corpus is the first error to report
    for candidate in (folder / "queries.jsonl", folder / "queries.jsonl.gz"):
        if candidate.exists():
            return candidate
    log = "Pass a query log (load_query_log, --queries)"
    generated = "generate queries from the corpus (make_queries, --make-queries title)"
    raise DataError(folder, f"has neither qrels nor queries.jsonl. {log}, or {generated}.")


def _choose_split(folder: Path, split: str | None) -> tuple[str, Path]:
    found = {
        file.name.removesuffix(".gz").removesuffix(".tsv"): file
        for file in sorted((folder / "qrels").glob("*.tsv*"), reverse=True)  # plain before .gz
        if file.name.endswith((".tsv", ".tsv.gz"))
    }
    if not found:
        raise DataError(folder, "has no qrels/<split>.tsv (or .tsv.gz)")
    only = list(found) if len(found) == 1 else []
    wanted = ["test", *only, "dev"] if split is None else [split]
    for name in wanted:
        if name in found:
            return name, found[name]
    known = ", ".join(sorted(found))
    raise DataError(folder, f"has no split {wanted[0]!r}. Choose one of {known}.")


def _load_queries(path: Path) -> tuple[dict[str, str], dict[str, Metadata]]:
    queries: dict[str, str] = {}
    fields: dict[str, Metadata] = {}
    for line, row in read_records(path):
        query_id = new_id_of(path, row, "_id", queries, line=line)
        queries[query_id] = text_of(path, row, "text", line=line)
        fields[query_id] = metadata_of(row, ("_id", "text"))
    return queries, fields


def _document_row(document_id: str, document: Document) -> Row:
    row: Row = {"_id": document_id, "title": document.title, "text": document.text}
    return {**row, "metadata": dict(document.metadata)} if document.metadata else row


def _write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_qrels(path: Path, qrels: Qrels) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        # The CSV dialect of read_records, so that ids with tabs or quotes round-trip.
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(_HEADER)
        for query_id, grades in qrels.items():
            writer.writerows(
                (query_id, document_id, grade) for document_id, grade in grades.items()
            )
