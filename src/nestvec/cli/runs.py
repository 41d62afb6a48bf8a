"""The option ``--run`` of ``nestvec evaluate``: rankings of other systems, as baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.curve.curve import Curve
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.similarity import SimilaritySet
    from nestvec.data.trec_runs import TrecRun

RunsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--run",
        metavar="FILE",
        help="Ranking of another system to compare with, as a TREC run file (query Q0 document "
        "rank score tag). Repeat the option for several runs.",
    ),
]


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
