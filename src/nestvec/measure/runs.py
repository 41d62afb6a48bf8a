"""Score the rankings of another system on the queries and labels of a measured curve.

The system becomes a baseline of the curve: a lexical search, a reranker or the search in use today.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nestvec.curve.curve import Curve
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.trec_runs import TrecRun, read_run
from nestvec.errors import InvalidArgument
from nestvec.measure.filters import keep_queries
from nestvec.measure.texts import Texts
from nestvec.metrics.relevance import Run, evaluate_run, is_relevance, parse_metric
from nestvec.wording import count_text

_KEPT = "self_matches_kept"  # a curve counts this if queries rank their own documents
_EMPTY = "queries_with_empty_filter"  # a curve counts this if it leaves queries out
_logger = logging.getLogger(__name__)


def add_run(
    curve: Curve, data: RetrievalSet, run: TrecRun | Path | str, *, name: str | None = None
) -> Curve:
    """Return a copy of a curve with a run as a baseline.

    Metrics follow trec_eval: equal scores are sorted by descending document id, and a query that is
    missing from the run scores 0. As in the curve, queries ignore their own documents, and chunks
    are grouped to documents. Documents outside of the corpus are ranked as not relevant.

    Args:
        curve: A curve measured on ``data``.
        data: The retrieval set.
        run: A run, or its file.
        name: Name of the baseline; by default the tag of the run, followed by "(run)".

    Returns:
        The curve with the baseline, and with counts of missing queries and unknown documents.

    Raises:
        InvalidArgument: If the curve has no relevance labels or was measured on other queries, no
            query of the run is in ``data``, or the curve has a baseline of this name.
        DataError: If the file is malformed.

    Example:
        >>> add_run(curve, data, "lucene.trec").baselines["lucene (run)"]  # doctest: +SKIP
    """
    ranked = run if isinstance(run, TrecRun) else read_run(run)
    if _EMPTY in curve.counts:
        data = keep_queries(data, curve.scores.query_ids.tolist())
    name = name or f"{ranked.name} (run)"
    _check(curve, data, ranked, name)
    metrics = [metric for metric in curve.full.metrics if is_relevance(metric)]
    texts = Texts.of(data, group_by=curve.dataset.get("group_by"), keep_self=_KEPT in curve.counts)
    found = documents_of(texts, ranked.scores)
    _warn_of_depth(name, found, metrics)
    scores = evaluate_run(found, texts.qrels, metrics)
    means = {
        metric: sum(each[metric] for each in scores.values()) / len(scores) for metric in metrics
    }
    counts = count_ignored(name, ranked.scores, found, texts)
    added = curve.with_baseline(name, means)
    return replace(added, counts={**curve.counts, **counts})


def check_run(run: TrecRun, data: RetrievalSet) -> None:
    """Check that a run and a retrieval set have queries in common.

    Raises:
        InvalidArgument: If they have none.
    """
    if not run.scores.keys() & data.queries.keys():
        example = next(iter(run.scores))
        problem = f"No query of the run {run.name!r}, such as {example!r}, is in {data.name}."
        raise InvalidArgument(f"{problem} Check the query ids.")


def _check(curve: Curve, data: RetrievalSet, run: TrecRun, name: str) -> None:
    if curve.evidence == "agreement":
        raise InvalidArgument("A run can be scored on relevance labels only (qrels).")
    if {*curve.scores.query_ids.tolist()} != {*data.queries}:
        problem = f"The curve was not measured on the queries of {data.name}."
        raise InvalidArgument(f"{problem} Pass the data set and split of the curve.")
    if name in curve.baselines:
        raise InvalidArgument(f"The curve has a baseline {name!r}. Choose another name.")
    check_run(run, data)


def documents_of(texts: Texts, run: Run) -> dict[str, dict[str, float]]:
    """Return the ranked documents of each query: grouped, and without the query's own document."""
    doc_of_row = texts.documents.doc_of_row.tolist()
    group = {
        row_id: texts.doc_ids[doc] for row_id, doc in zip(texts.row_ids, doc_of_row, strict=True)
    }
    found: dict[str, dict[str, float]] = {}
    for query_id, own_row in zip(texts.query_ids, texts.documents.own_row.tolist(), strict=True):
        own = texts.row_ids[own_row] if own_row >= 0 else None
        best = found.setdefault(query_id, {})
        for id_, score in run.get(query_id, {}).items():
            if id_ != own:
                document = group.get(id_, id_)
                best[document] = max(score, best.get(document, score))
    return found


def _warn_of_depth(name: str, found: Run, metrics: list[str]) -> None:
    longest = max(map(len, found.values()), default=0)
    deeper = [metric for metric in metrics if parse_metric(metric).k > longest]
    if deeper:
        message = "%s: no query has more than %s, so these values are too low: %s"
        _logger.warning(message, name, count_text(longest, "document"), ", ".join(deeper))


def count_ignored(name: str, run: Run, found: Run, texts: Texts) -> Mapping[str, int]:
    """Count queries that a run does not contain, and documents that the corpus does not contain."""
    known = {*texts.doc_ids}
    unknown = {id_ for documents in found.values() for id_ in documents} - known
    counts = {
        f"queries_missing_in_{name}": sum(not documents for documents in found.values()),
        f"documents_of_{name}_outside_of_the_corpus": len(unknown),
    }
    others = len(run.keys() - found.keys())
    if others:
        _logger.warning("%s: ignored %s without labels", name, count_text(others, "query"))
    return counts
