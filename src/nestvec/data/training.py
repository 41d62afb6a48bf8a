"""Texts to train on: the columns of each file say what it teaches.

anchor, positive[, negative...]     which text answers which (also a BEIR folder's train split)
sentence1, sentence2, score         how alike two texts are, from 0 to 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nestvec.data.pairs import TrainingPairs, load_pairs
from nestvec.data.records import read_records
from nestvec.data.similarity import ScoredPairs, load_similarity
from nestvec.errors import DataError, InvalidArgument

TrainingTexts = TrainingPairs | ScoredPairs


def load_training_texts(paths: Sequence[Path | str]) -> Mapping[str, TrainingTexts]:
    """Load files and BEIR folders, each by its own columns.

    Returns:
        What each holds, by a name of its own.

    Raises:
        InvalidArgument: If no path is given.
        DataError: If a file is malformed, has none of these columns, or a score lies outside 0
            to 1.
    """
    if not paths:
        raise InvalidArgument("no file to train on given")
    loaded: dict[str, TrainingTexts] = {}
    for path in map(Path, paths):
        name = path.resolve().name.partition(".")[0]
        loaded[name if name not in loaded else f"{name}-{len(loaded) + 1}"] = _load(path)
    return loaded


def _load(path: Path) -> TrainingTexts:
    if path.is_dir() or "sentence1" not in next(read_records(path))[1]:
        return load_pairs([path])
    scored = load_similarity(path)
    if not isinstance(scored, ScoredPairs):
        raise DataError(path, "needs the columns sentence1, sentence2, score")
    for number, score in enumerate(scored.scores, 1):
        if not 0 <= score <= 1:
            problem = f"score {score:g} of pair {number} is not within 0 and 1"
            raise DataError(path, f"{problem}: divide by the highest")
    return scored
