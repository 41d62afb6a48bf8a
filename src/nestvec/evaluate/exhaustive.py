"""Rank the whole corpus at every operating point, exactly, by few large matrix products.

A stage scores float queries against what codes stand for, so its scores are one product of the
queries with the decoded codes; all float32 dims come from one full-width product. Stages shared by
several points are ranked once: the points form a tree of stages, walked level by level. The result
equals the flat index's (``index.scan``), which a test holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from nestvec.codec import prefix_scores
from nestvec.evaluate.representations import Representations
from nestvec.ranking import best, order
from nestvec.types import Embeddings, OperatingPoint, Precision, Rows, Stage

_Node = tuple[Stage, ...]
_Key = tuple[int, Precision]
_BLOCK_BYTES = 256 * 2**20  # of one block of scores


def rank(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    *,
    depth: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Rows]:
    """Return the best rows of each query at each point.

    Args:
        points: What to run.
        queries: [n_queries, full_dim], as the model gives them.
        corpus: What to search.
        depth: How many rows of the last stage.
        on_step: Called after each of ``count_steps(points)`` steps.

    Returns:
        For each point, [n_queries, at most depth], best first, ties by ascending row.
    """
    ranked: dict[_Node, Rows] = {}
    for level, waiting in enumerate(_levels(points)):
        parts: dict[_Node, list[Rows]] = defaultdict(list)
        for key, lines, scores in _score(waiting.keys(), queries, corpus, on_step):
            keeps = {node: node[-1].keep or depth for node in waiting[key]}
            # All rows are ranked once, however many shortlists are cut from them.
            top = best(scores, max(keeps.values()))[1] if level == 0 else None
            for node, keep in keeps.items():
                rows = _rescore(scores, ranked[node[:-1]][lines]) if top is None else top
                parts[node].append(rows[:, :keep])
        ranked |= {node: np.concatenate(blocks) for node, blocks in parts.items()}
    return {point: ranked[point.stages] for point in points}


def count_steps(points: Sequence[OperatingPoint]) -> int:
    """Count the representations that ``rank`` scores, once for each level of the tree."""
    return sum(len(waiting) for waiting in _levels(points))


def _levels(points: Sequence[OperatingPoint]) -> list[dict[_Key, list[_Node]]]:
    """Group the tree's nodes by level, then by what is scored for them."""
    levels = []
    for level in range(max(len(point.stages) for point in points)):
        nodes = dict.fromkeys(p.stages[: level + 1] for p in points if len(p.stages) > level)
        waiting: dict[_Key, list[_Node]] = defaultdict(list)
        for node in nodes:
            waiting[node[-1].representation].append(node)
        levels.append(waiting)
    return levels


def _score(
    keys: Iterable[_Key],
    queries: Embeddings,
    corpus: Representations,
    on_step: Callable[[], None],
) -> Iterator[tuple[_Key, slice, Embeddings]]:
    """Yield the scores of a block of queries with the whole corpus, for each representation."""
    blocks = _blocks(len(queries), len(corpus.corpus))
    float_dims = [dim for dim, precision in keys if precision == "float32"]
    if float_dims:
        for lines in blocks:
            for dim, scores in prefix_scores(
                queries[lines], corpus.corpus, float_dims, layer_norm=corpus.layer_norm
            ):
                yield (dim, "float32"), lines, scores
        for _ in float_dims:
            on_step()
    for key in keys:
        if key[1] != "float32":
            prepared = corpus[key].codec.prepare(queries)
            decoded = corpus.decoded(key)
            for lines in blocks:
                yield key, lines, prepared[lines] @ decoded.T
            on_step()


def _blocks(n_queries: int, n_documents: int) -> list[slice]:
    size = max(1, _BLOCK_BYTES // (4 * n_documents))
    return [slice(start, start + size) for start in range(0, n_queries, size)]


def _rescore(scores: Embeddings, candidates: Rows) -> Rows:
    return order(np.take_along_axis(scores, candidates, 1), candidates)[1]
