"""``nestvec train``: fine-tune a model, or train a static one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli.console import (
    check_output,
    load_torch,
    log,
    parse_ints,
    progress,
    say,
    say_next,
    shown_path,
)
from nestvec.cli.hits import shorten
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.data.similarity import Triplets
    from nestvec.recipes.finetuned import Outcome
    from nestvec.types import Encoder

_FINETUNING_ONLY = (
    *(
        "dev",
        "test",
        "twin",
        "mini_batch_size",
        "hard_negatives",
        "out_dim",
        "best_at",
        "report_to",
    ),
)


def train(
    pairs: Annotated[list[Path], typer.Option(help="JSONL, CSV or Parquet, or a BEIR folder.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    model: Annotated[str | None, typer.Argument(help="Folder or hub id to start from.")] = None,
    static: Annotated[bool, typer.Option("--static", help="Train a token table.")] = False,
    dims: Annotated[str | None, typer.Option(help="Widths [halvings of the full one].")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes [1; static: 10].")] = None,
    dev: Annotated[Path | None, typer.Option(help="BEIR folder or scored pairs to judge.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of a step [64; 512].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak [2e-5; 0.1, 0.4].")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Cut longer texts in training.")] = None,
    mini_batch_size: Annotated[int | None, typer.Option(help="Texts embedded at a time.")] = None,
    hard_negatives: Annotated[int | None, typer.Option(help="Mine so many a pair.")] = None,
    out_dim: Annotated[int | None, typer.Option(help="Append a layer to this width.")] = None,
    best_at: Annotated[int | None, typer.Option(help="Dim that --dev goes by [the mean].")] = None,
    test: Annotated[Path | None, typer.Option(help="As --dev; for the model card.")] = None,
    twin: Annotated[bool, typer.Option("--twin", help="Train without Matryoshka too.")] = False,
    report_to: Annotated[list[str] | None, typer.Option(help="A tracker: tensorboard...")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with more settings.")] = None,
    probes: Annotated[Path | None, typer.Option(help="Triplets that it must get right.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Compute in float32 or bfloat16.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of what is drawn at random.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
) -> None:
    """Train a Matryoshka model on pairs, triplets or scored pairs of texts.

    A static one (--static) starts from MODEL's token table, a transformer's tokens, or scratch.

    Example: `nestvec train --static --pairs pairs.jsonl --out model`
    """
    check_output(out, folder=True)
    known = None if probes is None else _load_probes(probes)
    asked: dict[str, Any] = {
        "dims": parse_ints(dims, option="--dims"),
        "epochs": epochs,
        "seed": seed,
        "config": config,
        "dev": dev,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "max_tokens": max_tokens,
        "mini_batch_size": mini_batch_size,
        "dtype": dtype,
        "hard_negatives": hard_negatives,
        "out_dim": out_dim,
        "best_at": best_at,
        "test": test,
        "twin": twin or None,
        "report_to": tuple(report_to) if report_to else None,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    learn = _train_static if static else _finetune
    learn(model, pairs, out, given, trust_remote_code=trust_remote_code)
    if known is not None and not _probe(out, known, trust_remote_code=trust_remote_code):
        raise typer.Exit(1)
    dataset = next((shown_path(path) for path in pairs if path.is_dir()), "DATASET")
    say_next(f"nestvec evaluate {shown_path(out)} {dataset} --out curve.json")


def _train_static(
    model: str | None,
    pairs: list[Path],
    out: Path,
    given: dict[str, Any],
    *,
    trust_remote_code: bool,
) -> None:
    from nestvec.data.training import load_pairs
    from nestvec.recipes.trained import default_settings, train_and_save
    from nestvec.train.config import config_from_file
    from nestvec.train.static import StaticConfig

    file = _check_static(given)
    loaded = load_pairs(pairs)
    start = None if model is None else _load_start(model, trust_remote_code=trust_remote_code)
    defaults = {} if start is None else default_settings(start)
    if file is None:
        config = StaticConfig(**{**defaults, **given})
    else:
        config = config_from_file(StaticConfig, file, defaults=defaults, overrides=given)
    with progress("train") as on_progress:
        load_torch()
        losses = train_and_save(loaded, config, out, start=start, on_progress=on_progress)
    say(f"{len(loaded):,} pairs, {config.epochs} epochs")
    for dim, loss in sorted(losses.items(), reverse=True):
        say(f"  loss {loss:5.3f} at {dim:>4} dims")


def _check_static(given: dict[str, Any]) -> Path | None:
    """Turn options into settings of a static model; return the file of further ones, if any."""
    from nestvec.models.sentence_transformer import DTYPES

    for name in _FINETUNING_ONLY:
        if name in given:
            raise InvalidArgument(f"--{name.replace('_', '-')} is for fine-tuning, not --static")
    dtype = given.pop("dtype", None)
    if dtype is not None:
        if dtype not in DTYPES:
            raise InvalidArgument(f"--dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        given["bfloat16"] = dtype == "bfloat16"
    file: Path | None = given.pop("config", None)
    return file


def _load_start(name_or_path: str, *, trust_remote_code: bool) -> Encoder:
    from nestvec.models.load import load_model

    load_torch()
    return load_model(name_or_path, trust_remote_code=trust_remote_code)


def _finetune(
    model: str | None,
    pairs: list[Path],
    out: Path,
    given: dict[str, Any],
    *,
    trust_remote_code: bool,
) -> None:
    from nestvec.recipes import finetuned
    from nestvec.train.config import Callbacks, FinetuneConfig, config_from_file

    if model is None:
        raise InvalidArgument("name a model to fine-tune, or train one with --static")
    dev, test = (
        None if path is None else finetuned.load_dev_set(path, split=split)
        for split, path in ((split, given.pop(split, None)) for split in ("dev", "test"))
    )
    held_out = finetuned.HeldOutSets(dev, test, twin=given.pop("twin", False))
    file = given.pop("config", None)
    if file is None:
        config = FinetuneConfig(**given)
    else:
        config = config_from_file(FinetuneConfig, file, defaults={}, overrides=given)
    with progress("train") as on_progress:
        load_torch()
        base = finetuned.load_base(model, trust_remote_code=trust_remote_code)
        callbacks = Callbacks(on_progress, _log_check)
        done = finetuned.finetune_and_save(
            base, pairs, config, out, held_out=held_out, callbacks=callbacks
        )
    _tell(done)


def _log_check(step: int, losses: Mapping[int, float], scores: Mapping[int, float]) -> None:
    """Say how training goes, on standard error: a line of losses, and one of what a judge found."""
    for name, values in ((f"step {step:,}, loss", losses), ("dev", scores)):
        if values:
            cells = (f"{value:.4g} at {dim}" for dim, value in sorted(values.items(), reverse=True))
            log(f"{name} {', '.join(cells)}")


def _tell(outcome: Outcome) -> None:
    from nestvec.report.tables import retention_table

    done = outcome.training
    for name, loss in done.losses.items():
        say(f"{name}: {loss}")
    say(f"{done.steps:,} steps")
    for dim, score in sorted(done.dev_scores.items(), reverse=True):
        say(f"  dev {score:.4f} at {dim:>4} dims")
    if outcome.curves:
        metric = next(iter(outcome.curves.values())).main_metric
        for line in retention_table(outcome.curves, metric, precisions=("int8", "binary")):
            say(line)


def _load_probes(path: Path) -> Triplets:
    from nestvec.recipes.finetuned import load_probes

    return load_probes(path)


def _probe(out: Path, probes: Triplets, *, trust_remote_code: bool) -> bool:
    """Say how many probes hold at each dim, and which do not; tell whether all do at the least."""
    from nestvec.measure.dims import probe
    from nestvec.models.load import load_model

    model = load_model(out, trust_remote_code=trust_remote_code)
    passed = probe(model, probes, model.info.dims)
    for dim, held in passed.items():
        say(f"  probes {held.sum():>4,} of {len(held):,} at {dim:>4} dims")
    least = min(passed)
    for number in (~passed[least]).nonzero()[0].tolist():
        anchor, wrong = probes.anchors[number], probes.negatives[number]
        say(f"  fails at {least} dims: {shorten(anchor, 24)!r} is nearer to {shorten(wrong, 24)!r}")
    return bool(passed[least].all())
