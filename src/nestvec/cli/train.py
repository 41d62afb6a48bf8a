"""``nestvec train``: train a static Matryoshka model from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestvec.cli.console import (
    check_output,
    load_torch,
    parse_ints,
    progress,
    say,
    say_next,
    shown_path,
)
from nestvec.errors import InvalidArgument


def train(
    pairs: Annotated[
        list[Path],
        typer.Option(help="JSONL, CSV or Parquet (anchor, positive), or a BEIR folder."),
    ],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    static: Annotated[bool, typer.Option("--static", help="A token table, from scratch.")] = False,
    dims: Annotated[str, typer.Option(help="Widths to train for.")] = "512,256,128,64,32",
    epochs: Annotated[int, typer.Option(help="Passes over the pairs.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the table and the order of pairs.")] = 0,
) -> None:
    """Train a Matryoshka model on pairs of texts.

    Example: `nestvec train --static --pairs pairs.jsonl --out model`
    """
    if not static:
        raise InvalidArgument("only static models are trained so far: add --static")
    check_output(out, folder=True)
    from nestvec.data.pairs import load_pairs
    from nestvec.train.static import StaticConfig
    from nestvec.workflows.trained import train_and_save

    config = StaticConfig(dims=parse_ints(dims, option="--dims") or (), epochs=epochs, seed=seed)
    loaded = load_pairs(pairs)
    with progress("train") as on_progress:
        load_torch()
        losses = train_and_save(loaded, config, out, on_progress=on_progress)
    say(f"{len(loaded):,} pairs, {epochs} epochs")
    for dim, loss in sorted(losses.items(), reverse=True):
        say(f"  loss {loss:5.3f} at {dim:>4} dims")
    dataset = next((shown_path(path) for path in pairs if path.is_dir()), "DATASET")
    say_next(f"nestvec evaluate {shown_path(out)} {dataset} --out curve.json")
