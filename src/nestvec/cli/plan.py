"""``nestvec plan``: choose an operating point from a saved curve."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from nestvec.cli.console import check_output, say, say_next, shown_path, width

if TYPE_CHECKING:
    from nestvec.curve.curve import Curve
    from nestvec.planning.choose import Plan

_Extra = tuple[str, dict[str, Any]]
"""What is said beside a plan, in words and in numbers."""


def plan(
    curve: Annotated[Path, typer.Argument(help="What `nestvec evaluate` wrote.")],
    min_retention: Annotated[
        float | None, typer.Option(help="Share of full float32 to keep [0.98 if no goal is given].")
    ] = None,
    max_drop: Annotated[float | None, typer.Option(help="Or: what it may lose, as 0.01.")] = None,
    min_overlap: Annotated[float | None, typer.Option(help="Or: share of results kept.")] = None,
    min_slice_retention: Annotated[float | None, typer.Option(help="Of each slice.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric [the curve's first].")] = None,
    minimize: Annotated[str, typer.Option(help="ram, latency or disk.")] = "ram",
    max_ram_bytes: Annotated[float | None, typer.Option(help="Limit for each vector.")] = None,
    max_disk_bytes: Annotated[float | None, typer.Option(help="Limit for each vector.")] = None,
    max_p95_ms: Annotated[float | None, typer.Option(help="Limit of search time.")] = None,
    confidence: Annotated[float, typer.Option(help="Of the statement, one-sided.")] = 0.95,
    vectors: Annotated[int | None, typer.Option(help="Say what so many would take.")] = None,
    prices: Annotated[
        Path | None, typer.Option(help="JSON with currency, ram_gb_month, disk_gb_month.")
    ] = None,
    replicas: Annotated[int | None, typer.Option(help="Copies of the index.")] = None,
    cutoff: Annotated[float | None, typer.Option(help="Score cut-off at float32 to move.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split of the queries.")] = 0,
    out: Annotated[Path, typer.Option(help="Plan to write.")] = Path("plan.json"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Choose the cheapest point that keeps what you ask, and say why.

    Example: `nestvec plan curve.json --max-drop 0.01 --vectors 10_000_000`
    """
    from nestvec.curve.curve import Curve
    from nestvec.planning.budget import Budget, Minimize
    from nestvec.planning.choose import plan as choose

    check_output(out)
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
    _check_scale(vectors, prices, replicas)
    measured = Curve.load(curve)
    chosen = choose(measured, budget, seed=seed)
    scale = None if vectors is None else _scale(chosen, vectors, prices, replicas)
    moved = None if cutoff is None else _cutoff(measured, chosen, cutoff)
    extras = [each for each in (scale, moved) if each is not None]
    chosen.save(out)
    if as_json:
        _tell_json(out, extras)
    else:
        _tell(chosen, measured.encode_ms, extras, out)


def _tell_json(out: Path, extras: Sequence[_Extra]) -> None:
    values = json.loads(out.read_text(encoding="utf-8"))
    for _, more in extras:
        values |= more
    typer.echo(json.dumps(values, indent=1))


def _tell(chosen: Plan, encode_ms: float | None, extras: Sequence[_Extra], out: Path) -> None:
    for line in plan_lines(chosen, encode_ms=encode_ms, width=width()):
        say(line)
    for text, _ in extras:
        for line in _wrapped(text, width()):
            say(line)
    model = shown_path(chosen.model.name)
    adapter = " --adapter ADAPTER" if chosen.model.adapter else ""
    say_next(f"nestvec index build {model} CORPUS{adapter} --plan {shown_path(out)} --out index")


def plan_lines(chosen: Plan, *, encode_ms: float | None, width: int) -> Iterator[str]:
    """Write a plan for people: the point, why it and no other, how long a search takes."""
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
    from nestvec.errors import InvalidArgument

    if vectors is None and (prices is not None or replicas is not None):
        raise InvalidArgument(
            "--prices and --replicas speak of a number of vectors: give --vectors"
        )


def _scale(chosen: Plan, vectors: int, prices_file: Path | None, replicas: int | None) -> _Extra:
    """Return what the point takes at another size."""
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
    """Return where a cut-off moves to."""
    from nestvec.planning.cutoff import move_cutoff

    moved = move_cutoff(measured, chosen.point, cutoff, seed=chosen.seed)
    return str(moved), {"cutoff": asdict(moved)}
