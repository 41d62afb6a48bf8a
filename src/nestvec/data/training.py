"""Load training texts: pairs with optional negatives, or scored pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestvec.data.records import Row, filled_text_of, read_records, text_of
from nestvec.data.retrieval import RetrievalSet, load_dataset
from nestvec.data.similarity import ScoredPairs, load_similarity
from nestvec.errors import DataError, InvalidArgument


@dataclass(frozen=True)
class TrainingPairs:
    """Anchors with positives and optional negatives; lists of equal length.

    Attributes:
        anchors: Queries.
        positives: A relevant text for each anchor.
        negatives: Irrelevant texts for each anchor; empty lists without negatives.
    """

    anchors: list[str]
    positives: list[str]
    negatives: list[list[str]]

    def __len__(self) -> int:
        return len(self.anchors)


def load_pairs(paths: Sequence[Path | str]) -> TrainingPairs:
    """Load the pairs of files and BEIR folders (their ``train`` split), in order.

    Raises:
        InvalidArgument: If ``paths`` is empty.
        DataError: If a file is malformed, lacks a column or contains an empty text, or if all
            pairs have the same anchor. Training contrasts the positives of different anchors.
    """
    if not paths:
        raise InvalidArgument("No file of pairs. Pass at least one.")
    loaded = [_load_pairs(Path(path)) for path in paths]
    pairs = TrainingPairs(
        [anchor for part in loaded for anchor in part.anchors],
        [positive for part in loaded for positive in part.positives],
        [negatives for part in loaded for negatives in part.negatives],
    )
    if len(set(pairs.anchors)) == 1:
        problem = f"all {len(pairs)} pairs have the same anchor. At least 2 anchors are needed."
        raise DataError(paths[0], problem)
    return pairs


def pairs_from_dataset(data: RetrievalSet) -> TrainingPairs:
    """Return one pair for each query and each of its relevant documents."""
    matches = [
        (data.queries[query_id], data.corpus[document_id].content)
        for query_id, grades in data.qrels.items()
        for document_id, grade in grades.items()
        if grade > 0
    ]
    return TrainingPairs(
        [query for query, _ in matches], [content for _, content in matches], [[] for _ in matches]
    )


def _load_pairs(path: Path) -> TrainingPairs:
    if path.is_dir():
        return pairs_from_dataset(load_dataset(path, split="train"))
    pairs = TrainingPairs([], [], [])
    for line, row in read_records(path):
        pairs.anchors.append(filled_text_of(path, row, "anchor", line=line))
        pairs.positives.append(filled_text_of(path, row, "positive", line=line))
        pairs.negatives.append(list(_negatives(path, row, line=line)))
    return pairs


def _negatives(path: Path, row: Row, *, line: int) -> Iterator[str]:
    # Sentence Transformers names columns negative_1, negative_2, ... Rows may have fewer
    # negatives: null in Parquet and JSON, an empty field in CSV.
    for column in row:
        if column == "negative" or column.startswith("negative_"):
            text = "" if row[column] is None else text_of(path, row, column, line=line)
            if text.strip():
                yield text


TrainingTexts = TrainingPairs | ScoredPairs


def load_training_texts(paths: Sequence[Path | str]) -> Mapping[str, TrainingTexts]:
    """Load files and BEIR folders; the columns determine pairs or scored pairs.

    Returns:
        The texts of each file or folder, by a unique name.

    Raises:
        InvalidArgument: If ``paths`` is empty.
        DataError: If a file is malformed or has other columns, or a score is outside 0 to 1.
    """
    if not paths:
        raise InvalidArgument("No training file. Pass at least one.")
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
        raise DataError(path, "needs the columns sentence1, sentence2, score.")
    for number, score in enumerate(scored.scores, 1):
        if not 0 <= score <= 1:
            problem = f"score {score:g} of pair {number} is not from 0 to 1"
            raise DataError(path, f"{problem}. Divide the scores by the highest score.")
    return scored
