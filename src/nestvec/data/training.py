"""Training texts: pairs with or without negatives, or scored pairs, from files and data sets."""

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
    """Three lists of one length.

    Attributes:
        anchors: What is asked.
        positives: What answers it.
        negatives: Texts that do not; an empty list where none are known.
    """

    anchors: list[str]
    positives: list[str]
    negatives: list[list[str]]

    def __len__(self) -> int:
        return len(self.anchors)


def load_pairs(paths: Sequence[Path | str]) -> TrainingPairs:
    """Load the pairs of all files and BEIR folders (their ``train`` split), in the order given.

    Raises:
        InvalidArgument: If no path is given.
        DataError: If a file is malformed, lacks a column or holds an empty text, or if all pairs
            have one anchor: training tells the answers to different anchors apart.
    """
    if not paths:
        raise InvalidArgument("no file of pairs given")
    loaded = [_load_pairs(Path(path)) for path in paths]
    pairs = TrainingPairs(
        [anchor for part in loaded for anchor in part.anchors],
        [positive for part in loaded for positive in part.positives],
        [negatives for part in loaded for negatives in part.negatives],
    )
    if len(set(pairs.anchors)) == 1:
        problem = f"needs 2 different anchors or more, all {len(pairs)} pairs have the same one"
        raise DataError(paths[0], problem)
    return pairs


def pairs_from_dataset(data: RetrievalSet) -> TrainingPairs:
    """Pair each query with the content of each of its relevant documents."""
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
    # Sentence Transformers numbers several: negative_1, negative_2, ... A row may have fewer than
    # another, which is null in Parquet and JSON and an empty field in CSV.
    for column in row:
        if column == "negative" or column.startswith("negative_"):
            text = "" if row[column] is None else text_of(path, row, column, line=line)
            if text.strip():
                yield text


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
