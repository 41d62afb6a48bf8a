"""Load texts for similarity tasks: scored pairs, triplets or labeled texts.

The columns of the file determine the task:

    sentence1, sentence2, score        similarity of two texts, scored by humans
    anchor, positive, negative         the positive is more similar to the anchor
    text, label, optionally split      texts with the same label belong together

Scores are finite numbers on any scale, because only their order or correlation is used.

``measure.similarity`` evaluates models on these tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from nestvec.data.records import Row, check_columns, filled_text_of, read_records
from nestvec.data.training_columns import (
    ColumnCounts,
    Lines,
    ScoreColumns,
    number_in,
    warn_of_names,
)
from nestvec.errors import DataError

_TEST_SHARE = 0.2  # share of test texts if there is no column "split"
_TEST_SPLITS = ("test", "dev", "validation", "val")  # in order of preference
_MIN_PAIRS = 3  # two pairs are always perfectly correlated
_CLASSES = {-1.0, 0.0, 1.0, 2.0}  # labels of entailment: 0 is the most similar, -1 is unknown


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of texts with similarity scores; lists of equal length.

    Attributes:
        name: Name of the file without its suffix.
        first: First text of each pair.
        second: Second text of each pair.
        scores: Similarity of each pair; higher is more similar, on any scale.
    """

    name: str
    first: list[str]
    second: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Triplets:
    """Anchors with a more and a less similar text; lists of equal length.

    Attributes:
        name: Name of the file without its suffix.
        anchors: Reference texts.
        positives: Texts more similar to the anchors.
        negatives: Texts less similar to the anchors.
    """

    name: str
    anchors: list[str]
    positives: list[str]
    negatives: list[str]


@dataclass(frozen=True)
class LabeledTexts:
    """Texts with one label each, for classification.

    Attributes:
        name: Name of the file without its suffix.
        split: Split of the test texts, such as "test" or "dev".
        train: Training texts, [n_train].
        train_labels: Labels of the training texts.
        test: Test texts, [n_test].
        test_labels: True labels of the test texts.
        counts: Ignored texts: ``duplicate_texts``, ``texts_of_other_splits``.
    """

    name: str
    split: str
    train: list[str]
    train_labels: list[str]
    test: list[str]
    test_labels: list[str]
    counts: dict[str, int]


SimilaritySet = ScoredPairs | Triplets | LabeledTexts


def load_similarity(path: Path | str, *, seed: int = 0) -> SimilaritySet:
    """Load scored pairs, triplets or labeled texts; the columns determine which.

    Args:
        path: A JSONL, CSV, TSV or Parquet file.
        seed: Seed for drawing 20 % test texts if labeled texts have no column ``split``.

    Raises:
        DataError: If the file is missing or malformed, has other columns, or has too few rows.
    """
    path = Path(path)
    rows = read_records(path)
    line, first = next(rows)
    everything = chain([(line, first)], rows)
    if ScoreColumns.fit(first):
        return read_scored_pairs(path, everything, ScoreColumns.of(path, first, line=line))
    if "anchor" in first:
        return _load_triplets(path, everything)
    if "label" in first:
        return _load_labeled(path, everything, seed)
    present = ", ".join(map(str, first))
    kinds = "sentence1, sentence2, score; anchor, positive, negative; or text, label"
    raise DataError(path, f"needs the columns {kinds} (has: {present})", line=line)


def read_scored_pairs(path: Path, rows: Lines, columns: ScoreColumns) -> ScoredPairs:
    """Read scored pairs, and warn of renamed and unused columns.

    Args:
        path: The file.
        rows: The rows of the file with their line numbers.
        columns: The columns of texts and score.

    Raises:
        DataError: If a text is empty, a score is not a finite number, or there are too few pairs
            or different scores.
    """
    pairs, others = ScoredPairs(_name(path), [], [], []), ColumnCounts(path)
    names = columns.first, columns.second, columns.score
    for line, row in rows:
        others.add(row, names)
        pairs.first.append(filled_text_of(path, row, columns.first, line=line))
        pairs.second.append(filled_text_of(path, row, columns.second, line=line))
        pairs.scores.append(number_in(path, row, columns.score, line=line))
    warn_of_names(path, columns.roles)
    others.warn()
    _check_scores(path, columns.score, pairs.scores)
    return pairs


