"""Texts that are compared, not searched: scored pairs, triplets, labeled texts.

Each comes from one file, and its columns say which it is:

    sentence1, sentence2, score        how alike two texts are, as people scored them
    anchor, positive, negative         which of two texts is nearer to a third
    text, label, perhaps split         which texts belong together

What a model makes of them is measured in ``evaluate.similarity``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from nestvec.data.records import Row, check_columns, filled_text_of, read_records
from nestvec.errors import DataError

_TEST_SHARE = 0.2  # of the texts, where no column says which are for testing
_TEST_SPLITS = ("test", "dev", "validation", "val")  # the first that there is
_MIN_PAIRS = 3  # any two are perfectly correlated


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of texts and how alike people find them; three lists of one length.

    Attributes:
        name: The file's name.
        first: One text of each pair.
        second: The other.
        scores: Higher is more alike; the scale does not matter.
    """

    name: str
    first: list[str]
    second: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Triplets:
    """An anchor, a text nearer to it, and one farther away; three lists of one length.

    Attributes:
        name: The file's name.
        anchors: What the others are compared with.
        positives: The nearer ones.
        negatives: The farther ones.
    """

    name: str
    anchors: list[str]
    positives: list[str]
    negatives: list[str]


@dataclass(frozen=True)
class LabeledTexts:
    """Texts with one label each, known ones and ones to be labeled.

    Attributes:
        name: The file's name.
        split: What the texts to be labeled are of.
        train: Texts whose label is known, [n_train].
        train_labels: Their labels.
        test: Texts to be labeled, [n_test].
        test_labels: What is right.
        counts: What was left out: ``duplicate_texts``, ``texts_of_other_splits``.
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
    """Load scored pairs, triplets or labeled texts, whichever the columns of a file are.

    Args:
        path: A JSONL, CSV, TSV or Parquet file.
        seed: Of labeled texts without a column ``split``, decides which fifth is to be labeled.

    Raises:
        DataError: If the file is missing or malformed, has other columns, or too little in it.
    """
    path = Path(path)
    rows = read_records(path)
    line, first = next(rows)
    everything = chain([(line, first)], rows)
    if "sentence1" in first:
        return _load_pairs(path, everything)
    if "anchor" in first:
        return _load_triplets(path, everything)
    if "label" in first:
        return _load_labeled(path, everything, seed)
    present = ", ".join(map(str, first))
    kinds = "sentence1, sentence2, score; anchor, positive, negative; or text, label"
    raise DataError(path, f"needs the columns {kinds} (has: {present})", line=line)


_Lines = Iterable[tuple[int, Row]]


def _load_pairs(path: Path, rows: _Lines) -> ScoredPairs:
    pairs = ScoredPairs(_name(path), [], [], [])
    for line, row in rows:
        pairs.first.append(filled_text_of(path, row, "sentence1", line=line))
        pairs.second.append(filled_text_of(path, row, "sentence2", line=line))
        pairs.scores.append(_score(path, row, line=line))
    if len(pairs.scores) < _MIN_PAIRS:
        raise DataError(path, f"holds {len(pairs.scores)} pairs, {_MIN_PAIRS} are needed")
    if len(set(pairs.scores)) == 1:
        raise DataError(path, f"all scores are {pairs.scores[0]:g}, so nothing can agree with them")
    return pairs


def _load_triplets(path: Path, rows: _Lines) -> Triplets:
    triplets = Triplets(_name(path), [], [], [])
    for line, row in rows:
        triplets.anchors.append(filled_text_of(path, row, "anchor", line=line))
        triplets.positives.append(filled_text_of(path, row, "positive", line=line))
        triplets.negatives.append(filled_text_of(path, row, "negative", line=line))
    return triplets


def _load_labeled(path: Path, rows: _Lines, seed: int) -> LabeledTexts:
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
        raise DataError(path, f"all texts to learn from have the label {known[0]!r}")
    others = len(labels) - len(train) - len(test)
    counts = {"duplicate_texts": repeated, "texts_of_other_splits": others}
    return LabeledTexts(_name(path), split, train, known, test, right, counts)


def _read_labeled(path: Path, rows: _Lines) -> tuple[dict[str, str], dict[str, str], int]:
    """Return the label and the split of each text, and how many rows repeat a text."""
    labels: dict[str, str] = {}
    split_of: dict[str, str] = {}
    repeated = 0
    for line, row in rows:
        text = filled_text_of(path, row, "text", line=line)
        if text in labels:
            repeated += 1
            continue
        labels[text] = _label(path, row, line=line)
        if row.get("split") is not None:
            split_of[text] = filled_text_of(path, row, "split", line=line)
        if split_of and len(split_of) < len(labels):
            raise DataError(path, "some rows have a split and some have none", line=line)
    return labels, split_of, repeated


def _draw_splits(texts: list[str], seed: int) -> dict[str, str]:
    n_test = max(1, round(_TEST_SHARE * len(texts)))
    drawn = set(np.random.default_rng(seed).permutation(len(texts))[:n_test].tolist())
    return {text: "test" if place in drawn else "train" for place, text in enumerate(texts)}


def _of(split_of: dict[str, str], wanted: str) -> Iterator[str]:
    return (text for text, split in split_of.items() if split == wanted)


def _score(path: Path, row: Row, *, line: int) -> float:
    check_columns(path, row, ["score"], line=line)
    try:
        score = float(row["score"])
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        shown = json.dumps(row["score"], default=str)[:40]
        raise DataError(path, f"score {shown} is not a number", line=line)
    return score


def _label(path: Path, row: Row, *, line: int) -> str:
    check_columns(path, row, ["label"], line=line)
    label = row["label"]
    return str(label) if isinstance(label, int) else filled_text_of(path, row, "label", line=line)


def _name(path: Path) -> str:
    return path.name.partition(".")[0]
