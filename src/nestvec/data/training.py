"""Load training texts: pairs with optional negatives, or scored pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from nestvec.data.pair_reader import complete_rows, read_pair_rows
from nestvec.data.records import read_records
from nestvec.data.retrieval import RetrievalSet, load_dataset
from nestvec.data.similarity import ScoredPairs, read_scored_pairs
from nestvec.data.training_columns import ScoreColumns
from nestvec.errors import DataError, InvalidArgument
from nestvec.wording import count_text

_logger = logging.getLogger(__name__)


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

    def count_repeated(self) -> int:
        """Count the anchors that repeat an earlier anchor, and the positives that do so."""
        return sum(len(texts) - len(set(texts)) for texts in (self.anchors, self.positives))

    def limit_negatives(self, most: int, *, name: str) -> TrainingPairs:
        """Return the pairs with the first ``most`` negatives of each, and warn of the others.

        Args:
            most: Maximum number of negatives of a pair.
            name: Name of the pairs, for the warning.
        """
        longer = [len(each) - most for each in self.negatives if len(each) > most]
        if not longer:
            return self
        counts = count_text(sum(longer), "negative"), count_text(len(longer), "pair")
        message = "%s: not used: %s of %s with more than max_negatives=%d"
        _logger.warning(message, name, *counts, most)
        return replace(self, negatives=[each[:most] for each in self.negatives])


TrainingTexts = TrainingPairs | ScoredPairs


def load_pairs(paths: Sequence[Path | str]) -> TrainingPairs:
    """Load the pairs of files and BEIR folders (their ``train`` split), in order.

    Raises:
        InvalidArgument: If ``paths`` is empty.
        DataError: If a file is malformed, lacks a column or contains scored pairs, or if all pairs
            have the same anchor or the same positive, and no negatives. Training contrasts the
            positives of different anchors.
    """
    if not paths:
        raise InvalidArgument("No file of pairs. Pass at least one.")
    loaded = [_load_pairs(Path(path)) for path in paths]
    pairs = TrainingPairs(
        [anchor for part in loaded for anchor in part.anchors],
        [positive for part in loaded for positive in part.positives],
        [negatives for part in loaded for negatives in part.negatives],
    )
    _check_contrast(Path(paths[0]), pairs)
    return pairs


def load_training_texts(paths: Sequence[Path | str]) -> Mapping[str, TrainingTexts]:
    """Load files and BEIR folders; the columns determine pairs or scored pairs.

    Returns:
        The texts of each file or folder, by a unique name.

    Raises:
        InvalidArgument: If ``paths`` is empty.
        DataError: If a file is malformed or has other columns, or nothing can be learned from its
            pairs.
    """
    if not paths:
        raise InvalidArgument("No training file. Pass at least one.")
    loaded: dict[str, TrainingTexts] = {}
    for path in map(Path, paths):
        name = path.resolve().name.partition(".")[0]
        texts = _load(path)
        if isinstance(texts, TrainingPairs):
            _check_contrast(path, texts)
        loaded[name if name not in loaded else f"{name}-{len(loaded) + 1}"] = texts
    return loaded


def pairs_from_dataset(data: RetrievalSet) -> TrainingPairs:
    """Return one pair for each query and each of its relevant documents.

    Documents that are labeled as not relevant (grade 0 or less) are the negatives of the query.
    Empty texts are left out, with a warning.
    """
    pairs = TrainingPairs([], [], [])
    n_empty = 0
    for query_id, grades in data.qrels.items():
        query = data.queries[query_id]
        texts = {id_: data.corpus[id_].content for id_ in grades}
        filled = {id_: text for id_, text in texts.items() if query.strip() and text.strip()}
        n_empty += len(texts) - len(filled)
        negatives = [text for id_, text in filled.items() if grades[id_] <= 0]
        for id_, text in filled.items():
            if grades[id_] > 0:
                pairs.anchors.append(query)
                pairs.positives.append(text)
                pairs.negatives.append(negatives)
    n_irrelevant = data.counts.get("queries_without_relevant", 0)
    if n_irrelevant:
        message = "%s: not used: queries without a relevant document: %d"
        _logger.warning(message, data.name, n_irrelevant)
    if n_empty:
        message = "%s: not used: %s of empty queries or documents"
        _logger.warning(message, data.name, count_text(n_empty, "label"))
    return pairs


def _load_pairs(path: Path) -> TrainingPairs:
    texts = _load(path)
    if isinstance(texts, TrainingPairs):
        return texts
    problem = "contains scored pairs, which only fine-tuning can use."
    raise DataError(path, f"{problem} Pass pairs with the columns anchor and positive.")


def _load(path: Path) -> TrainingTexts:
    if path.is_dir():
        return pairs_from_dataset(load_dataset(path, split="train"))
    rows = read_records(path)
    line, first = next(rows)
    everything = chain([(line, first)], rows)
    if not ScoreColumns.fit(first):
        pairs = read_pair_rows(path, everything)
        return TrainingPairs(
            [each.anchor for each in pairs],
            [each.positive for each in pairs],
            [each.negatives for each in pairs],
        )
    columns = ScoreColumns.of(path, first, line=line)
    complete = complete_rows(path, everything, (columns.first, columns.second))
    return read_scored_pairs(path, complete, columns)


def _check_contrast(path: Path, pairs: TrainingPairs) -> None:
    """Check that a pair has a text to be ranked against: another positive, or a negative."""
    for role, texts in (("anchor", pairs.anchors), ("positive", pairs.positives)):
        if len(set(texts)) < 2 and not any(pairs.negatives):
            problem = f"all {len(pairs)} pairs have the same {role}, and no negatives."
            raise DataError(path, f"{problem} At least 2 {role}s or a negative are needed.")
