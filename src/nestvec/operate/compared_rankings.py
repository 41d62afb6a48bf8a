"""Compare the results that two searches return for the same queries.

A result that only one of two indexes contains cannot have the same rank in both. Such results are
removed and counted first, so that they are not mistaken for changes of the ranking.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.metrics.agreement import overlap, rbo
from nestvec.types import Rows


class RankChanges(NamedTuple):
    """How the results of one query differ between two searches, OLD and NEW.

    Documents that only one of the indexes contains are removed from both lists before they are
    compared. Each document removed from one list also shortens the other list by one.

    Attributes:
        overlap: Share of the results of OLD that NEW also returns; None if no result of OLD can be
            compared. Two empty lists have overlap 1.
        rbo: Rank-biased overlap; None if ``overlap`` is None.
        entered: Number of results of NEW that OLD does not return.
        left: Number of results of OLD that NEW does not return.
        moved: Number of common results whose rank differs.
        largest_move: The largest difference of ranks of a common result.
        only_old: Number of results of OLD whose document NEW does not contain.
        only_new: Number of results of NEW whose document OLD does not contain.
    """

    overlap: float | None
    rbo: float | None
    entered: int
    left: int
    moved: int
    largest_move: int
    only_old: int
    only_new: int

    @property
    def identical(self) -> bool:
        """Whether both searches return the same documents in the same order."""
        return not (self.entered or self.left or self.moved or self.only_old or self.only_new)


def compare_rankings(
    old: Sequence[Sequence[str]],
    new: Sequence[Sequence[str]],
    k: int,
    *,
    only_old: Collection[str] = (),
    only_new: Collection[str] = (),
) -> list[RankChanges]:
    """Compare the results of each query.

    Args:
        old: Ids of the results of OLD for each query, best first.
        new: Ids of the results of NEW for the same queries.
        k: Number of results to compare.
        only_old: Ids of results of OLD whose documents NEW does not contain.
        only_new: Ids of results of NEW whose documents OLD does not contain.

    >>> changes = compare_rankings([["a", "b", "c"]], [["b", "a", "d"]], k=3)[0]
    >>> changes.entered, changes.left, changes.moved, changes.largest_move
    (1, 1, 2, 1)
    """
    pairs = [
        _comparable(before[:k], after[:k], k, only_old, only_new)
        for before, after in zip(old, new, strict=True)
    ]
    before_rows, after_rows = _rows(pairs, k)
    overlaps = overlap(after_rows, before_rows, k)
    rbos = rbo(after_rows, before_rows, k)
    return [
        _changes(pair, float(share), float(agreement))
        for pair, share, agreement in zip(pairs, overlaps, rbos, strict=True)
    ]


class _Pair(NamedTuple):
    """The results that can be compared, and the numbers of those that were removed."""

    old: Sequence[str]
    new: Sequence[str]
    only_old: int
    only_new: int


def _comparable(
    old: Sequence[str],
    new: Sequence[str],
    k: int,
    only_old: Collection[str],
    only_new: Collection[str],
) -> _Pair:
    before = [id_ for id_ in old if id_ not in only_old]
    after = [id_ for id_ in new if id_ not in only_new]
    gone, added = len(old) - len(before), len(new) - len(after)
    # Each list is truncated to the number of common documents that the other list has room for.
    return _Pair(before[: k - added], after[: k - gone], gone, added)


def _rows(pairs: Sequence[_Pair], k: int) -> tuple[Rows, Rows]:
    """Return the results as numbers, [n_queries, k] each; -1 is empty."""
    before, after = (np.full((len(pairs), k), -1, dtype=np.int64) for _ in range(2))
    for line, pair in enumerate(pairs):
        number = {id_: n for n, id_ in enumerate(dict.fromkeys([*pair.old, *pair.new]))}
        before[line, : len(pair.old)] = [number[id_] for id_ in pair.old]
        after[line, : len(pair.new)] = [number[id_] for id_ in pair.new]
    return before, after


def _changes(pair: _Pair, share: float, agreement: float) -> RankChanges:
    rank = {id_: n for n, id_ in enumerate(pair.old)}
    moves = [abs(rank[id_] - n) for n, id_ in enumerate(pair.new) if id_ in rank]
    if not (pair.old or pair.new):
        share = agreement = 1.0
    unknown = not (pair.old or pair.new) and bool(pair.only_old or pair.only_new)
    return RankChanges(
        overlap=None if unknown else share,
        rbo=None if unknown else agreement,
        entered=len(pair.new) - len(moves),
        left=len(pair.old) - len(moves),
        moved=sum(move > 0 for move in moves),
        largest_move=max(moves, default=0),
        only_old=pair.only_old,
        only_new=pair.only_new,
    )
