"""``nestvec plan``: choose an operating point from a saved curve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import check_output, say, say_next, shown_path, width

if TYPE_CHECKING:
    from nestvec.plan.choose import Plan


def plan(
    curve: Annotated[Path, typer.Argument(help="What `nestvec evaluate` wrote.")],
    min_retention: Annotated[float, typer.Option(help="Share of full float32 to keep.")] = 0.98,
    metric: Annotated[str, typer.Option(help="Metric of the curve.")] = "ndcg@10",
    confidence: Annotated[float, typer.Option(help="Of the statement, one-sided.")] = 0.95,
    max_disk_bytes: Annotated[
        float | None, typer.Option(help="Limit of disk bytes for each vector.")
    ] = None,
    max_p95_ms: Annotated[float | None, typer.Option(help="Limit of search time.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split of the queries.")] = 0,
    out: Annotated[Path, typer.Option(help="Plan to write.")] = Path("plan.json"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Choose the fewest bytes of memory that keep what you ask, and say why.

    Example: `nestvec plan curve.json --min-retention 0.98 --out plan.json`
    """
    from nestvec.curve import Curve
    from nestvec.plan.budget import Budget
    from nestvec.plan.choose import plan as choose

    check_output(out)
    budget = Budget(
        min_retention,
        metric,
        confidence=confidence,
        max_disk_bytes_per_vector=max_disk_bytes,
        max_p95_ms=max_p95_ms,
    )
    measured = Curve.load(curve)
    chosen = choose(measured, budget, seed=seed)
    chosen.save(out)
    if as_json:
        typer.echo(out.read_text(encoding="utf-8"), nl=False)
        return
    for line in plan_lines(chosen, encode_ms=measured.encode_ms, width=width()):
        say(line)
    model = shown_path(chosen.model.name)
    say_next(f"nestvec index build {model} CORPUS --plan {shown_path(out)} --out index")


def plan_lines(chosen: Plan, *, encode_ms: float, width: int) -> Iterator[str]:
    """Write a plan for people: the point, why it and no other, how long a search takes."""
    yield f"=> {chosen.point}   {'CONFIRMED' if chosen.confirmed else 'NOT CONFIRMED'}"
    cost, full = chosen.row.cost, chosen.full.cost
    times = (
        f"Search {cost.p50_ms:.2f} ms p50, {cost.p99_ms:.2f} ms p99 (full: {full.p50_ms:.2f}, "
        f"{full.p99_ms:.2f}); encoding {encode_ms:.2f} ms."
    )
    for reason in (*chosen.reasons, times):
        yield from wrap(
            reason, width, initial_indent="   ", subsequent_indent="     ", break_on_hyphens=False
        )
