"""Rank the whole corpus at every operating point, exactly, with few large matrix products.

The scores of a stage are one product of the float queries with the decoded codes. All float32 dims
come from one full-width product. The points form a tree of stages, which is processed level by
level, so that stages shared by several points are ranked once. The corpus is processed in blocks,
and only one block is held as floats. Tests check that the rankings equal those of the deployed
index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.codec.prefix import prefix_scores
from nestvec.engines.flat.representations import Representations
from nestvec.metrics.ranking import Ranked, best, order
from nestvec.types import CodeKey, Embeddings, OnProgress, OperatingPoint, Rows, Stage

DOCUMENT_BYTES = 128 * 2**20  # maximum size of a block of documents as floats
SCORE_BYTES = 256 * 2**20  # maximum size of the scores of a block
_ROUNDING = 2e-6  # a product may round the cosines of equal vectors differently by this much
_Node = tuple[Stage, ...]
_Waiting = dict[CodeKey, list[_Node]]
_List = tuple[_Node, CodeKey]
"""A ranked list: the stages before it, and the codes that rank it. Shortlists are its beginning."""


class Steps:
    """Counts steps and reports progress after each."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        """Start at 0 of ``total`` steps."""
        self._done, self._total, self._on_progress = 0, total, on_progress

    def __call__(self) -> None:
        """Count one more."""
        self._done += 1
        self._on_progress(self._done, self._total)


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
        points: Operating points to run.
        queries: Vectors as returned by the model, [n_queries, full_dim].
        corpus: The corpus, or a part of it.
        depth: Number of rows to return.
        on_step: Called after each of ``count_steps(points)`` steps.

    Returns:
        Scores and rows of the last stage of each point, [n_queries, at most depth].
    """
    lists: dict[_List, Ranked] = {}
    for level, waiting in enumerate(_levels(points)):
        blocks = _score(waiting.keys(), queries, corpus, on_step)
        lengths = _max_lengths(
            (_list_key(node), node[-1].keep or depth)
            for nodes in waiting.values()
            for node in nodes
        )
        if level == 0:
            lists |= _rank_all(lengths, blocks)
        else:
            lists |= _rescore(lengths, blocks, lists)
        for name in lengths:
            lists[name] = _equalize_scores(lists[name], name[1], corpus)
    return {point: lists[_list_key(point.stages)].top(depth) for point in points}


def _equalize_scores(found: Ranked, key: CodeKey, corpus: Representations) -> Ranked:
    """Set the scores of documents with equal codes to the same value, and sort them by row.

    A matrix product may round the scores of equal columns differently, depending on their position.
    """
    gaps = found.scores[:, :-1] - found.scores[:, 1:]
    near = gaps <= _ROUNDING
    near &= (near & (gaps > 0)).any(axis=1, keepdims=True)  # skip queries with equal scores only
    numbers, places = np.nonzero(near)
    same = corpus.equal_codes(key, found.rows[numbers, places], found.rows[numbers, places + 1])
    for query, place in zip(numbers[same].tolist(), places[same].tolist(), strict=True):
        found.scores[query, place + 1] = found.scores[query, place]
    return order(*found) if same.any() else found


def count_steps(points: Sequence[OperatingPoint]) -> int:
    """Count the representations that ``rank`` scores, once for each level of the tree."""
    return sum(len(waiting) for waiting in _levels(points))


def _levels(points: Sequence[OperatingPoint]) -> list[_Waiting]:
    """Group the nodes of the tree by level, then by representation."""
    levels = []
    for level in range(max(len(point.stages) for point in points)):
        nodes = dict.fromkeys(p.stages[: level + 1] for p in points if len(p.stages) > level)
        waiting: _Waiting = defaultdict(list)
        for node in nodes:
            waiting[node[-1].representation].append(node)
        levels.append(waiting)
    return levels


def _list_key(node: _Node) -> _List:
    return node[:-1], node[-1].representation


def _max_lengths(lengths: Iterable[tuple[_List, int]]) -> dict[_List, int]:
    longest: dict[_List, int] = defaultdict(int)
    for name, length in lengths:
        longest[name] = max(longest[name], length)
    return longest


