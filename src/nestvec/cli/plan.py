"""``nestvec plan``: choose an operating point from a saved curve."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from nestvec.cli.console import (
    check_output,
    print_json,
    print_line,
    print_next,
    shell_place,
    shown_path,
    width,
)
from nestvec.cli.options import CurveArgument, SeedOption, prompt_options
from nestvec.cli.runs import ScoresNameOption, add_own_scores
from nestvec.engines.places import is_url
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.curve.curve import Curve
    from nestvec.planning.choose import Plan

_Extra = tuple[str, dict[str, Any]]
"""A further result next to a plan: as text and as JSON values."""


_MinRetention = Annotated[
    float | None,
    typer.Option(
        help="Goal: smallest share of the float32 metric to retain, such as 0.95.",
        show_default="0.98 if no goal is given",
    ),
]
_MaxDrop = Annotated[
    float | None,
    typer.Option(
        help="Goal instead: largest drop of the metric, such as 0.01 (from 0.40 to 0.39)."
    ),
]
_MinOverlap = Annotated[
    float | None,
    typer.Option(
        help="Goal instead: smallest share of the float32 results that a search also returns, "
        "such as 0.95."
    ),
]
_MinSliceRetention = Annotated[
    float | None,
    typer.Option(help="Smallest share of the metric to retain in each slice of the queries."),
]
_Metric = Annotated[
    str | None,
    typer.Option(
        help="Metric of the goal, such as ndcg@10.", show_default="the curve's first metric"
    ),
]
_Minimize = Annotated[
    str,
    typer.Option(
        help="Cost to minimize among the points that reach the goal: ram, latency or disk."
    ),
]
_MaxRamBytes = Annotated[
    float | None, typer.Option(help="Largest memory of one vector, in bytes, such as 64.")
]
_MaxDiskBytes = Annotated[
    float | None, typer.Option(help="Largest disk space of one vector, in bytes, such as 1024.")
]
_MaxP95Ms = Annotated[
    float | None, typer.Option(help="Largest time of a search (95th percentile), in milliseconds.")
]
_Confidence = Annotated[
    float, typer.Option(help="Confidence (one-sided) that the chosen point reaches the goal.")
]
_Vectors = Annotated[
    int | None,
    typer.Option(help="Also project memory, disk and build time to this many vectors."),
]
_Prices = Annotated[
    Path | None,
    typer.Option(
        help="JSON file of prices for that projection: currency, ram_gb_month, disk_gb_month."
    ),
]
_Replicas = Annotated[
    int | None,
    typer.Option(help="Copies of the index in that projection.", show_default="1"),
]
_Cutoff = Annotated[
    float | None,
    typer.Option(
        help="Score cutoff that you use at full float32. The plan also shows the equivalent "
        "cutoff at the chosen point."
    ),
]
_Out = Annotated[Path, typer.Option(help="Plan file to write.")]
_Certificate = Annotated[
    Path | None,
    typer.Option(
        help="Also write a certificate: the plan with the scores of all queries, without texts. "
        "Others check the file with 'nestvec verify'."
    ),
]
_OwnScores = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        metavar="FILE",
        help="Your own scores of queries at points, as for 'nestvec evaluate --scores'. The plan "
        "is made on these scores unless --metric names another metric.",
    ),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")]


def plan(
    curve: CurveArgument,
    min_retention: _MinRetention = None,
    max_drop: _MaxDrop = None,
    min_overlap: _MinOverlap = None,
    min_slice_retention: _MinSliceRetention = None,
    metric: _Metric = None,
    minimize: _Minimize = "ram",
    max_ram_bytes: _MaxRamBytes = None,
    max_disk_bytes: _MaxDiskBytes = None,
    max_p95_ms: _MaxP95Ms = None,
    confidence: _Confidence = 0.95,
    vectors: _Vectors = None,
    prices: _Prices = None,
    replicas: _Replicas = None,
    cutoff: _Cutoff = None,
    scores: _OwnScores = None,
    scores_name: ScoresNameOption = None,
    seed: SeedOption = 0,
    out: _Out = Path("plan.json"),
    certificate: _Certificate = None,
    as_json: _AsJson = False,
) -> None:
    """Choose the cheapest operating point that reaches a goal.

    The goal is tested on held-out queries, and the reasons for the choice are printed.

    Example: nestvec plan curve.json --max-drop 0.01 --vectors 10_000_000
    """
    from nestvec.planning.budget import Budget, Minimize
    from nestvec.planning.choose import plan as choose

    for path in (out, *filter(None, [certificate])):
        check_output(path)
    _check_scale(vectors, prices, replicas)
    measured = _load(curve, scores, scores_name)
    if scores is not None:
        metric = metric or measured.dataset["own_scores"][-1]
    budget = Budget(
        min_retention=min_retention,
        metric=metric,
        max_drop=max_drop,
        min_overlap=min_overlap,
        min_slice_retention=min_slice_retention,
        max_ram_bytes_per_vector=max_ram_bytes,
        max_disk_bytes_per_vector=max_disk_bytes,
        max_p95_ms=max_p95_ms,
        confidence=confidence,
        minimize=cast("Minimize", minimize),  # Budget checks it
    )
    chosen = choose(measured, budget, seed=seed)
    scale = None if vectors is None else _scale(chosen, vectors, prices, replicas)
    moved = None if cutoff is None else _cutoff(measured, chosen, cutoff)
    extras = [each for each in (scale, moved) if each is not None]
    _save(measured, chosen, out, certificate)
    if as_json:
        _print_json(out, extras)
    else:
        _print_result(chosen, measured.encode_ms, extras, out)
        _print_verify(certificate)


def _load(path: Path, scores: Path | None, name: str | None) -> Curve:
    """Load a curve, with the user's own scores if a file is given."""
    from nestvec.curve.curve import Curve

    if scores is None and name is not None:
        raise InvalidArgument("--scores-name needs --scores. Add --scores FILE.")
    return add_own_scores(Curve.load(path), scores, name)


