"""Options of ``nestvec evaluate`` for results of other systems.

Runs become baselines, or are combined with the ranking of each point; scores become a metric.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.options import parse_ints
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestvec.curve.curve import Curve
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.similarity import SimilaritySet
    from nestvec.data.trec_runs import TrecRun
    from nestvec.measure.combined import Combination

RunsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--run",
        metavar="FILE",
        help="Ranking of another system to compare with, as a TREC run file (query Q0 document "
        "rank score tag). Repeat the option for several runs.",
    ),
]

FuseOption = Annotated[
    Path | None,
    typer.Option(
        "--fuse",
        metavar="FILE",
        help="Run of another retriever, such as BM25, to fuse with the ranking of each point. Adds "
        "the metrics rrf:NAME (by rank) and sum:NAME (by score), such as rrf:ndcg@10.",
    ),
]
FuseWeightOption = Annotated[
    float | None,
    typer.Option(
        "--fuse-weight",
        help="Weight of the vectors' scores in sum:NAME, from 0 to 1. The run has the rest.",
        show_default="0.5",
    ),
]
RerankOption = Annotated[
    Path | None,
    typer.Option(
        "--rerank",
        metavar="FILE",
        help="Run with the scores of a reranker, which reorders the best documents of each point. "
        "Adds the metrics rerankD:NAME for each depth D, such as rerank50:ndcg@10.",
    ),
]
RerankDepthsOption = Annotated[
    str | None,
    typer.Option(
        "--rerank-depths",
        help="Numbers of documents that the reranker reorders, such as 10,50.",
        show_default="10,50,100",
    ),
]
ScoresOption = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        metavar="FILE",
        help="Your own scores, such as the quality of answers: a CSV, JSONL or Parquet file with "
        "the columns point, query-id and score (0 to 1). Adds them as a metric to plan on.",
    ),
]
ScoresNameOption = Annotated[
    str | None,
    typer.Option(
        "--scores-name",
        help="Name of the metric of --scores, such as answer-quality.",
        show_default="the name of the file",
    ),
]


@dataclass(frozen=True)
class OtherResults:
    """The options about results of other systems."""

    fuse: Path | None
    fuse_weight: float | None
    rerank: Path | None
    rerank_depths: str | None
    scores: Path | None
    scores_name: str | None

    def __post_init__(self) -> None:
        """Refuse options that have no effect, and scores that cannot be read."""
        for option, value, needs, needed in (
            ("--fuse-weight", self.fuse_weight, "--fuse", self.fuse),
            ("--rerank-depths", self.rerank_depths, "--rerank", self.rerank),
            ("--scores-name", self.scores_name, "--scores", self.scores),
        ):
            if value is not None and needed is None:
                raise InvalidArgument(f"{option} needs {needs}. Add {needs} FILE.")
        if self.scores is not None:
            from nestvec.measure.own_scores import check_scores

            check_scores(self.scores)

    def check_all_documents(self, runs: Sequence[object] | None) -> None:
        """Refuse rankings of all documents next to a sample.

        Args:
            runs: The rankings of --run, if any.
        """
        if runs or self.fuse or self.rerank:
            problem = "--run, --fuse and --rerank rank all documents, not a sample."
            raise InvalidArgument(f"{problem} Omit these options or --sample.")

    def combinations(self) -> Sequence[Combination]:
        """Return the runs to combine with the ranking of each point."""
        from nestvec.measure.combined import Fusion, Reranking

        combinations: list[Combination] = []
        if self.fuse is not None:
            fusion, weight = Fusion(self.fuse), self.fuse_weight
            combinations.append(fusion if weight is None else replace(fusion, weight=weight))
        if self.rerank is not None:
            reranking = Reranking(self.rerank)
            depths = parse_ints(self.rerank_depths, option="--rerank-depths")
            combinations.append(reranking if depths is None else replace(reranking, depths=depths))
        return combinations


def read_runs(paths: list[Path], data: RetrievalSet | SimilaritySet) -> list[TrecRun]:
    """Read and check the runs, before time is spent on a measurement."""
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.trec_runs import read_run
    from nestvec.measure.runs import check_run

    if not paths:
        return []
    if not isinstance(data, RetrievalSet) or data.evidence == "agreement":
        raise InvalidArgument("--run requires a folder with relevance labels. Omit the option.")
    runs = {run.name: run for run in map(read_run, paths)}
    if len(runs) < len(paths):
        raise InvalidArgument("Two runs have the same tag. Change the last field of one of them.")
    for run in runs.values():
        check_run(run, data)
    return [*runs.values()]


def add_runs(curve: Curve, data: RetrievalSet | SimilaritySet, runs: list[TrecRun]) -> Curve:
    """Return the curve with each run as a baseline."""
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.measure.runs import add_run

    if isinstance(data, RetrievalSet):
        for run in runs:
            curve = add_run(curve, data, run)
    return curve


def add_own_scores(curve: Curve, scores: Path | None, name: str | None) -> Curve:
    """Return the curve with the user's own scores as a metric, if a file is given."""
    from nestvec.measure.own_scores import add_scores

    return curve if scores is None else add_scores(curve, scores, name=name)


def other_metrics(curve: Curve) -> list[str]:
    """Return the curve's first metric of each combined ranking, and the user's own metrics."""
    own = curve.dataset.get("own_scores", ())
    return [
        metric
        for metric in curve.full.metrics
        if metric.endswith(f":{curve.main_metric}") or metric in own
    ]


def other_metrics_text(curve: Curve) -> str:
    """Return the scores of these metrics at full precision, next to the first metric."""
    from nestvec.wording import metric_name, score_text

    shown = (curve.main_metric, *other_metrics(curve))
    scores = (f"{metric_name(each)} {score_text(curve.full.metrics[each])}" for each in shown)
    return f"At full precision: {', '.join(scores)}"
