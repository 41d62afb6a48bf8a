"""Arrange training texts in columns of equal length for the trainer of Sentence Transformers.

A data set has the same number of negatives in each row. Pairs are therefore grouped by their number
of negatives.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nestvec.data.training import TrainingPairs, TrainingTexts
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

_logger = logging.getLogger(__name__)
Columns = dict[str, list[Any]]


def count_rows(columns: Mapping[str, list[Any]]) -> int:
    """Return the number of rows of a data set."""
    return len(next(iter(columns.values())))


def limit_negatives(texts: Mapping[str, TrainingTexts], most: int) -> dict[str, TrainingTexts]:
    """Limit the negatives of each pair, see ``TrainingPairs.limit_negatives``."""
    return {
        name: each.limit_negatives(most, name=name) if isinstance(each, TrainingPairs) else each
        for name, each in texts.items()
    }


def as_columns(texts: Mapping[str, TrainingTexts], batch_size: int) -> dict[str, Columns]:
    """Return the columns of each data set.

    Args:
        texts: Training texts by name.
        batch_size: Groups of pairs with fewer rows are joined with the pairs that have fewer
            negatives, and lose their surplus negatives, with a warning.

    Raises:
        InvalidArgument: If no pair has a text to be ranked against.
    """
    datasets: dict[str, Columns] = {}
    for name, each in texts.items():
        if isinstance(each, TrainingPairs):
            datasets.update(_pairs_as_columns(name, each, batch_size))
        else:
            # The loss uses only the order of scores, and ranks are exact in float32.
            ranks = np.unique(each.scores, return_inverse=True)[1].tolist()
            columns: Columns = {"sentence1": each.first, "sentence2": each.second}
            datasets[name] = {**columns, "score": ranks}
    if not datasets:
        problem = "No pair has a text to be ranked against."
        raise InvalidArgument(f"{problem} Add pairs with other anchors and positives.")
    return datasets


def _pairs_as_columns(
    name: str, pairs: TrainingPairs, batch_size: int
) -> Iterator[tuple[str, Columns]]:
    groups = _group_by_negatives(name, pairs, batch_size)
    for count, rows in groups.items():
        columns: Columns = {
            "anchor": [pairs.anchors[row] for row in rows],
            "positive": [pairs.positives[row] for row in rows],
        }
        for i in range(count):
            columns[f"negative_{i + 1}"] = [pairs.negatives[row][i] for row in rows]
        if count == 0 and min(len(set(column)) for column in columns.values()) < 2:
            role = "anchor" if len(set(columns["anchor"])) < 2 else "positive"
            message = "%s: not used: %s without negatives and with only one %s"
            _logger.warning(message, name, count_text(len(rows), "pair"), role)
            continue
        yield f"{name}, {count} negatives" if len(groups) > 1 else name, columns


def _group_by_negatives(name: str, pairs: TrainingPairs, batch_size: int) -> dict[int, list[int]]:
    """Return the rows of each group by number of negatives, smallest number first."""
    rows_by_count: dict[int, list[int]] = defaultdict(list)
    for row, negatives in enumerate(pairs.negatives):
        rows_by_count[len(negatives)].append(row)
    groups: dict[int, list[int]] = {}
    moved: list[int] = []
    counts = sorted(rows_by_count, reverse=True)
    for count, smaller in zip(counts, [*counts[1:], 0], strict=True):
        rows = sorted([*moved, *rows_by_count[count]])
        moved = rows if smaller and len(rows) < batch_size else []
        if not moved:
            groups[count] = rows
    unused = sum(
        len(pairs.negatives[row]) - count for count, rows in groups.items() for row in rows
    )
    if unused:
        message = (
            "%s: not used: %s of pairs that have more negatives than others. All rows of a batch "
            "need the same number, and fewer rows than batch_size=%d have this many"
        )
        _logger.warning(message, name, count_text(unused, "negative"), batch_size)
    return dict(sorted(groups.items()))
