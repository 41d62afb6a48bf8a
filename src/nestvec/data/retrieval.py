"""Load and save retrieval sets: a corpus, queries and relevance labels (qrels).

The usual layout is that of BEIR (arXiv 2104.08663): a folder with ``corpus.jsonl``,
``queries.jsonl`` and ``qrels/<split>.tsv``. ``dataset_files`` lists the other layouts, and ``hub``
the layouts of data sets of the Hugging Face hub. Labels of
unknown documents or queries are ignored and counted, unless ``strict`` is set. Without relevance
labels, load a query log or generate queries with ``made_queries``.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from nestvec.data.corpus import (
    Corpus,
    load_corpus,
    load_documents,
    states_texts,
    without_texts,
)
from nestvec.data.dataset_files import DatasetFiles, find_corpus
from nestvec.data.hub import (
    check_no_hub_options,
    find_hub_tables,
    is_hub_folder,
    is_hub_id,
)
from nestvec.data.labels import read_qrels
from nestvec.data.metadata import MetadataReader
from nestvec.data.query_log import MAX_QUERIES, QueryLog, query_column_of, read_query_log
from nestvec.data.records import (
    Part,
    Row,
    id_column_of,
    id_of,
    metadata_of,
    optional_text_of,
    path_of,
    read_texts,
)
from nestvec.data.tally import Tally
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.atomic import replace_folder
from nestvec.types import Document, Evidence, Metadata
from nestvec.wording import count_text

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
            ids in the qrels that do not exist), ``queries_without_relevant`` and
            ``queries_without_labels``; and ``empty_queries``, which are not ignored. Query logs
            and generated queries have other counts.
        evidence: What metrics on this set are measured against.
        query_fields: Values of the other columns of each query, by query id.
        labels: The file of the relevance labels, and the splits that were not loaded; "" without
            labels.
        has_texts: Whether the documents have texts; False if only their ids are known.
    """

    name: str
    split: str
    corpus: dict[str, Document]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    counts: dict[str, int]
    evidence: Evidence = "labels"
    query_fields: Mapping[str, Metadata] = field(default_factory=dict)
    labels: str = ""
    has_texts: bool = True


class _Sources(NamedTuple):
    """Where the tables of a retrieval set are; ``corpus`` can be ids of documents without texts."""

    name: str
    split: str
    labels: str
    corpus: Sequence[Part] | dict[str, Document]
    queries: Sequence[Part]
    qrels: Sequence[Part]


def load_dataset(
    path: Path | str,
    *,
    split: str | None = None,
    strict: bool = False,
    subset: str | None = None,
    revision: str | None = None,
    document_ids: Iterable[str] | None = None,
) -> RetrievalSet:
    """Load one split of a retrieval set; a folder without labels is loaded as a query log.

    Args:
        path: A folder in a layout of BEIR, MTEB or TREC (see ``dataset_files``), or the id of a
            data set of the Hugging Face hub, owner/name (see ``hub``). A folder that exists takes
            precedence. Without relevance labels, the evidence of a folder is agreement.
        split: A file name in ``qrels``, such as "test". By default ``test``; if there is none, the
            only split, ``dev`` or ``validation``.
        strict: Raise an error for labels of unknown documents or queries, instead of ignoring and
            counting them.
        subset: Name of one set of a repository that contains several, such as "NanoSciFact".
        revision: Branch, tag or commit of the repository; None for its main branch.
        document_ids: Ids of stored vectors of documents, such as ``load_embeddings(path).ids``. If
            the folder has no texts of documents, these are its documents. Otherwise not used.

    Raises:
        InvalidArgument: If a folder does not have subsets or revisions, or an id is no string or
            appears twice.
        DataError: If a file is missing or malformed, the hub cannot be reached, the split or the
            subset does not exist, or none of the queries has a relevant document.
        MissingExtra: If the hub is needed and ``datasets`` is not installed.
    """
    name, path = str(path), Path(path)
    check_no_hub_options(path, subset=subset, revision=revision)
    if _is_in_hub_layout(name, subset):
        found = find_hub_tables(path, subset=subset, split=split, revision=revision)
        tables = (found.corpus,), (found.queries,), (found.qrels,)
        return _load_labeled(_Sources(found.name, found.split, found.labels, *tables), strict)
    files = DatasetFiles.find(path)
    documents = None
    if document_ids is not None and lacks_texts(path):
        documents = without_texts(document_ids)
    else:
        files.check_corpus()
    if split is None and not files.qrels:
        return _load_unlabeled(files, documents)
    split = files.choose_split(split)
    corpus = () if documents else files.corpus_of(split)
    queries, qrels = files.queries_of(split), files.qrels[split]
    if not queries:
        raise DataError(path, "has relevance labels but no queries.jsonl (or .parquet, .csv, .tsv)")
    folder, labels = files.folder.resolve().name, files.describe_labels(split)
    data = _load_labeled(
        _Sources(folder, split, labels, documents or corpus, queries, qrels), strict
    )
    files.warn_unread((*corpus, *queries, *qrels), vectors=documents is not None)
    return data


def lacks_texts(path: Path) -> bool:
    """Return whether a folder of queries has no texts of documents, so that only ids are needed.

    Raises:
        DataError: If a file cannot be read.
    """
    if not path.is_dir():
        return False
    files = DatasetFiles.find(path)
    tables = [part for parts in files.corpus.values() for part in parts[:1]]
    return bool(files.queries) and not any(map(states_texts, tables))


def _is_in_hub_layout(name: str, subset: str | None) -> bool:
    """Return whether a name is an id of the hub, or a folder that has only the hub's layout."""
    path = Path(name)
    if not path.exists():
        return is_hub_id(name)
    if not (path.is_dir() and is_hub_folder(path)):
        return False
    return subset is not None or not find_corpus(path) or not DatasetFiles.find(path).qrels


