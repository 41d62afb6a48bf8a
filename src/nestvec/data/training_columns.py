"""Recognize the columns of a training file, also by the names that common data sets use.

A row is read by role: anchor, positives, negatives and label, or two texts and a score. Columns
without a role are counted and reported.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nestvec.data.records import Row, check_columns, is_missing, shown_value
from nestvec.errors import DataError
from nestvec.wording import count_text

Lines = Iterable[tuple[int, Row]]

_ANCHORS = ("anchor", "query", "question")
_POSITIVES = ("positive", "positives", "pos", "answer", "response", "document", "passage")
_TEXTS = (
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_A", "sentence_B"),
    ("text1", "text2"),
)
_SCORES = ("score", "similarity", "similarity_score", "label")
_LABELS = ("label", "labels", "score", "scores", "similarity")
_NEGATIVE = re.compile(r"(hard_)?neg(ative)?s?(_?\d+)?")
_OWN_NEGATIVE = re.compile(r"negatives?(_?\d+)?")
_OF_LISTS = re.compile(r"positives|pos|(hard_)?neg(ative)?s")
_LIST_AS_TEXT = re.compile(r"""\[\s*(["']).*\1\s*\]""", re.DOTALL)

_logger = logging.getLogger(__name__)


@dataclass
class ColumnCounts:
    """Counts the values of columns that have no role, and warns of them once.

    Attributes:
        path: The file.
        values: Number of rows with a value, by column.
    """

    path: Path
    values: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, used: Iterable[str]) -> None:
        """Count the values of a row in columns that are not in ``used``."""
        names = {*used}
        self.values.update(
            str(name) for name, value in row.items() if name not in names and not _is_empty(value)
        )

    def warn(self) -> None:
        """Warn of all columns without a role, with the number of their values."""
        if self.values:
            counts = ", ".join(
                f"{name} ({count_text(count, 'value')})" for name, count in self.values.items()
            )
            _logger.warning("%s: not used: the columns %s", self.path, counts)


@dataclass(frozen=True)
class PairColumns:
    """Names of the columns of pairs.

    Attributes:
        anchor: Column of the anchor.
        positive: Column of a positive or a list of positives.
    """

    anchor: str
    positive: str

    @classmethod
    def of(cls, path: Path, row: Row, *, line: int) -> PairColumns:
        """Choose the columns by the names of the first row.

        Raises:
            DataError: If no column or several columns could be the anchor or the positive.
        """
        anchor = find_column(path, row, _ANCHORS, line=line)
        positive = find_column(path, row, _POSITIVES, line=line)
        if anchor is None or positive is None:
            names = _ANCHORS if anchor is None else _POSITIVES
            present = ", ".join(map(str, row))
            problem = f"missing column {names[0]!r} (has: {present})."
            scored = "Scored pairs have sentence1, sentence2 and score."
            solution = f"Other accepted names are {', '.join(names[1:])}. {scored}"
            raise DataError(path, f"{problem} {solution}", line=line)
        return cls(anchor, positive)

    def negatives(self, row: Row) -> list[str]:
        """Return the names of the columns of negatives, in the order of the row."""
        return [name for name in row if _NEGATIVE.fullmatch(name)]

    def label(self, row: Row) -> str | None:
        """Return the name of the column with the label of the pair, if there is one."""
        return next((name for name in _LABELS if not _is_empty(row.get(name))), None)


@dataclass(frozen=True)
class ScoreColumns:
    """Names of the columns of scored pairs.

    Attributes:
        first: Column of the first text.
        second: Column of the second text.
        score: Column of the similarity.
    """

    first: str
    second: str
    score: str

    @classmethod
    def of(cls, path: Path, row: Row, *, line: int) -> ScoreColumns:
        """Choose the columns by the names of the first row, for which ``fit`` is true.

        Raises:
            DataError: If no column or several columns could be the score.
        """
        first, second = next(names for names in _TEXTS if names[0] in row)
        score = find_column(path, row, _SCORES, line=line) or _SCORES[0]
        check_columns(path, row, [second, score], line=line)
        return cls(first, second, score)

    @staticmethod
    def fit(row: Row) -> bool:
        """Return whether a row is a scored pair."""
        return any(first in row for first, _ in _TEXTS)

    @property
    def roles(self) -> list[tuple[str, str]]:
        """Each column with its role."""
        names = self.first, self.second, self.score
        return list(zip(names, (*_TEXTS[0], _SCORES[0]), strict=True))


def find_column(path: Path, row: Row, names: tuple[str, ...], *, line: int) -> str | None:
    """Return the column with one of these names; the first name takes precedence.

    Raises:
        DataError: If several other names are present.
    """
    found = [name for name in names if name in row]
    if len(found) > 1 and found[0] != names[0]:
        problem = f"the columns {' and '.join(found)} could all be the {names[0]}."
        raise DataError(path, f"{problem} Rename one of them to {names[0]!r}.", line=line)
    return found[0] if found else None


def warn_of_names(path: Path, roles: Iterable[tuple[str, str]]) -> None:
    """Report the roles of columns that have other names than nestvec's own."""
    renamed = [f"{name} as {role}" for name, role in roles if name != role]
    if renamed:
        _logger.warning("%s: reads the columns %s", path, ", ".join(renamed))


def negative_roles(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each name of a column of negatives with its role."""
    for name in names:
        yield name, name if _OWN_NEGATIVE.fullmatch(name) else "negative"


def texts_in(path: Path, row: Row, column: str, *, line: int) -> list[str]:
    """Return the text of a column, or the texts of its list; missing and empty texts are left out.

    Raises:
        DataError: If the column is missing, or a value is not a string.
    """
    check_columns(path, row, [column], line=line)
    value = row[column]
    values = value if isinstance(value, list) else [value]
    for each in values:
        if not is_missing(each) and not isinstance(each, str):
            problem = f"{column!r} must be a string or a list of strings, not {shown_value(value)}"
            raise DataError(path, problem, line=line)
        if _OF_LISTS.fullmatch(column) and _LIST_AS_TEXT.fullmatch(str(each).strip()):
            problem = f"{column!r} is a list written as one text ({each[:30]})."
            raise DataError(path, f"{problem} Save the file as JSONL or Parquet.", line=line)
    return [each for each in values if not is_missing(each) and each.strip()]


def _is_empty(value: object) -> bool:
    return is_missing(value) or value == ""


def number_in(path: Path, row: Row, column: str, *, line: int) -> float:
    """Return the finite number of a column, which may be written as text.

    Raises:
        DataError: If the column is missing or its value is not a finite number.
    """
    check_columns(path, row, [column], line=line)
    try:
        number = float(row[column])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        problem = f"{column} {shown_value(row[column])} is not a finite number"
        raise DataError(path, problem, line=line)
    return number
