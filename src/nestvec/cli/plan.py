"""``nestvec plan``: choose an operating point from a saved curve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestvec.cli.console import shown_path


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
    from nestvec.plan.choose import Budget
    from nestvec.plan.choose import plan as choose

    budget = Budget(min_retention, metric, confidence, max_disk_bytes, max_p95_ms)
    chosen = choose(Curve.load(curve), budget, seed=seed)
    chosen.save(out)
    if as_json:
        typer.echo(out.read_text(encoding="utf-8"), nl=False)
        return
    typer.echo(str(chosen))
    typer.echo(f"Next  nestvec index build MODEL CORPUS --plan {shown_path(out)} --out index")
