"""Queries to try, with the documents that are known to answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nestvec.data.retrieval import load_dataset

_SHOWN = 24


@dataclass(frozen=True)
class ExampleQuery:
    """A query with its answers.

    Attributes:
        id: Its id in the data.
        text: What is asked.
        relevant: Ids of the documents that answer it, the best grade first.
    """

    id: str
    text: str
    relevant: tuple[str, ...]


def load_examples(folder: Path, *, n: int = _SHOWN) -> Sequence[ExampleQuery]:
    """Take some queries of a BEIR folder, evenly spread; none where there is no such folder."""
    if not (folder / "queries.jsonl").is_file():
        return ()
    data = load_dataset(folder)
    ids = list(data.qrels)
    step = max(1, len(ids) // n)
    return tuple(
        ExampleQuery(id_, data.queries[id_], _best_first(data.qrels[id_]))
        for id_ in ids[::step][:n]
    )


def _best_first(judged: dict[str, int]) -> tuple[str, ...]:
    relevant = [id_ for id_, grade in judged.items() if grade > 0]
    return tuple(sorted(relevant, key=lambda id_: -judged[id_]))
