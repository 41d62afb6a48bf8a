"""The result of ``compare``: how two searches differ, as numbers that can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from nestvec.operate.check_report import Source

Verdict = Literal["significantly better", "significantly worse", "no significant difference"]


@dataclass(frozen=True)
class ComparedSide:
    """One of two searches.

    Attributes:
        place: The index or table, without credentials.
        search: The index or the settings by which the place is searched; "" for none.
        point: The operating point; "" if it is unknown.
        model: The model of the vectors; "" if it is unknown.
        documents: Number of documents.
        dim: Number of dimensions of the vectors.
        metric: cosine, ip or l2.
        latency_ms: p50, p95 and p99 in milliseconds, one query at a time, without encoding.
        ram_bytes: Bytes in memory per document; None if unknown.
        disk_bytes: Bytes of vectors and codes on disk per document; None if unknown.
        unknown_bytes: Why bytes are unknown; "" if they are known.
    """

    place: str
    search: str
    point: str
    model: str
    documents: int
    dim: int
    metric: str
    latency_ms: Mapping[str, float]
    ram_bytes: float | None = None
    disk_bytes: float | None = None
    unknown_bytes: str = ""


@dataclass(frozen=True)
class OverlapSummary:
    """Overlap of the results of all queries that can be compared.

    Attributes:
        queries: Number of these queries.
        mean: Mean overlap@k.
        at_least: The true mean is at least this, with 95 % confidence.
        worst: Mean overlap@k of the worst 1 % of the queries, at least one query.
        worst_queries: Number of queries in ``worst``.
        rbo: Mean rank-biased overlap.
        identical: Share of the queries with the same results in the same order.
        same_documents: Share of the queries with the same results in any order.
        quantiles: Quantiles of overlap@k, by name, such as ``p5``.
        histogram: Number of queries with overlap in [0, .1), [.1, .2), ... [.9, 1), and of 1.
    """

    queries: int
    mean: float
    at_least: float
    worst: float
    worst_queries: int
    rbo: float
    identical: float
    same_documents: float
    quantiles: Mapping[str, float]
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class MissingDocuments:
    """Documents that one of two places does not contain.

    Attributes:
        documents: Number of these documents.
        examples: Ids of a few of them.
        results: Number of results in the top k of the other place that are such documents.
        queries: Number of queries with such a result.
    """

    documents: int
    examples: tuple[str, ...]
    results: int
    queries: int


@dataclass(frozen=True)
class RelevanceComparison:
    """Relevance of the results of NEW compared with OLD, by labels.

    Attributes:
        metric: The metric, such as ``ndcg@10``.
        queries: Number of queries with labels.
        old: Mean of OLD.
        new: Mean of NEW.
        retention: ``new / old``.
        retention_at_least: The true retention is at least this, with 95 % confidence.
        wins: Number of queries for which NEW is better.
        losses: Number of queries for which NEW is worse.
        ties: Number of queries with equal scores.
        at_least: The true mean difference NEW - OLD is at least this, with 95 % confidence.
        at_most: The true mean difference is at most this, with 95 % confidence.
    """

    metric: str
    queries: int
    old: float
    new: float
    retention: float
    retention_at_least: float
    wins: int
    losses: int
    ties: int
    at_least: float
    at_most: float

    @property
    def verdict(self) -> Verdict:
        """Whether the difference is significant, at 95 % confidence in each direction."""
        if self.at_least > 0:
            return "significantly better"
        return "significantly worse" if self.at_most < 0 else "no significant difference"


@dataclass(frozen=True)
class QueryComparison:
    """One query.

    Attributes:
        id: Id of the query, or of the document that serves as a query.
        text: Its text; "" if it is a vector.
        filter: Its filter; "" for none.
        overlap: Overlap@k; None if no result can be compared.
        rbo: Rank-biased overlap; None if no result can be compared.
        entered: As in ``RankChanges``.
        left: As in ``RankChanges``.
        moved: As in ``RankChanges``.
        largest_move: As in ``RankChanges``.
        only_old: As in ``RankChanges``.
        only_new: As in ``RankChanges``.
        old_ms: Latency of OLD in milliseconds.
        new_ms: Latency of NEW in milliseconds.
        old_score: The metric for OLD; None without labels.
        new_score: The metric for NEW; None without labels.
    """

    id: str
    text: str
    filter: str
    overlap: float | None
    rbo: float | None
    entered: int
    left: int
    moved: int
    largest_move: int
    only_old: int
    only_new: int
    old_ms: float
    new_ms: float
    old_score: float | None = None
    new_score: float | None = None

    @property
    def gain(self) -> float:
        """The difference of the metric, NEW - OLD; 0 without labels."""
        return (self.new_score or 0.0) - (self.old_score or 0.0)


@dataclass(frozen=True)
class ComparedResult:
    """A result of one search.

    Attributes:
        id: Id of the document.
        title: Its title or the beginning of its text; "" if neither place stores texts.
        rank: Its rank, from 1.
        other_rank: Its rank in the results of the other search; None if it is not among them.
        missing: Whether the other place does not contain the document.
        relevant: Whether it is labeled as relevant.
    """

    id: str
    title: str
    rank: int
    other_rank: int | None
    missing: bool
    relevant: bool


@dataclass(frozen=True)
class ComparedLists:
    """One query with the results of both searches, best first."""

    query: QueryComparison
    old: tuple[ComparedResult, ...]
    new: tuple[ComparedResult, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the lists that ``ComparisonReport.to_json`` wrote."""
        old, new = (tuple(ComparedResult(**each) for each in values[name]) for name in _SIDES)
        return cls(QueryComparison(**values["query"]), old, new)


