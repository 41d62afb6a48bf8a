"""Read rankings of other systems from TREC's run files: ``query Q0 document rank score tag``.

``labels`` reads relevance labels, which have four fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nestvec.data.records import read_lines
from nestvec.data.tally import Tally
from nestvec.errors import DataError
from nestvec.wording import count_text

_FIELDS = 6


class TrecRun(NamedTuple):
    """A ranking of documents for each query.

    Attributes:
        name: The tag of the run; the name of the file if the lines have several tags.
        scores: Scores by query id and document id; higher is better.
    """

    name: str
    scores: dict[str, dict[str, float]]


class _Line(NamedTuple):
    number: int
    query_id: str
    document_id: str
    rank: float
    score: float
    tag: str


def read_run(path: Path | str) -> TrecRun:
    """Read a run file; also ``.gz``.

    Documents are ordered by their scores, as trec_eval does. If the ranks of the file contradict
    the scores, a warning states the number of lines: the scores may be distances.

    Raises:
        DataError: If the file is missing or empty, a line does not have six fields, a score or a
            rank is not a finite number, or a document appears twice for a query.
    """
    path = Path(path)
    scores: dict[str, dict[str, float]] = {}
    previous: dict[str, _Line] = {}
    tags: set[str] = set()
    tally = Tally(path)
    for line in _read_lines(path):
        of_query = scores.setdefault(line.query_id, {})
        if line.document_id in of_query:
            pair = f"document {line.document_id!r} appears twice for query {line.query_id!r}"
            raise DataError(path, f"{pair}. Delete one of the lines.", line=line.number)
        of_query[line.document_id] = line.score
        before = previous.get(line.query_id)
        if before and (line.rank - before.rank) * (line.score - before.score) > 0:
            tally.add("ranks that contradict the scores, which are used", line.query_id)
        previous[line.query_id] = line
        tags.add(line.tag)
    if not scores:
        raise DataError(path, "contains no rows")
    tally.log()
    return TrecRun(tags.pop() if len(tags) == 1 else path.name.partition(".")[0], scores)


def _read_lines(path: Path) -> Iterator[_Line]:
    for number, text in read_lines(path):
        fields = text.split()
        if not fields:
            continue
        if len(fields) != _FIELDS:
            problem = f"has {count_text(len(fields), 'field')}, so it is not a line of a run."
            raise DataError(
                path, f"{problem} Expected query Q0 document rank score tag.", line=number
            )
        query_id, _, document_id, rank, score, tag = fields
        place, value = (_number(path, each, line=number) for each in (rank, score))
        yield _Line(number, query_id, document_id, place, value, tag)


def _number(path: Path, text: str, *, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(path, f"{text!r} is not a finite number (rank or score)", line=line)
    return value
