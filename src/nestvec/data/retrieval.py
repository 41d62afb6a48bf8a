"""Load and save retrieval sets: a corpus, queries, and which documents answer which query.

The layout is that of BEIR (arXiv 2104.08663): a folder with ``corpus.jsonl``, ``queries.jsonl``
and ``qrels/<split>.tsv``, each also as ``.gz``. Real sets are untidy: a judgement of an unknown
document or query is counted and left out, unless ``strict`` makes it an error. Sets without
relevance labels are made of a query log here, and of nothing but a corpus in ``made_queries``.
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
    """Queries of one split, judged against a corpus.

    Attributes:
        name: The folder's name.
        split: The split that ``queries`` and ``qrels`` come from; without a split, what the
            queries come from ("query log", "title").
        corpus: All documents by id.
        queries: The split's queries that have a relevant document, by id; all where nothing is
            judged.
        qrels: For each of ``queries``, the grade of each judged document of ``corpus``; empty
            where the evidence is agreement.
        counts: What was untidy: ``unknown_documents`` and ``unknown_queries`` (distinct ids that
            are judged but do not exist), ``queries_without_relevant``; of a query log and of made
            queries, what was left out.
        evidence: What a measurement on it rests on.
        query_fields: What else is known of each query, by id: values of its other columns.
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
    """Load one split of a BEIR folder, or one without relevance labels as a query log.

    Args:
        path: The folder. Where it has no ``qrels``, the evidence is agreement.
        split: A file name under ``qrels``. Not given: ``test``; failing that the only split, or
            ``dev``.
        strict: Refuse relevance labels of unknown documents or queries instead of counting them.

    Raises:
        DataError: If a file is missing or malformed, the split does not exist, or none of its
            queries has a relevant document.
    """
    path = Path(path)
    if split is None and not any((path / "qrels").glob("*.tsv*")):
        return load_query_log(path, _find_unjudged_queries(path))
    corpus = load_documents(find_file(path, "corpus.jsonl"))
    texts, fields = _load_queries(find_file(path, "queries.jsonl"))
    split, qrels_path = _choose_split(path, split)
    grades, unknown = _read_qrels(qrels_path, corpus, texts, strict=strict)
    qrels = {
        query_id: judged
        for query_id, judged in grades.items()
        if max(judged.values(), default=0) > 0
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
    """Load a corpus and what people asked, without relevance labels: the evidence is agreement.

    Args:
        corpus_path: As ``load_corpus`` takes it.
        queries_path: As ``read_query_log`` takes it.
        limit: How many different queries to keep; None for all.
        seed: Decides which.

    Raises:
        InvalidArgument: If ``limit`` is less than 1.
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
    path: Path | str,
    corpus: Mapping[str, Document],
    queries: Mapping[str, str],
    qrels_by_split: Mapping[str, Qrels],
) -> None:
    """Write a BEIR folder, in the order given; an older one in its place is replaced at the end.

    Raises:
        InvalidArgument: If a split's name is not a plain file name.
        DataError: If ``path`` holds something else than a BEIR folder, or cannot be written.
    """
    for split in qrels_by_split:
        if not split or Path(split).name != split:
            raise InvalidArgument(f"split {split!r} is not a plain file name")
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
                    problem = f"names the unknown {kind} {wanted!r}: correct or delete the line"
                    raise DataError(path, problem, line=line)
        if query_id in queries:
            judged = grades.setdefault(query_id, {})
            if document_id in corpus and judged.setdefault(document_id, grade) != grade:
                problem = (
                    f"query {query_id!r} and document {document_id!r} have another score above"
                )
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
            "%s: left out relevance labels of %d unknown documents and %d unknown queries",
            path,
            counts["unknown_documents"],
            counts["unknown_queries"],
        )


def _find_unjudged_queries(folder: Path) -> Path:
    find_file(folder, "corpus.jsonl")  # without it, that is what is wrong
    for candidate in (folder / "queries.jsonl", folder / "queries.jsonl.gz"):
        if candidate.exists():
            return candidate
    log = "give a query log (load_query_log, --queries)"
    made = "make queries from the corpus (make_queries, --make-queries title)"
    raise DataError(folder, f"has neither qrels nor queries.jsonl: {log} or {made}")


def _choose_split(folder: Path, split: str | None) -> tuple[str, Path]:
    found = {
        file.name.removesuffix(".gz").removesuffix(".tsv"): file
        for file in sorted((folder / "qrels").glob("*.tsv*"), reverse=True)  # plain beats .gz
        if file.name.endswith((".tsv", ".tsv.gz"))
    }
    if not found:
        raise DataError(folder, "has no qrels/<split>.tsv (or .tsv.gz)")
    only = list(found) if len(found) == 1 else []
    wanted = ["test", *only, "dev"] if split is None else [split]
    for name in wanted:
        if name in found:
            return name, found[name]
    raise DataError(folder, f"has no split {wanted[0]!r}: name one of {', '.join(sorted(found))}")


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
        # The dialect of read_records: an id with a tab or a quote in it comes back as it was.
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(_HEADER)
        for query_id, grades in qrels.items():
            writer.writerows(
                (query_id, document_id, grade) for document_id, grade in grades.items()
            )
