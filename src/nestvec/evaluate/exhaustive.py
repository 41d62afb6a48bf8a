"""Rank the whole corpus at every operating point, exactly, by few large matrix products.

A stage scores float queries against what codes stand for, so its scores are one product of the
queries with the decoded codes; all float32 dims come from one full-width product. Stages shared by
several points are ranked once: the points form a tree of stages, walked level by level. The corpus
is gone over in blocks, and no more than one is held as floats. The result equals the flat index's
(``index.scan``), which a test holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from nestvec.codec import prefix_scores
from nestvec.evaluate.representations import Key, Representations
from nestvec.ranking import Ranked, best, order
from nestvec.types import Embeddings, OperatingPoint, Rows, Stage

BLOCK_BYTES = 256 * 2**20  # of a block of documents, decoded, and of its scores

_Node = tuple[Stage, ...]


def rank(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    *,
    depth: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Ranked]:
    """Return the best rows of each query at each point.

    Args:
        points: What to run.
        queries: [n_queries, full_dim], as the model gives them.
        corpus: What to search; all of a corpus, or a part.
        depth: How many rows of the last stage.
        on_step: Called after each of ``count_steps(points)`` steps.

    Returns:
        For each point, the last stage's scores and its rows, [n_queries, at most depth].
    """
    ranked: dict[_Node, Ranked] = {}
    for level, waiting in enumerate(_levels(points)):
        blocks = _score(waiting.keys(), queries, corpus, on_step)
        if level == 0:
            ranked |= _rank_all(waiting, blocks, depth)
        else:
            ranked |= _rescore(waiting, blocks, ranked, depth)
    return {point: ranked[point.stages] for point in points}


def count_steps(points: Sequence[OperatingPoint]) -> int:
    """Count the representations that ``rank`` scores, once for each level of the tree."""
    return sum(len(waiting) for waiting in _levels(points))


_Waiting = dict[Key, list[_Node]]
_Block = tuple[Key, int, Embeddings]
"""A representation, the first row of a block of documents, and their scores with all queries."""


def _levels(points: Sequence[OperatingPoint]) -> list[_Waiting]:
    """Group the tree's nodes by level, then by what is scored for them."""
    levels = []
    for level in range(max(len(point.stages) for point in points)):
        nodes = dict.fromkeys(p.stages[: level + 1] for p in points if len(p.stages) > level)
        waiting: _Waiting = defaultdict(list)
        for node in nodes:
            waiting[node[-1].representation].append(node)
        levels.append(waiting)
    return levels


def _rank_all(waiting: _Waiting, blocks: Iterable[_Block], depth: int) -> dict[_Node, Ranked]:
    """Rank all rows once for each representation, however many shortlists are cut from them."""
    longest = {key: max(node[-1].keep or depth for node in nodes) for key, nodes in waiting.items()}
    top: dict[Key, Ranked] = {}
    for key, first_row, scores in blocks:
        top[key] = best(scores, longest[key], first_row=first_row, so_far=top.get(key))
    return {
        node: top[key].cut(node[-1].keep or depth)
        for key, nodes in waiting.items()
        for node in nodes
    }


def _rescore(
    waiting: _Waiting, blocks: Iterable[_Block], ranked: dict[_Node, Ranked], depth: int
) -> dict[_Node, Ranked]:
    """Order the rows that each node's parent hands on by the scores of its own."""
    scored: dict[_Node, Embeddings] = {}
    for key, first_row, scores in blocks:
        for node in waiting[key]:
            candidates = ranked[node[:-1]].rows
            into = scored.setdefault(node, np.empty(candidates.shape, dtype=np.float32))
            _pick(scores, candidates, first_row, into)
    return {
        node: order(scores, ranked[node[:-1]].rows).cut(node[-1].keep or depth)
        for node, scores in scored.items()
    }


def _pick(scores: Embeddings, candidates: Rows, first_row: int, into: Embeddings) -> None:
    """Write the scores of those candidates that lie in a block."""
    n_rows = scores.shape[1]
    inside = (candidates >= first_row) & (candidates < first_row + n_rows)
    lines, places = np.nonzero(inside)
    into[lines, places] = scores[lines, candidates[lines, places] - first_row]


def _score(
    keys: Iterable[Key],
    queries: Embeddings,
    corpus: Representations,
    on_step: Callable[[], None],
) -> Iterator[_Block]:
    """Yield the scores of all queries with each block of documents, for each representation."""
    size = max(1, BLOCK_BYTES // (4 * (len(queries) + corpus.full_dim)))
    blocks = [slice(start, start + size) for start in range(0, len(corpus), size)]
    float_dims = [dim for dim, precision in keys if precision == "float32"]
    if float_dims:
        for lines in blocks:
            for dim, scores in prefix_scores(
                queries, corpus.embeddings(lines), float_dims, layer_norm=corpus.layer_norm
            ):
                yield (dim, "float32"), lines.start, scores
        for _ in float_dims:
            on_step()
    for key in keys:
        if key[1] != "float32":
            prepared = corpus[key].codec.prepare(queries)
            for lines in blocks:
                yield key, lines.start, prepared @ corpus.decoded(key, lines).T
            on_step()
