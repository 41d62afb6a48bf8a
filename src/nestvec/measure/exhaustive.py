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
from typing import NamedTuple

import numpy as np

from nestvec.codec.prefix import prefix_scores
from nestvec.engines.flat.representations import Representations
from nestvec.metrics.ranking import Ranked, best, order
from nestvec.types import CodeKey, Embeddings, OnProgress, OperatingPoint, Rows, Stage

DOCUMENT_BYTES = 128 * 2**20  # of the documents that are held as floats
SCORE_BYTES = 256 * 2**20  # of their scores with a block of queries
_ROUNDING = 2e-6  # by which a product may round the cosines of equal vectors unequally
_Node = tuple[Stage, ...]
_Waiting = dict[CodeKey, list[_Node]]
_List = tuple[_Node, CodeKey]
"""What was searched before, and by what its rows are ordered; shortlists are cut from it."""


class Steps:
    """Counts steps and tells of each."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        """Begin at none of ``total``."""
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
        points: What to run.
        queries: [n_queries, full_dim], as the model gives them.
        corpus: What to search; all of a corpus, or a part.
        depth: How many rows of the last stage.
        on_step: Called after each of ``count_steps(points)`` steps.

    Returns:
        For each point, the last stage's scores and its rows, [n_queries, at most depth].
    """
    lists: dict[_List, Ranked] = {}
    for level, waiting in enumerate(_levels(points)):
        blocks = _score(waiting.keys(), queries, corpus, on_step)
        lengths = _longest(
            (_list_of(node), node[-1].keep or depth) for nodes in waiting.values() for node in nodes
        )
        if level == 0:
            lists |= _rank_all(lengths, blocks)
        else:
            lists |= _rescore(lengths, blocks, lists)
        for name in lengths:
            lists[name] = _tie_equals(lists[name], name[1], corpus)
    return {point: lists[_list_of(point.stages)].top(depth) for point in points}


def _tie_equals(found: Ranked, key: CodeKey, corpus: Representations) -> Ranked:
    """Give documents with the same codes the same score, and put them in ascending row.

    A matrix product may round equal columns unequally, by where they stand in it.
    """
    gaps = found.scores[:, :-1] - found.scores[:, 1:]
    near = gaps <= _ROUNDING
    near &= (near & (gaps > 0)).any(axis=1, keepdims=True)  # where all are equal, all is well
    lines, places = np.nonzero(near)
    same = corpus.same(key, found.rows[lines, places], found.rows[lines, places + 1])
    for line, place in zip(lines[same].tolist(), places[same].tolist(), strict=True):
        found.scores[line, place + 1] = found.scores[line, place]
    return order(*found) if same.any() else found


def count_steps(points: Sequence[OperatingPoint]) -> int:
    """Count the representations that ``rank`` scores, once for each level of the tree."""
    return sum(len(waiting) for waiting in _levels(points))


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


def _list_of(node: _Node) -> _List:
    return node[:-1], node[-1].representation


def _longest(lengths: Iterable[tuple[_List, int]]) -> dict[_List, int]:
    longest: dict[_List, int] = defaultdict(int)
    for name, length in lengths:
        longest[name] = max(longest[name], length)
    return longest


class _Block(NamedTuple):
    """Scores of a block of queries with a block of documents, until the next block is asked for.

    Attributes:
        key: The representation.
        lines: Which queries.
        first_row: The first of the documents.
        scores: [n_queries, n_documents].
    """

    key: CodeKey
    lines: slice
    first_row: int
    scores: Embeddings


def _rank_all(lengths: dict[_List, int], blocks: Iterable[_Block]) -> dict[_List, Ranked]:
    """Rank all rows, once for each representation."""
    top: dict[CodeKey, dict[int, Ranked]] = defaultdict(dict)
    for key, lines, first_row, scores in blocks:
        so_far = top[key].get(lines.start)
        top[key][lines.start] = best(scores, lengths[(), key], first_row=first_row, so_far=so_far)
    return {
        ((), key): Ranked(*map(np.concatenate, zip(*parts.values(), strict=True)))
        for key, parts in top.items()
    }


def _rescore(
    lengths: dict[_List, int], blocks: Iterable[_Block], lists: dict[_List, Ranked]
) -> dict[_List, Ranked]:
    """Order the rows that are handed on by the scores of this level."""
    # Shortlists of one list differ in length only: the longest is scored for all.
    handed_on: dict[CodeKey, dict[_List, int]] = {
        key: _longest(
            (_list_of(before), before[-1].keep or 0) for before, each in lengths if each == key
        )
        for _, key in lengths
    }
    scored: dict[tuple[CodeKey, _List], Embeddings] = {}
    for key, lines, first_row, scores in blocks:
        for source, length in handed_on[key].items():
            candidates = lists[source].rows[:, :length]
            into = scored.setdefault((key, source), np.empty(candidates.shape, dtype=np.float32))
            _pick(scores, candidates[lines], first_row, into[lines])
    ordered = {}
    for (before, key), length in lengths.items():
        source, keep = _list_of(before), before[-1].keep
        rows = lists[source].rows[:, :keep]
        ordered[before, key] = order(scored[key, source][:, :keep], rows).top(length)
    return ordered


def _pick(scores: Embeddings, candidates: Rows, first_row: int, into: Embeddings) -> None:
    """Write the scores of those candidates that lie in a block."""
    n_rows = scores.shape[1]
    places = candidates - first_row
    inside = (places >= 0) & (places < n_rows)
    picked = np.take_along_axis(scores, places.clip(0, n_rows - 1), 1)
    np.copyto(into, picked, where=inside)


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
    row_blocks, line_blocks = _blocks(len(queries), len(corpus), corpus.full_dim)
    for rows in row_blocks:
        vectors = corpus.embeddings(rows)
        for lines in line_blocks:
            for dim, scores in prefix_scores(
                queries[lines], vectors, dims, layer_norm=corpus.layer_norm
            ):
                yield _Block((dim, "float32"), lines, rows.start, scores)


def _score_codes(key: CodeKey, queries: Embeddings, corpus: Representations) -> Iterator[_Block]:
    row_blocks, line_blocks = _blocks(len(queries), len(corpus), key[0])
    prepared = corpus[key].codec.prepare(queries)
    for rows in row_blocks:
        vectors = corpus.decoded(key, rows)
        for lines in line_blocks:
            yield _Block(key, lines, rows.start, prepared[lines] @ vectors.T)


def _blocks(n_queries: int, n_documents: int, dim: int) -> tuple[list[slice], list[slice]]:
    """Cut the documents and the queries so that neither vectors nor scores take too much."""
    n_rows = min(n_documents, max(1, DOCUMENT_BYTES // (4 * dim)))
    n_lines = max(1, SCORE_BYTES // (4 * n_rows))
    return _slices(n_documents, n_rows), _slices(n_queries, n_lines)


def _slices(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]