def _check_scores(path: Path, column: str, scores: list[float]) -> None:
    if len(scores) < _MIN_PAIRS:
        raise DataError(path, f"has {len(scores)} pairs. At least {_MIN_PAIRS} are needed.")
    values = sorted(set(scores))
    if len(values) == 1:
        problem = f"all scores are {values[0]:g}. A correlation needs different scores."
        raise DataError(path, problem)
    if column == "label" and len(values) > 2 and set(values) <= _CLASSES:
        shown = ", ".join(f"{value:g}" for value in values)
        problem = f"the labels {shown} look like classes, not like similarities."
        solution = "Rename the column to 'score' if a higher label means more similar."
        raise DataError(path, f"{problem} {solution}")


def _load_triplets(path: Path, rows: Lines) -> Triplets:
    triplets, others = Triplets(_name(path), [], [], []), ColumnCounts(path)
    for line, row in rows:
        others.add(row, ("anchor", "positive", "negative"))
        triplets.anchors.append(filled_text_of(path, row, "anchor", line=line))
        triplets.positives.append(filled_text_of(path, row, "positive", line=line))
        triplets.negatives.append(filled_text_of(path, row, "negative", line=line))
    others.warn()
    return triplets


def _load_labeled(path: Path, rows: Lines, seed: int) -> LabeledTexts:
    labels, split_of, repeated = _read_labeled(path, rows)
    split_of = split_of or _draw_splits(list(labels), seed)
    found = set(split_of.values())
    split = next((name for name in _TEST_SPLITS if name in found), None)
    if split is None or "train" not in found:
        wanted = f"train and one of {', '.join(_TEST_SPLITS)}"
        raise DataError(path, f"needs the splits {wanted} (has: {', '.join(sorted(found))})")
    train, test = (list(_of(split_of, name)) for name in ("train", split))
    known, right = ([labels[text] for text in texts] for texts in (train, test))
    if len(set(known)) == 1:
        raise DataError(path, f"all training texts have the label {known[0]!r}. Provide 2 or more.")
    others = len(labels) - len(train) - len(test)
    counts = {"duplicate_texts": repeated, "texts_of_other_splits": others}
    return LabeledTexts(_name(path), split, train, known, test, right, counts)


def _read_labeled(path: Path, rows: Lines) -> tuple[dict[str, str], dict[str, str], int]:
    """Return the label and the split of each text, and the number of duplicate rows."""
    labels: dict[str, str] = {}
    split_of: dict[str, str] = {}
    repeated, others = 0, ColumnCounts(path)
    for line, row in rows:
        others.add(row, ("text", "label", "split"))
        text = filled_text_of(path, row, "text", line=line)
        if text in labels:
            repeated += 1
            continue
        labels[text] = _label(path, row, line=line)
        if row.get("split") is not None:
            split_of[text] = filled_text_of(path, row, "split", line=line)
        if split_of and len(split_of) < len(labels):
            raise DataError(path, "some rows have a split and some have none", line=line)
    others.warn()
    return labels, split_of, repeated


def _draw_splits(texts: list[str], seed: int) -> dict[str, str]:
    n_test = max(1, round(_TEST_SHARE * len(texts)))
    drawn = set(np.random.default_rng(seed).permutation(len(texts))[:n_test].tolist())
    return {text: "test" if place in drawn else "train" for place, text in enumerate(texts)}


def _of(split_of: dict[str, str], wanted: str) -> Iterator[str]:
    return (text for text, split in split_of.items() if split == wanted)


def _label(path: Path, row: Row, *, line: int) -> str:
    check_columns(path, row, ["label"], line=line)
    label = row["label"]
    return str(label) if isinstance(label, int) else filled_text_of(path, row, "label", line=line)


def _name(path: Path) -> str:
    return path.name.partition(".")[0]
