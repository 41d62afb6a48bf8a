"""Read rows from JSON Lines, CSV, TSV (each also ``.gz``) and Parquet, with line numbers.

A row is a plain dict. Errors name the file and the line.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.data.parquet_rows import read_rows
from nestvec.data.tally import Tally
from nestvec.errors import DataError, first_line
from nestvec.wording import count_text

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows that are not in a file, such as a table of the Hugging Face hub.

    Attributes:
        path: Name of the table in messages, in the form of a path.
        read: Returns an iterator over the rows with their numbers, from 1.
    """

    path: Path
    read: Callable[[], Iterator[tuple[int, Row]]]


Part = Path | Table
"""A file of rows, or a table."""

TEXT_COLUMNS = ("text", "query")
"""Names of the column with the text of a query."""
_DIGIT = re.compile("[0-9]")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of a file
_MAX_SHOWN = 40  # characters of a value in an error message
_SUFFIXES = ".jsonl, .csv, .tsv (each also .gz) or .parquet"


def read_records(path: Path | str) -> Iterator[tuple[int, Row]]:
    """Yield each row with its line number, from 1 (Parquet: its row number).

    The first line of CSV and TSV contains the column names; all values are strings.

    Raises:
        DataError: If the file is missing, empty or of an unknown type, or a line is malformed.
    """
    path = Path(path)
    _check_file(path)
    suffix = suffix_of(path)
    if suffix == ".parquet" and path.suffix.lower() != ".gz":
        rows = read_rows(path)
    elif suffix == ".jsonl":
        rows = read_objects(path)
    elif suffix in _DELIMITERS:
        rows = read_csv(path, delimiter=_DELIMITERS[suffix])
    else:
        refuse_vectors(path)
        raise DataError(path, f"has an unknown file type. Expected {_SUFFIXES}.")
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise DataError(path, "contains no rows")


def refuse_vectors(path: Path) -> None:
    """Refuse an HDF5 file, such as those of ann-benchmarks, in place of texts or a data set.

    Raises:
        DataError: If the file is HDF5.
    """
    start = b""
    with suppress(OSError), path.open("rb") as file:  # unreadable files are refused elsewhere
        start = file.read(len(_HDF5))
    if start != _HDF5:
        return
    problem = "contains vectors (HDF5) and no data set. Pass the file in place of the model"
    remedy = "and a folder with queries and labels as the data set"
    reason = "The neighbors of ann-benchmarks are exact neighbors, not relevance labels"
    raise DataError(path, f"{problem}, {remedy}. {reason}, and are not used.")


def path_of(part: Part) -> Path:
    """Return the path of a file, or the name of a table."""
    return part.path if isinstance(part, Table) else part


def read_part(part: Part) -> Iterator[tuple[int, Row]]:
    """Yield each row of a file or a table with its number, from 1.

    Raises:
        DataError: As in ``read_records``.
    """
    return part.read() if isinstance(part, Table) else read_records(part)


def has_no_header(part: Part) -> bool:
    """Return whether a TSV file begins with an id and a text, as the files of MS MARCO do.

    The id contains a digit, and the text is not the name of a column.
    """
    if isinstance(part, Table) or suffix_of(part) != ".tsv":
        return False
    fields = next(iter(read_lines(part)), (0, ""))[1].rstrip("\r\n").split("\t")
    return (
        len(fields) == 2 and fields[1] not in TEXT_COLUMNS and _DIGIT.search(fields[0]) is not None
    )


def read_texts(part: Part, tally: Tally) -> Iterator[tuple[int, Row]]:
    """Yield each document or query of a file or a table with its number, from 1.

    A line of a TSV file without a header is an id, a tab and a text. Quotes are part of the text.

    Raises:
        DataError: As in ``read_records``, or if a line without a header has not two fields.
    """
    if isinstance(part, Table) or not has_no_header(part):
        yield from read_part(part)
        return
    tally.add("files without a header, read as id and text", part.name)
    for line, text in read_lines(part):
        fields = text.rstrip("\r\n").split("\t")
        if len(fields) != 2:
            problem = f"has {count_text(len(fields), 'field')}. Expected an id, a tab and a text."
            raise DataError(part, problem, line=line)
        yield line, {"_id": fields[0], "text": fields[1]}


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line of a text file (also ``.gz``) with its number, from 1.

    Raises:
        DataError: If the file is missing, cannot be read, or is not UTF-8.
    """
    _check_file(path)
    yield from enumerate(_read_lines(path), start=1)


def read_objects(path: Path, parse: Callable[[str], Any] = json.loads) -> Iterator[tuple[int, Row]]:
    """Yield the JSON object in each line of a file (also ``.gz``) with its line number, from 1.

    Args:
        path: The file. Empty lines are skipped.
        parse: A parser of JSON that raises ValueError.

    Raises:
        DataError: If the file cannot be read, or a line is not an object or contains a lone
            surrogate.
    """
    for line, text in read_lines(path):
        if not text.strip():
            continue
        try:
            row = parse(text)
            if "\\ud" in text.lower():  # a lone surrogate is valid JSON but not valid text
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError(path, "contains a lone surrogate (\\ud...)", line=line) from error
        except (ValueError, RecursionError) as error:
            raise DataError(path, f"is not JSON ({first_line(error)})", line=line) from error
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise DataError(path, f"expected a JSON object in each line, not a {kind}", line=line)
        yield line, row


def suffix_of(path: Path) -> str:
    """Return the file suffix in lower case and without ``.gz``: ``.jsonl`` for ``x.JSONL.gz``."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def check_columns(path: Path, row: Row, columns: Iterable[str], *, line: int) -> None:
    """Check that a row has each of the columns.

    Raises:
        DataError: If a column is missing; the message lists the columns of the row.
    """
    for column in columns:
        if column not in row:
            present = ", ".join(str(name) for name in row)
            raise DataError(path, f"missing column {column!r} (has: {present})", line=line)


