"""Read pairs of texts with negatives and labels from the rows of a training file.

All input that is not used is reported: rows without texts, columns, labels, contradictory
negatives. ``training`` loads files.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from nestvec.data.records import Row, shown_value
from nestvec.data.training_columns import (
    ColumnCounts,
    Lines,
    PairColumns,
    negative_roles,
    number_in,
    texts_in,
    warn_of_names,
)
from nestvec.errors import DataError
from nestvec.wording import count_text

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairRow:
    """A pair of texts.

    Attributes:
        line: Line number in the file.
        anchor: The query.
        positive: The relevant text; with label 0, an irrelevant text.
        negatives: Irrelevant texts.
        label: 1 or 0 if the file has labels.
    """

    line: int
    anchor: str
    positive: str
    negatives: list[str]
    label: float | None


def read_pair_rows(path: Path, rows: Lines) -> list[PairRow]:
    """Read pairs of anchor and positive; rows of label 0 become negatives of their anchor.

    Args:
        path: The file.
        rows: At least one row of the file, with line numbers.

    Raises:
        DataError: If a column is missing, a text is not a string, a label is neither 0 nor 1, or
            there is no pair.
    """
    rows = iter(rows)
    start, first = next(rows)
    reader = _PairReader(path, PairColumns.of(path, first, line=start))
    for line, row in chain([(start, first)], rows):
        reader.add(row, line=line)
    return reader.finish()


def complete_rows(path: Path, rows: Lines, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Yield the rows with a text in each column, and warn of the others at the end."""
    incomplete = []
    for line, row in rows:
        if all(texts_in(path, row, column, line=line) for column in columns):
            yield line, row
        else:
            incomplete.append(line)
    _warn_of_incomplete(path, incomplete, columns)


def _warn_of_incomplete(path: Path, lines: Sequence[int], columns: Sequence[str]) -> None:
    if lines:
        message = "%s: not used: %s in which %s is null or empty, the first in line %d"
        _logger.warning(
            message, path, count_text(len(lines), "row"), " or ".join(columns), lines[0]
        )


@dataclass
class _PairReader:
    """Reads the rows of pairs, and reports what is not used."""

    path: Path
    columns: PairColumns
    examples: list[PairRow] = field(default_factory=list)
    incomplete: list[int] = field(default_factory=list)  # lines
    negative_names: dict[str, None] = field(default_factory=dict)
    label_name: str = ""

    def __post_init__(self) -> None:
        self._others = ColumnCounts(self.path)

    def add(self, row: Row, *, line: int) -> None:
        """Add the pairs of a row: one for each of its positives."""
        names, label_name = self.columns.negatives(row), self.columns.label(row)
        anchors = texts_in(self.path, row, self.columns.anchor, line=line)
        positives = texts_in(self.path, row, self.columns.positive, line=line)
        if isinstance(row[self.columns.anchor], list):
            shown = shown_value(row[self.columns.anchor])
            problem = f"{self.columns.anchor!r} must be a string, not {shown}"
            raise DataError(self.path, problem, line=line)
        own = [self.columns.anchor, self.columns.positive, *names]
        self._others.add(row, own if label_name is None else [*own, label_name])
        if not anchors or not positives:
            self.incomplete.append(line)
            return
        label = None
        if label_name is not None:
            self.label_name = label_name
            label = number_in(self.path, row, label_name, line=line)
        found = {name: texts_in(self.path, row, name, line=line) for name in names}
        self.negative_names |= {name: None for name, texts in found.items() if texts}
        negatives = list(chain.from_iterable(found.values()))
        for positive in positives:
            self.examples.append(PairRow(line, anchors[0], positive, negatives, label))

    def finish(self) -> list[PairRow]:
        """Return the pairs, and warn of all that is not used."""
        names = self.columns.anchor, self.columns.positive
        _warn_of_incomplete(self.path, self.incomplete, names)
        if not self.examples:
            raise DataError(self.path, f"no row has both {names[0]} and {names[1]}.")
        roles = zip(names, ("anchor", "positive"), strict=True)
        warn_of_names(self.path, [*roles, *negative_roles(self.negative_names)])
        self._others.warn()
        return _without_contradictions(self.path, self._labeled())

    def _labeled(self) -> list[PairRow]:
        """Return the examples of label 1, with the texts of label 0 as negatives."""
        name, examples = self.label_name, self.examples
        if not name:
            return examples
        for each in examples:
            if each.label is None:
                problem = f"has no {name!r}, but other rows have one. Add the label to all rows."
                raise DataError(self.path, problem, line=each.line)
            if each.label not in (0, 1):
                problem = f"{name!r} of a pair must be 0 or 1, not {each.label:g}."
                scores = "To train on graded similarity, rename the columns of this file to"
                rename = f"{scores} sentence1, sentence2 and score. Otherwise remove {name!r}."
                raise DataError(self.path, f"{problem} {rename}", line=each.line)
        rejected: dict[str, list[PairRow]] = defaultdict(list)
        for each in examples:
            if each.label == 0:
                rejected[each.anchor].append(each)
        positive = [each for each in examples if each.label == 1]
        if not positive:
            raise DataError(self.path, f"no row has {name} 1. Training needs positives.")
        self._warn_of_rejected(rejected, {each.anchor for each in positive})
        return [
            replace(
                each, negatives=[*each.negatives, *(row.positive for row in rejected[each.anchor])]
            )
            for each in positive
        ]

    def _warn_of_rejected(self, rejected: Mapping[str, list[PairRow]], known: set[str]) -> None:
        used = [row for anchor, rows in rejected.items() if anchor in known for row in rows]
        unused = [row for anchor, rows in rejected.items() if anchor not in known for row in rows]
        if used:
            message = "%s: used as negatives of their anchor: %s with %s 0"
            _logger.warning(message, self.path, count_text(len(used), "row"), self.label_name)
        if unused:
            rows, name = count_text(len(unused), "row"), self.label_name
            first = min(row.line for row in unused)
            message = "%s: not used: %s with %s 0 and no row of the same anchor with %s 1, "
            message += "the first in line %d"
            _logger.warning(message, self.path, rows, name, name, first)


def _without_contradictions(path: Path, examples: Sequence[PairRow]) -> list[PairRow]:
    """Remove negatives that are equal to the anchor or to one of its positives, with a warning."""
    relevant: dict[str, set[str]] = defaultdict(set)
    for each in examples:
        relevant[each.anchor] |= {each.anchor, each.positive}
    kept, lines = [], []
    for each in examples:
        negatives = [text for text in each.negatives if text not in relevant[each.anchor]]
        lines += [each.line] * (len(each.negatives) - len(negatives))
        kept.append(replace(each, negatives=negatives))
    if lines:
        message = "%s: not used: %s equal to the anchor or one of its positives, "
        message += "the first in line %d"
        _logger.warning(message, path, count_text(len(lines), "negative"), lines[0])
    return kept