def _save(measured: Curve, chosen: Plan, out: Path, certificate: Path | None) -> None:
    """Write the plan, and its certificate if a file is given."""
    from nestvec.operate.certificate import certify

    certified = None if certificate is None else certify(measured, chosen)
    chosen.save(out)
    if certificate is not None and certified is not None:
        certified.save(certificate)


def _print_verify(certificate: Path | None) -> None:
    if certificate is not None:
        print_next(f"nestvec verify {shown_path(certificate)}", heading="")


def _print_json(out: Path, extras: Sequence[_Extra]) -> None:
    values = json.loads(out.read_text(encoding="utf-8"))
    for _, more in extras:
        values |= more
    print_json(values)


def _print_result(
    chosen: Plan, encode_ms: float | None, extras: Sequence[_Extra], out: Path
) -> None:
    for line in plan_lines(chosen, encode_ms=encode_ms, width=width()):
        print_line(line)
    for text, _ in extras:
        for line in _wrapped(text, width()):
            print_line(line)
    model = shell_place(chosen.model.name)
    if is_url(chosen.model.name):
        print_next(f"nestvec shrink {model} --plan {shown_path(out)} --dry-run")
        return
    options = prompt_options(chosen.model)
    if chosen.model.adapter:
        options += " --adapter ADAPTER"
    print_next(f"nestvec index build {model} CORPUS{options} --plan {shown_path(out)} --out index")


def plan_lines(chosen: Plan, *, encode_ms: float | None, width: int) -> Iterator[str]:
    """Yield a plan as lines: the point, the reasons for it, and the time of a search."""
    yield f"=> {chosen.point}   {chosen.verdict}"
    cost, full = chosen.row.cost, chosen.full.cost
    encoding = "" if encode_ms is None else f"; encoding {encode_ms:.2f} ms"
    times = (
        f"Search {cost.p50_ms:.2f} ms p50, {cost.p99_ms:.2f} ms p99 (full: {full.p50_ms:.2f}, "
        f"{full.p99_ms:.2f}){encoding}."
    )
    for reason in (*chosen.reasons, times):
        yield from _wrapped(reason, width)


def _wrapped(reason: str, width: int) -> list[str]:
    return wrap(
        reason, width, initial_indent="   ", subsequent_indent="     ", break_on_hyphens=False
    )


def _check_scale(vectors: int | None, prices: Path | None, replicas: int | None) -> None:
    if vectors is None and (prices is not None or replicas is not None):
        raise InvalidArgument("--prices and --replicas need a number of vectors. Add --vectors N.")


def _scale(chosen: Plan, vectors: int, prices_file: Path | None, replicas: int | None) -> _Extra:
    """Project the size and cost of the point to another number of vectors."""
    from nestvec.planning.scale import Prices, project, scale_text

    prices = None if prices_file is None else Prices.load(prices_file)
    measured = int(chosen.dataset["n_documents"])
    point, full = (
        project(row, n_measured=measured, vectors=vectors, prices=prices, replicas=replicas)
        for row in (chosen.row, chosen.full)
    )
    currency = prices.currency if prices else ""
    text = scale_text(point, full, n_measured=measured, currency=currency)
    numbers = {"currency": currency, "point": asdict(point), "full": asdict(full)}
    return text, {"scale": numbers}


def _cutoff(measured: Curve, chosen: Plan, cutoff: float) -> _Extra:
    """Convert a score cutoff to the chosen point."""
    from nestvec.planning.cutoff import move_cutoff

    moved = move_cutoff(measured, chosen.point, cutoff, seed=chosen.seed)
    return str(moved), {"cutoff": asdict(moved)}