def text_of(path: Path, row: Row, column: str, *, line: int) -> str:
    """Return the value of a column, which must be a string and may be empty.

    Raises:
        DataError: If the column is missing or the value is not a string.
    """
    check_columns(path, row, [column], line=line)
    value = row[column]
    if not isinstance(value, str):
        raise DataError(path, f"{column!r} must be a string, not {shown_value(value)}", line=line)
    return value


def shown_value(value: object) -> str:
    """Return the beginning of a value as JSON, for an error message."""
    return json.dumps(value, default=str)[:_MAX_SHOWN]


def filled_text_of(path: Path, row: Row, column: str, *, line: int) -> str:
    """Return the value of a column, which must be a non-empty string.

    Raises:
        DataError: If the column is missing, or the value is empty or not a string.
    """
    value = text_of(path, row, column, line=line)
    if not value.strip():
        raise DataError(path, f"{column!r} is empty", line=line)
    return value


def id_column_of(row: Row) -> str:
    """Return the column of a row that contains its id: ``_id``, or ``id`` if there is no _id."""
    return "_id" if "_id" in row or "id" not in row else "id"


def id_of(path: Path, row: Row, column: str, *, line: int, tally: Tally) -> str:
    """Return the id in a column; an id that is a whole number, such as 7 or 7.0, becomes "7".

    Raises:
        DataError: If the column is missing, or the id is empty or neither a string nor a whole
            number.
    """
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        return filled_text_of(path, row, column, line=line)
    tally.add("ids that are numbers, read as text", value)
    return str(int(value))


def optional_text_of(path: Path, row: Row, column: str, *, line: int, tally: Tally) -> str:
    """Return the value of a column, with null and NaN as an empty text.

    Exported data frames have null or NaN for a missing value.

    Raises:
        DataError: If the column is missing or the value is neither a string nor null.
    """
    if column not in row or not is_missing(value := row[column]):
        return text_of(path, row, column, line=line)
    tally.add(f"missing values of {column!r}, read as empty text", value)
    return ""


def is_missing(value: object) -> bool:
    """Return whether a value is null or NaN."""
    return value is None or value != value


def metadata_of(row: Row, own_columns: Iterable[str]) -> Row:
    """Return the other columns of a row, and the fields of the object in its column ``metadata``.

    ``metadata`` converts the values to those that an index stores.
    """
    others = {key: value for key, value in row.items() if key not in own_columns}
    nested = others.get("metadata")
    if not isinstance(nested, dict):
        return others
    del others["metadata"]
    return {**nested, **others}


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(path, "is a folder, not a file" if path.is_dir() else "does not exist")


def _read_lines(path: Path) -> Iterator[str]:
    # Decode line by line, so that an error can name the line.
    line = 0
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            for line, raw in enumerate(file, start=1):
                yield raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 ({error.reason})", line=line) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(path, f"is a broken gzip file ({error})", line=line + 1) from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error


def read_csv(path: Path, *, delimiter: str) -> Iterator[tuple[int, Row]]:
    """Yield each row of a CSV file with its line number; the first line has the column names.

    Raises:
        DataError: If the file cannot be read, or a line is malformed.
    """
    # strict: a stray quote raises an error; otherwise it would merge the following rows.
    reader = csv.reader(_read_lines(path), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = 1
    try:
        for values in reader:
            if not header:
                header = _check_header(path, values, line=line)
            elif values:
                if len(values) != len(header):
                    found = count_text(len(values), "field")
                    problem = f"has {found}, but the header has {len(header)}"
                    raise DataError(path, problem, line=line)
                yield line, dict(zip(header, values, strict=True))
            line = reader.line_num + 1  # a quoted field can span several lines
    except csv.Error as error:
        raise DataError(path, f"cannot be read ({error})", line=line) from error


def _check_header(path: Path, names: list[str], *, line: int) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise DataError(path, f"column {name!r} appears twice in the header", line=line)
    return names
