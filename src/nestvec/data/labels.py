"""Read relevance labels (qrels) from JSON Lines, CSV, TSV and Parquet, and from TREC's format.

TREC's files have no header. A line has four fields, ``query 0 document grade``; other files
without a header have the three fields ``query document grade``. Data sets with binary labels may
have no grades: each label is then relevant.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.data.records import (
    Part,
    Row,
    Table,
    check_columns,
    id_of,
    path_of,
    read_lines,
    read_part,
    read_records,
    suffix_of,
)
from nestvec.data.tally import Tally
from nestvec.errors import DataError
from nestvec.wording import count_text

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
_UNGRADED = 1  # the grade of labels without a column of grades, as in NanoBEIR
_RUN_FIELDS = 6


_logger = logging.getLogger(__name__)


class _Label(NamedTuple):
    """The grade of a document for a query, and the number of its line."""

    line: int
    query_id: str
    document_id: str
    grade: int


def read_qrels(
    files: Sequence[Part],
    *,
    queries: Container[str],
    documents: Container[str],
    strict: bool,
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Read the labels of one split; ids that are numbers become text, and ``1.0`` becomes 1.

    Labels of unknown queries and documents are ignored, with a warning.

    Args:
        files: The files or tables of the split.
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
    tally = Tally(*map(path_of, files))
    for part in files:
        path = path_of(part)
        for label in _read_labels(part, tally):
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
    _warn_of_unknown(path_of(files[0]), unknown)
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
        problem = f"{pair} have another grade in an earlier line. Delete one of the lines."
        raise DataError(path, problem, line=label.line)
    tally.add("repeated labels, skipped", pair)


def _warn_of_unknown(path: Path, unknown: Mapping[str, Mapping[str, None]]) -> None:
    examples = [f"{kind} {next(iter(ids))!r}" for kind, ids in unknown.items() if ids]
    if examples:
        _logger.warning(
            "%s: ignored relevance labels of %s and %s, such as %s",
            path,
            *(count_text(len(ids), f"unknown {kind}") for kind, ids in unknown.items()),
            " and ".join(examples),
        )


def _read_labels(part: Part, tally: Tally) -> Iterator[_Label]:
    """Yield each label of a table, and count values that are converted and unused columns."""
    path = path_of(part)
    columns: dict[str, str] = {}
    for line, row in _read_rows(part):
        if not columns:
            columns = _find_columns(path, row, line=line, tally=tally)
        query_id = id_of(path, row, columns["query-id"], line=line, tally=tally)
        graded = "score" in columns
        grade = _UNGRADED
        if graded:
            grade = _grade(path, row, columns["score"], line=line, tally=tally)
        for document_id in _document_ids(path, row, columns["corpus-id"], line=line, tally=tally):
            if not graded:
                tally.add(f"labels without grades, read as {_UNGRADED}", document_id)
            yield _Label(line, query_id, document_id, grade)


def _find_columns(path: Path, row: Row, *, line: int, tally: Tally) -> dict[str, str]:
    """Return the column of each value; without a column of grades if there are only ids."""
    columns = _columns_of(row)
    others = [name for name in row if name not in (*columns.values(), "iteration")]
    if columns["score"] not in row and not others:
        del columns["score"]
    check_columns(path, row, columns.values(), line=line)
    for unused in others:
        tally.add("columns that are not used", unused)
    return columns


def _document_ids(path: Path, row: Row, column: str, *, line: int, tally: Tally) -> Iterator[str]:
    """Yield the id in a column, or the ids of its list: some data sets have one row for a query."""
    value = row[column]
    for each in value if isinstance(value, list) else [value]:
        yield id_of(path, {column: each}, column, line=line, tally=tally)


def has_labels(path: Path) -> bool:
    """Return whether the columns of a file are those of relevance labels."""
    try:
        _, row = next(_read_rows(path))
    except DataError:
        return False
    return all(column in row for column in _columns_of(row).values())


def _read_rows(part: Part) -> Iterator[tuple[int, Row]]:
    if isinstance(part, Table) or suffix_of(part) not in (*_DELIMITERS, *PLAIN_SUFFIXES):
        return read_part(part)
    path, suffix = part, suffix_of(part)
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
        if _is_run(fields):
            problem = "is a run (query Q0 document rank score tag), not relevance labels."
            raise DataError(path, f"{problem} Compare it with --run (nv.add_run).", line=line)
        if len(fields) != len(names):
            problem = f"has {count_text(len(fields), 'field')}. Expected a header, or the fields"
            known = "query document grade, or query 0 document grade."
            raise DataError(path, f"{problem} {known}", line=line)
        yield line, dict(zip(names, fields, strict=True))


def _is_run(fields: Sequence[str]) -> bool:
    """Return whether a line without a header is a line of a TREC run."""
    return len(fields) == _RUN_FIELDS and fields[1].upper() == "Q0" and fields[3].isdigit()


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


def _grade(path: Path, row: Row, column: str, *, line: int, tally: Tally) -> int:
    check_columns(path, row, [column], line=line)
    given, value = row[column], float("nan")
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        with suppress(ValueError, OverflowError):
            value = float(given)
    if not value.is_integer():
        problem = f"{column} {repr(given)[:40]} is not an integer"
        raise DataError(path, f"{problem}. Grades are integers, such as 0, 1 and 2.", line=line)
    if not isinstance(given, int) and str(given) != str(int(value)):
        tally.add("grades that are decimal numbers, read as integers", given)
    return int(value)