class _Block(NamedTuple):
    """Scores of a block of queries with a block of documents, valid until the next block.

    Attributes:
        key: The representation.
        queries: Slice of the queries.
        first_row: Row of the first document.
        scores: [n_queries, n_documents].
    """

    key: CodeKey
    queries: slice
    first_row: int
    scores: Embeddings


def _rank_all(lengths: dict[_List, int], blocks: Iterable[_Block]) -> dict[_List, Ranked]:
    """Rank all rows, once for each representation."""
    top: dict[CodeKey, dict[int, Ranked]] = defaultdict(dict)
    for key, queries, first_row, scores in blocks:
        so_far, n = top[key].get(queries.start), lengths[(), key]
        top[key][queries.start] = best(scores, n, first_row=first_row, so_far=so_far)
    return {
        ((), key): Ranked(*map(np.concatenate, zip(*parts.values(), strict=True)))
        for key, parts in top.items()
    }


def _rescore(
    lengths: dict[_List, int], blocks: Iterable[_Block], lists: dict[_List, Ranked]
) -> dict[_List, Ranked]:
    """Rank the shortlists of the level before by the scores of this level."""
    # Shortlists of the same list differ in length only, so that the longest is scored for all.
    lengths_of: dict[CodeKey, dict[_List, int]] = {
        key: _max_lengths(
            (_list_key(before), before[-1].keep or 0) for before, each in lengths if each == key
        )
        for _, key in lengths
    }
    scored: dict[tuple[CodeKey, _List], Embeddings] = {}
    for key, queries, first_row, scores in blocks:
        for source, length in lengths_of[key].items():
            candidates = lists[source].rows[:, :length]
            out = scored.setdefault((key, source), np.empty(candidates.shape, dtype=np.float32))
            _pick(scores, candidates[queries], first_row, out[queries])
    ordered = {}
    for (before, key), length in lengths.items():
        source, keep = _list_key(before), before[-1].keep
        rows = lists[source].rows[:, :keep]
        ordered[before, key] = order(scored[key, source][:, :keep], rows).top(length)
    return ordered


def _pick(scores: Embeddings, candidates: Rows, first_row: int, out: Embeddings) -> None:
    """Write the scores of the candidates that are in a block."""
    n_rows = scores.shape[1]
    places = candidates - first_row
    inside = (places >= 0) & (places < n_rows)
    picked = np.take_along_axis(scores, places.clip(0, n_rows - 1), 1)
    np.copyto(out, picked, where=inside)


def _score(
    keys: Iterable[CodeKey],
    queries: Embeddings,
    corpus: Representations,
    on_step: Callable[[], None],
) -> Iterator[_Block]:
    """Yield the scores of every query and document, for each representation."""
    float_dims = [dim for dim, precision in keys if precision == "float32"]
    if float_dims:
        yield from _score_floats(float_dims, queries, corpus)
        for _ in float_dims:
            on_step()
    for key in keys:
        if key[1] != "float32":
            yield from _score_codes(key, queries, corpus)
            on_step()


def _score_floats(
    dims: Sequence[int], queries: Embeddings, corpus: Representations
) -> Iterator[_Block]:
    row_blocks, query_blocks = _blocks(len(queries), len(corpus), corpus.full_dim)
    for rows in row_blocks:
        vectors = corpus.embeddings(rows)
        for block in query_blocks:
            for dim, scores in prefix_scores(
                queries[block], vectors, dims, layer_norm=corpus.layer_norm
            ):
                yield _Block((dim, "float32"), block, rows.start, scores)


def _score_codes(key: CodeKey, queries: Embeddings, corpus: Representations) -> Iterator[_Block]:
    row_blocks, query_blocks = _blocks(len(queries), len(corpus), key[0])
    prepared = corpus[key].codec.prepare(queries)
    for rows in row_blocks:
        vectors = corpus.decoded(key, rows)
        for block in query_blocks:
            yield _Block(key, block, rows.start, prepared[block] @ vectors.T)


def _blocks(n_queries: int, n_documents: int, dim: int) -> tuple[list[slice], list[slice]]:
    """Split documents and queries into blocks that respect the memory limits."""
    n_rows = min(n_documents, max(1, DOCUMENT_BYTES // (4 * dim)))
    n_block_queries = max(1, SCORE_BYTES // (4 * n_rows))
    return _slices(n_documents, n_rows), _slices(n_queries, n_block_queries)


def _slices(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]