_SIDES = ("old", "new")


@dataclass(frozen=True)
class ComparisonReport:
    """How the searches OLD and NEW differ on the same queries.

    Attributes:
        old: The search OLD.
        new: The search NEW.
        k: Number of results per query.
        source: Where the queries come from.
        counts: Counts of queries that were left out of the log.
        overlap: Overlap of the results; None if no query can be compared.
        only_old: Documents that NEW does not contain.
        only_new: Documents that OLD does not contain.
        queries: One for each query, in the order of the log.
        worst: The queries with the lowest overlap: 1 % of the queries with changes, at least five.
        losses: The queries whose metric falls most; empty without labels.
        wins: The queries whose metric rises most; empty without labels.
        relevance: Relevance by labels; None without labels.
        min_overlap: The lowest mean overlap that passes; None for none.
        min_retention: The lowest retention of relevance that passes; None for none.
        seed: Seed of the sample.
        compared_at: Time of the comparison, ISO 8601, UTC.
        machine: Processor, cores and versions of the client.
    """

    old: ComparedSide
    new: ComparedSide
    k: int
    source: Source
    counts: Mapping[str, int]
    overlap: OverlapSummary | None
    only_old: MissingDocuments
    only_new: MissingDocuments
    queries: tuple[QueryComparison, ...]
    worst: tuple[ComparedLists, ...]
    losses: tuple[ComparedLists, ...] = ()
    wins: tuple[ComparedLists, ...] = ()
    relevance: RelevanceComparison | None = None
    min_overlap: float | None = None
    min_retention: float | None = None
    seed: int = 0
    compared_at: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is below its limit, in one sentence each; empty if the comparison passed."""
        overlap = 0.0 if self.overlap is None else self.overlap.mean
        limits = [(f"overlap@{self.k}", overlap, self.min_overlap)]
        if self.relevance is not None:
            name, retention = self.relevance.metric, self.relevance.retention
            limits.append((f"retention of {name}", retention, self.min_retention))
        return tuple(
            f"{name} is {value:.3f}, below {limit:g}"
            for name, value, limit in limits
            if limit is not None and value < limit
        )

    @property
    def passed(self) -> bool:
        """Whether everything with a limit reaches this limit."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Return the values for a JSON file."""
        values = {**asdict(self), "passed": self.passed, "failures": list(self.failures)}
        if self.relevance is not None:
            values["verdict"] = self.relevance.verdict
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the report that ``to_json`` wrote."""
        own = {name: each for name, each in values.items() if name not in _DERIVED}
        relevance, overlap = own["relevance"], own["overlap"]
        own |= {side: ComparedSide(**own[side]) for side in _SIDES}
        for name in ("only_old", "only_new"):
            examples = {"examples": tuple(own[name]["examples"])}
            own[name] = MissingDocuments(**own[name] | examples)
        for name in ("worst", "losses", "wins"):
            own[name] = tuple(ComparedLists.from_json(each) for each in own[name])
        if overlap is not None:
            histogram = {"histogram": tuple(overlap["histogram"])}
            own["overlap"] = OverlapSummary(**overlap | histogram)
        own["queries"] = tuple(QueryComparison(**each) for each in own["queries"])
        own["relevance"] = None if relevance is None else RelevanceComparison(**relevance)
        return cls(**own)


_DERIVED = ("passed", "failures", "verdict", "warnings")
