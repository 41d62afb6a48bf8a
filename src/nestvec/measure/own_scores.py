"""Add scores of your own to a curve, such as the quality of answers, as a metric to plan on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.data.records import Row, check_columns, id_of, read_records, text_of
from nestvec.data.tally import Tally
from nestvec.data.training_columns import ColumnCounts, number_in
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import OperatingPoint
from nestvec.wording import count_text

_POINT, _QUERY, _SCORE = "point", "query-id", "score"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_logger = logging.getLogger(__name__)


def add_scores(curve: Curve, scores: Path | str, *, name: str | None = None) -> Curve:
    """Return a copy of a curve with scores of your own as a further metric.

    Each row of the file is the score of one query at one operating point, from 0 to 1; higher is
    better. Full precision needs a score for each query. Other points need a score for each query to
    be planned on: a warning names points and queries without scores. Rows of unknown points or
    queries are ignored and counted.

    Args:
        curve: The curve that measured the points.
        scores: A CSV, TSV, JSONL or Parquet file with the columns ``point``, ``query-id`` (or
            ``query_id``) and ``score``.
        name: Name of the metric, such as "answer-quality"; by default the name of the file.

    Raises:
        InvalidArgument: If the curve has a metric of this name, or the name has other characters
            than letters, digits, ``.``, ``_`` and ``-``.
        DataError: If the file cannot be read, a score is not a number from 0 to 1, a score appears
            twice, or full precision lacks a score.

    Example:
        >>> add_scores(curve, "answers.csv", name="answer-quality")  # doctest: +SKIP
    """
    path = Path(scores)
    name = path.name.partition(".")[0] if name is None else name
    if not _NAME.fullmatch(name):
        allowed = "Use letters, digits, '.', '_' and '-', and begin with a letter."
        raise InvalidArgument(f"name={name!r} cannot be the name of a metric. {allowed}")
    if name in curve.full.metrics:
        raise InvalidArgument(f"The curve has a metric {name!r}. Choose another name.")
    values = _read(path, curve)
    missing = np.isnan(values)
    full = missing[curve.row_number(curve.full.point)]
    if full.any():
        example = curve.scores.query_ids[int(full.argmax())]
        raise DataError(
            path,
            f"has no score of {curve.full.point} (full precision) for "
            f"{count_text(int(full.sum()), 'query')}, such as {str(example)!r}. Plans compare with "
            "full precision: add these scores.",
        )
    counts = _count_missing(path, curve, missing)
    added = curve.with_metrics({name: values})
    return replace(
        added,
        counts={**curve.counts, **{key.format(name): n for key, n in counts.items()}},
        dataset={**curve.dataset, "own_scores": [*curve.dataset.get("own_scores", []), name]},
    )


def check_scores(path: Path) -> None:
    """Check each row of a file of scores, before time is spent on a measurement.

    Raises:
        DataError: If the file cannot be read, or a score is not a number from 0 to 1.
    """
    for row in _rows(path, Tally(path)):
        _parse(path, row)


@dataclass(frozen=True)
class _OwnScore:
    """One row of the file."""

    line: int
    point: str
    query_id: str
    score: float


def _read(path: Path, curve: Curve) -> NDArray[np.float64]:
    """Return the scores, [n_points, n_queries]; NaN where the file has none."""
    point_of = {row.point: number for number, row in enumerate(curve.points)}
    query_of = {id_: number for number, id_ in enumerate(curve.scores.query_ids.tolist())}
    values = np.full((len(point_of), len(query_of)), np.nan)
    tally = Tally(path)
    for row in _rows(path, tally):
        point = point_of.get(_parse(path, row))
        query = query_of.get(row.query_id)
        if point is None:
            tally.add("scores of points that the curve does not have, ignored", row.point)
        elif query is None:
            tally.add("scores of queries that the curve does not have, ignored", row.query_id)
        elif np.isnan(values[point, query]):
            values[point, query] = row.score
        else:
            pair = f"{row.point} and query {row.query_id!r} appear twice"
            raise DataError(path, f"{pair}. Delete one of the lines.", line=row.line)
    tally.log()
    return values


def _rows(path: Path, tally: Tally) -> Iterator[_OwnScore]:
    others = ColumnCounts(path)
    for line, row in read_records(path):
        column = "query_id" if "query_id" in row and _QUERY not in row else _QUERY
        check_columns(path, row, (_POINT, column, _SCORE), line=line)
        others.add(row, (_POINT, column, _SCORE))
        query_id = id_of(path, row, column, line=line, tally=tally)
        point = text_of(path, row, _POINT, line=line)
        yield _OwnScore(line, point, query_id, _score(path, row, line))
    others.warn()


def _score(path: Path, row: Row, line: int) -> float:
    score = number_in(path, row, _SCORE, line=line)
    if not 0 <= score <= 1:
        problem = f"score {score:g} is not from 0 to 1"
        raise DataError(path, f"{problem}. Divide all scores by the largest possible.", line=line)
    return score


def _parse(path: Path, row: _OwnScore) -> OperatingPoint:
    try:
        return OperatingPoint.parse(row.point)
    except InvalidArgument as error:
        raise DataError(path, str(error), line=row.line) from error


def _count_missing(path: Path, curve: Curve, missing: NDArray[np.bool_]) -> Mapping[str, int]:
    """Name the points without scores, and the points without the scores of some queries."""
    none, some = missing.all(axis=1), missing.any(axis=1) & ~missing.all(axis=1)
    numbers = np.flatnonzero(none).tolist()
    if numbers:
        _logger.warning(
            "%s: %s of the curve without scores, such as %s. Plans on these scores leave them out.",
            *(path, count_text(len(numbers), "point"), curve.points[numbers[0]].point),
        )
    for number in np.flatnonzero(some).tolist():
        lacking = np.flatnonzero(missing[number])
        _logger.warning(
            "%s: %s has no score for %s, such as %r. Plans on these scores leave the point out.",
            *(path, curve.points[number].point, count_text(len(lacking), "query")),
            str(curve.scores.query_ids[lacking[0]]),
        )
    return {
        "points_without_{}": len(numbers),
        "points_without_{}_of_some_queries": int(some.sum()),
    }
