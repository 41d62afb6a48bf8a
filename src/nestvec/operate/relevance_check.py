"""Compare the relevance of a search in use with that of exact answers, by labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestvec.data.labels import read_qrels
from nestvec.errors import InvalidArgument
from nestvec.metrics.relevance import evaluate_run, parse_metric
from nestvec.metrics.stats import ratio_lower_bounds
from nestvec.operate.check_report import Retention

DEFAULT_METRIC = "ndcg@10"


class _Every:
    """Contains every id: the log and the documents are not known when labels are read."""

    def __contains__(self, id_: object) -> bool:
        return True


@dataclass(frozen=True)
class Labels:
    """Relevance labels.

    Attributes:
        qrels: Grades by document id, by query id.
        metric: The metric, such as ``ndcg@10``.
    """

    qrels: Mapping[str, Mapping[str, int]]
    metric: str = DEFAULT_METRIC

    @classmethod
    def read(cls, path: Path, metric: str = DEFAULT_METRIC) -> Labels:
        """Read a file of labels.

        Raises:
            DataError: If the file is missing or malformed.
            InvalidArgument: If the metric is unknown, or needs no labels.
        """
        if not parse_metric(metric).needs_labels:
            raise InvalidArgument(f"metric {metric!r} needs no labels. Example: {DEFAULT_METRIC}.")
        own, _ = read_qrels([path], queries=_Every(), documents=_Every(), strict=False)
        return cls(own, metric)

    def retention(
        self,
        query_ids: Sequence[str],
        found: Sequence[Sequence[str]],
        exact: Sequence[Sequence[str]],
    ) -> Retention:
        """Return the share of the relevance of exact answers that a search retains.

        Raises:
            InvalidArgument: If no query has labels, or exact answers find nothing relevant.
        """
        pairs = [self.scores(query_ids, ids) for ids in (found, exact)]
        mean, full = (float(each.mean()) for each in pairs)
        if not full:
            problem = f"exact answers have a mean {self.metric} of 0."
            raise InvalidArgument(f"{problem} Check the document ids of the labels.")
        bound = ratio_lower_bounds(pairs[0][None], pairs[1])[0]
        return Retention(self.metric, full, mean, mean / full, float(bound), len(pairs[0]))

    def labeled(self, query_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Return the labels of the queries that have labels, in their order.

        Raises:
            InvalidArgument: If no query has labels.
        """
        own = {id_: self.qrels[id_] for id_ in query_ids if id_ in self.qrels}
        if not own:
            example = query_ids[0]
            problem = f"no query of the log, such as {example!r}, has relevance labels."
            raise InvalidArgument(f"{problem} The log needs the query ids of the labels.")
        return own

    def scores(
        self, query_ids: Sequence[str], ids: Sequence[Sequence[str]]
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the metric of each query that has labels, in the order of ``labeled``.

        Args:
            query_ids: The ids of all queries.
            ids: Ids of the results of each query, best first.

        Raises:
            InvalidArgument: If no query has labels.
        """
        own = self.labeled(query_ids)
        run = {
            query: {id_: -float(rank) for rank, id_ in enumerate(found)}
            for query, found in zip(query_ids, ids, strict=True)
            if query in own
        }
        scored = evaluate_run(run, own, [self.metric])
        return np.array([scored[query][self.metric] for query in own])
