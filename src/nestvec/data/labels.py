"""Read relevance labels (qrels) from JSON Lines, CSV, TSV and Parquet, and from TREC's format.

TREC's files have no header. A line has four fields, ``query 0 document grade``; other files
without a header have the three fields ``query document grade``.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.data.records import Row, check_columns, id_of, read_lines, read_records, suffix_of
from nestvec.data.tally import Tally
from nestvec.errors import DataError

PLAIN_SUFFIXES = (".txt", ".qrels", ".qrel", ".trec")  # fields are separated by white space
LABEL_FORMATS = (
    "qrels/<split>.tsv, .csv, .jsonl or .parquet with the columns query-id, corpus-id and score, "
    "or qrels.txt in TREC's format"
)

_NAMES = {
    "query-id": ("query-id", "qid", "queryid"),
    "corpus-id": ("corpus-id", "doc-id", "document-id", "docid", "docno", "pid"),
    "score": ("score", "relevance", "rel", "grade", "label"),
}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_WITHOUT_HEADER = {
    3: ("query-id", "corpus-id", "score"),
    4: ("query-id", "iteration", "corpus-id", "score"),
}


_logger = logging.getLogger(__name__)


class _Label(NamedTuple):
    """The grade of a document for a query, and the number of its line."""

    line: int
    query_id: str
    document_id: str
    grade: int


def read_qrels(
    files: Sequence[Path],
    *,
    queries: Container[str],
    documents: Container[str],
    strict: bool,
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Read the labels of one split; ids that are numbers become text, and ``1.0`` becomes 1.

    Labels of unknown queries and documents are ignored, with a warning.

    Args:
        files: The parts of the split.
        queries: Ids of the queries.
        documents: Ids of the documents.
        strict: Raise an error for unknown ids.

    Returns:
        Grades by query id and document id, and the counts ``unknown_documents`` and
        ``unknown_queries`` (distinct ids).

    Raises:
        DataError: If a file is malformed, a column is missing, a grade is not an integer, or two
            grades of a document for a query differ.
    """
    grades: dict[str, dict[str, int]] = {}
    unknown: dict[str, dict[str, None]] = {"document": {}, "query": {}}  # in order
    tally = Tally(*files)
    for path in files:
        for label in _read_labels(path, tally):
            for kind, id_, known in (
                ("query", label.query_id, queries),
                ("document", label.document_id, documents),
            ):
                if id_ in known:
                    continue
                if strict:
                    problem = f"names the unknown {kind} {id_!r}. Correct or delete the line."
                    raise DataError(path, problem, line=label.line)
                unknown[kind][id_] = None
            if label.query_id in queries:
                of_query = grades.setdefault(label.query_id, {})
                if label.document_id in documents:
                    _add(path, of_query, label, tally)
    tally.log()
    _warn_of_unknown(files[0], unknown)
    return grades, {
        "unknown_documents": len(unknown["document"]),
        "unknown_queries": len(unknown["query"]),
    }


def _add(path: Path, of_query: dict[str, int], label: _Label, tally: Tally) -> None:
    if label.document_id not in of_query:
        of_query[label.document_id] = label.grade
        return
    pair = f"query {label.query_id!r} and document {label.document_id!r}"
    if of_query[label.document_id] != label.grade:
        problem = f"{pair} have another score in an earlier line. Delete one of the lines."
        raise DataError(path, problem, line=label.line)
    tally.add("repeated labels, skipped", pair)


def _warn_of_unknown(path: Path, unknown: Mapping[str, Mapping[str, None]]) -> None:
    examples = [f"{kind} {next(iter(ids))!r}" for kind, ids in unknown.items() if ids]
    if examples:
        _logger.warning(
            "%s: ignored relevance labels of %d unknown documents and %d unknown queries, such as "
            "%s",
            path,
            len(unknown["document"]),
            len(unknown["query"]),
            " and ".join(examples),
        )


def _read_labels(path: Path, tally: Tally) -> Iterator[_Label]:
    """Yield each label of a file, and count values that are converted and unused columns."""
    columns: dict[str, str] = {}
    for line, row in _read_rows(path):
        if not columns:
            columns = _columns_of(row)
            check_columns(path, row, columns.values(), line=line)
            for unused in row:
                if unused not in (*columns.values(), "iteration"):
                    tally.add("columns that are not used", unused)
        query_id, document_id = (
            id_of(path, row, columns[name], line=line, tally=tally)
            for name in ("query-id", "corpus-id")
        )
        check_columns(path, row, [columns["score"]], line=line)
        grade = _grade(path, row[columns["score"]], line=line, tally=tally)
        yield _Label(line, query_id, document_id, grade)


def has_labels(path: Path) -> bool:
    """Return whether the columns of a file are those of relevance labels."""
    try:
        _, row = next(_read_rows(path))
    except DataError:
        return False
    return all(column in row for column in _columns_of(row).values())


def _read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    suffix = suffix_of(path)
    if suffix not in (*_DELIMITERS, *PLAIN_SUFFIXES):
        return read_records(path)
    first = next((text for _, text in read_lines(path) if text.strip()), "")
    header = _fields(first, suffix)
    named = _has_names(header)
    if not header:
        raise DataError(path, "contains no rows")
    if named and suffix in _DELIMITERS:
        return read_records(path)
    return _read_lines(path, header if named else None)


def _read_lines(path: Path, header: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
    skip = header is not None
    for line, text in read_lines(path):
        fields = _fields(text, suffix_of(path))
        if not any(fields):
            continue
        if skip:
            skip = False
            continue
        names = header or _WITHOUT_HEADER.get(len(fields), ())
        if len(fields) != len(names):
            problem = f"has {len(fields)} fields. Expected a header, or the fields query document"
            raise DataError(path, f"{problem} grade, or query 0 document grade.", line=line)
        yield line, dict(zip(names, fields, strict=True))


def _fields(text: str, suffix: str) -> list[str]:
    delimiter = _DELIMITERS.get(suffix)
    if delimiter is None or delimiter not in text:
        return text.split()
    return [field.strip('"') for field in text.rstrip("\r\n").split(delimiter)]


def _columns_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the column of a row for each of the three values; the usual name if none fits."""
    by_name = {_normalized(column): column for column in row}
    return {
        name: next((by_name[each] for each in known if each in by_name), name)
        for name, known in _NAMES.items()
    }


def _has_names(fields: Sequence[str]) -> bool:
    known = {each for names in _NAMES.values() for each in names}
    return any(_normalized(field) in known for field in fields)


def _normalized(column: str) -> str:
    return column.strip().lower().replace("_", "-")


def _grade(path: Path, score: object, *, line: int, tally: Tally) -> int:
    value = float("nan")
    if isinstance(score, str | int | float) and not isinstance(score, bool):
        with suppress(ValueError, OverflowError):
            value = float(score)
    if not value.is_integer():
        problem = f"score {repr(score)[:40]} is not an integer"
        raise DataError(path, f"{problem}. Grades are integers, such as 0, 1 and 2.", line=line)
    if not isinstance(score, int) and str(score) != str(int(value)):
        tally.add("grades that are decimal numbers, read as integers", score)
    return int(value)