def _load_labeled(sources: _Sources, strict: bool) -> RetrievalSet:
    has_texts = not isinstance(sources.corpus, dict)
    corpus = sources.corpus if isinstance(sources.corpus, dict) else load_documents(sources.corpus)
    texts, fields = _load_queries(sources.queries)
    grades, counts = read_qrels(sources.qrels, queries=texts, documents=corpus, strict=strict)
    qrels = {
        query_id: labels
        for query_id, labels in grades.items()
        if max(labels.values(), default=0) > 0
    }
    if not qrels:
        problem = "no query has a relevant document (score > 0) in the corpus"
        raise DataError(path_of(sources.qrels[0]), problem)
    counts |= {
        "queries_without_relevant": len(grades) - len(qrels),
        "queries_without_labels": len(texts) - len(grades),
        "empty_queries": sum(not texts[query_id].strip() for query_id in qrels),
    }
    if not has_texts:
        _warn_of_same_ids(sources.name, corpus, qrels)
    return RetrievalSet(
        name=sources.name,
        split=sources.split,
        corpus=corpus,
        queries={query_id: texts[query_id] for query_id in qrels},
        qrels=qrels,
        counts=counts,
        query_fields={query_id: fields[query_id] for query_id in qrels},
        labels=sources.labels,
        has_texts=has_texts,
    )


def _warn_of_same_ids(name: str, corpus: Container[str], queries: Iterable[str]) -> None:
    """Log that queries can be documents: without texts, this is not known."""
    same = [id_ for id_ in queries if id_ in corpus]
    if same:
        _logger.warning(
            "%s: %s with the id of a document, such as %r. Without texts of documents it is not "
            "known whether a query is itself a document, so no document is left out.",
            *(name, count_text(len(same), "query"), same[0]),
        )


def _load_unlabeled(files: DatasetFiles, documents: dict[str, Document] | None) -> RetrievalSet:
    queries = files.queries_of()
    if not queries:
        log = "Pass a query log (load_query_log, --queries)"
        generated = "generate queries from the corpus (make_queries, --make-queries title)"
        problem = "has neither qrels nor queries.jsonl (or .parquet, .csv, .tsv)"
        raise DataError(files.folder, f"{problem}. {log}, or {generated}.")
    if documents is None:
        data = load_query_log(files.folder, queries)
        files.warn_unread((*files.corpus_of(), *queries))
        return data
    data = _with_query_log(files.folder, documents, read_query_log(queries))
    files.warn_unread(queries, vectors=True)
    _warn_of_same_ids(data.name, documents, data.queries)
    return replace(data, has_texts=False)


def load_query_log(
    corpus_path: Path | str,
    queries_path: Path | str | Sequence[Path],
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
    return _with_query_log(Path(corpus_path), corpus, log)


def load_log_of_ids(
    name: str,
    document_ids: Iterable[str],
    queries_path: Path | str | Sequence[Path],
    *,
    limit: int | None = MAX_QUERIES,
    seed: int = 0,
) -> RetrievalSet:
    """Load a query log for documents of which only the ids are known: stored vectors.

    Args:
        name: Name of the set.
        document_ids: The ids of the documents.
        queries_path: As in ``read_query_log``.
        limit: Most distinct queries to return; None for all.
        seed: Seed of the sample if there are more than ``limit``.

    Raises:
        InvalidArgument: If ``limit`` is below 1, or an id is no string or appears twice.
        DataError: If a file is missing or malformed, or there is no query.
    """
    log = read_query_log(queries_path, limit=limit, seed=seed)
    data = _with_query_log(Path(name), without_texts(document_ids), log)
    _warn_of_same_ids(name, data.corpus, data.queries)
    return replace(data, name=name, has_texts=False)


def _with_query_log(path: Path, corpus: dict[str, Document], log: QueryLog) -> RetrievalSet:
    return RetrievalSet(
        name=path.resolve().name.partition(".")[0],
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
        _write_jsonl(folder / "corpus.jsonl", (_document_row(*item) for item in Corpus.of(corpus)))
        rows = ({"_id": query_id, "text": text} for query_id, text in queries.items())
        _write_jsonl(folder / "queries.jsonl", rows)
        (folder / "qrels").mkdir()
        for split, qrels in qrels_by_split.items():
            _write_qrels(folder / "qrels" / f"{split}.tsv", qrels)


def _load_queries(files: Sequence[Part]) -> tuple[dict[str, str], dict[str, Metadata]]:
    queries: dict[str, str] = {}
    fields: dict[str, Metadata] = {}
    tally, reader = Tally(*map(path_of, files)), MetadataReader()
    for path, line, row in _rows_of(files, tally):
        id_column, column = id_column_of(row), query_column_of(path, row, line=line)
        query_id = id_of(path, row, id_column, line=line, tally=tally)
        text = optional_text_of(path, row, column, line=line, tally=tally)
        if query_id not in queries:
            queries[query_id] = text
            fields[query_id] = reader.read(query_id, metadata_of(row, (id_column, column)))
        elif queries[query_id] == text:
            tally.add("repeated queries, skipped", query_id)
        else:
            problem = f"id {query_id!r} appears twice, with different queries. Ids must be unique."
            raise DataError(path, problem, line=line)
    tally.log()
    reader.warn(tally.path)
    return queries, fields


def _rows_of(files: Sequence[Part], tally: Tally) -> Iterator[tuple[Path, int, Row]]:
    for part in files:
        for line, row in read_texts(part, tally):
            yield path_of(part), line, row


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
