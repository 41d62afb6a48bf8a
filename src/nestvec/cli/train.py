"""``nestvec train``: fine-tune a model, or train a static model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nestvec.cli.console import (
    check_output,
    load_torch,
    log,
    print_line,
    print_next,
    shown_path,
    warn,
)
from nestvec.cli.hits import shorten
from nestvec.cli.models import LOADING, ModelChoice, model_options
from nestvec.cli.options import (
    TrainDtypeOption,
    parse_dtype,
    parse_ints,
    parse_prompts,
)
from nestvec.cli.progress import progress
from nestvec.cli.train_options import (
    BatchSizeOption,
    BestAtOption,
    ConfigOption,
    DevOption,
    DimsOption,
    EpochsOption,
    HardNegativesOption,
    LearningRateOption,
    MaxTokensOption,
    MiniBatchSizeOption,
    OutDimOption,
    OutOption,
    PairsOption,
    ProbesOption,
    ReportToOption,
    SeedOption,
    StartArgument,
    StaticOption,
    TestOption,
    TwinOption,
)
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.data.similarity import Triplets
    from nestvec.recipes.finetuned import Outcome
    from nestvec.train.finetuning import Epoch
    from nestvec.types import Encoder, ModelInfo

_FINETUNING_ONLY = (
    "dev",
    "test",
    "twin",
    "mini_batch_size",
    "hard_negatives",
    "out_dim",
    "best_at",
    "report_to",
    "query_prompt",
    "document_prompt",
)
_Loading = dict[str, Any]
"""Keyword arguments for loading a model: device, trust_remote_code and models."""


@model_options(*LOADING, dtype=TrainDtypeOption)
def train(
    pairs: PairsOption,
    out: OutOption,
    *,
    model: StartArgument = None,
    static: StaticOption = False,
    dims: DimsOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    learning_rate: LearningRateOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    config: ConfigOption = None,
    probes: ProbesOption = None,
    dev: DevOption = None,
    best_at: BestAtOption = None,
    test: TestOption = None,
    twin: TwinOption = False,
    mini_batch_size: MiniBatchSizeOption = None,
    hard_negatives: HardNegativesOption = None,
    out_dim: OutDimOption = None,
    report_to: ReportToOption = None,
    choice: ModelChoice,
) -> None:
    """Train a Matryoshka model on pairs, triplets or scored pairs of texts.

    The command fine-tunes MODEL, or trains a static model with --static.

    Example: nestvec train --static --pairs pairs.jsonl --out model
    """
    check_output(out, folder=True)
    known = None if probes is None else _load_probes(probes)
    given = _given(
        dims=parse_ints(dims, option="--dims"),
        epochs=epochs,
        seed=seed,
        config=config,
        dev=dev,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_tokens=max_tokens,
        mini_batch_size=mini_batch_size,
        dtype=parse_dtype(choice.dtype),
        hard_negatives=hard_negatives,
        out_dim=out_dim,
        best_at=best_at,
        test=test,
        twin=twin or None,
        report_to=tuple(report_to) if report_to else None,
        query_prompt=choice.query_prompt,
        document_prompt=choice.document_prompt,
    )
    loading: _Loading = {
        "device": choice.device,
        "trust_remote_code": choice.trust_remote_code,
        "models": choice.models,
    }
    (_train_static if static else _finetune)(model, pairs, out, given, loading)
    _probe(out, known, loading)
    print_next(_next(pairs, out))


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _next(pairs: list[Path], out: Path) -> str:
    dataset = next((shown_path(path) for path in pairs if path.is_dir()), "DATASET")
    return f"nestvec evaluate {shown_path(out)} {dataset} --out curve.json"


def _train_static(
    model: str | None, pairs: list[Path], out: Path, given: dict[str, Any], loading: _Loading
) -> None:
    from nestvec.data.training import load_pairs
    from nestvec.recipes.trained import default_settings, train_and_save
    from nestvec.train.batches import count_batches
    from nestvec.train.config import config_from_file
    from nestvec.train.static import StaticConfig

    file = _static_settings(given)
    loaded = load_pairs(pairs)
    start = None if model is None else _load_start(model, loading)
    if model is None and loading["device"] not in (None, "cpu"):
        warn(f"--device {loading['device']} has no effect: static models are trained on the CPU")
    loading["device"] = None  # the trained model uses none, which is reported only once
    defaults = {} if start is None else default_settings(start)
    if file is None:
        config = StaticConfig(**{**defaults, **given})
    else:
        config = config_from_file(StaticConfig, file, defaults=defaults, overrides=given)
    with progress("train") as on_progress:
        load_torch()
        losses = train_and_save(loaded, config, out, start=start, on_progress=on_progress)
    batches = count_batches(len(loaded), config.batch_size)
    size = f"{count_text(len(loaded), 'pair')}, {count_text(config.epochs, 'epoch')}"
    print_line(f"{size} of {_batches(batches)}{_masked(loaded.count_repeated())}")
    for dim, loss in sorted(losses.items(), reverse=True):
        print_line(f"  loss {loss:5.3f} at {dim:>4} dims")


def _static_settings(given: dict[str, Any]) -> Path | None:
    """Convert options into settings of a static model; return the file of further settings."""
    for name in _FINETUNING_ONLY:
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise InvalidArgument(f"{option} is for fine-tuning, not --static. Omit the option.")
    dtype = given.pop("dtype", None)
    if dtype is not None:
        given["bfloat16"] = dtype == "bfloat16"
    file: Path | None = given.pop("config", None)
    return file


def _load_start(name_or_path: str, loading: _Loading) -> Encoder:
    from nestvec.models.load import load_model

    load_torch()
    return load_model(name_or_path, **loading)


def _finetune(
    model: str | None, pairs: list[Path], out: Path, given: dict[str, Any], loading: _Loading
) -> None:
    from nestvec.recipes import finetuned
    from nestvec.train.config import Callbacks, FinetuneConfig, config_from_file

    if model is None:
        raise InvalidArgument(
            "no model to fine-tune is given. Name a model, or train a static model with --static."
        )
    dev, test = (
        None if path is None else finetuned.load_dev_set(path, split=split)
        for split, path in ((split, given.pop(split, None)) for split in ("dev", "test"))
    )
    prompts = parse_prompts(given.pop("query_prompt", None), given.pop("document_prompt", None))
    held_out = finetuned.HeldOutSets(dev, test, twin=given.pop("twin", False))
    file = given.pop("config", None)
    if file is None:
        config = FinetuneConfig(**given)
    else:
        config = config_from_file(FinetuneConfig, file, defaults={}, overrides=given)
    with progress("train") as on_progress:
        load_torch()
        base = finetuned.load_base(model, prompts=prompts, **loading)
        callbacks = Callbacks(on_progress, _log_check)
        done = finetuned.finetune_and_save(
            base, pairs, config, out, held_out=held_out, callbacks=callbacks
        )
    _print_prompts(base.info)
    _print_result(done)


def _log_check(step: int, losses: Mapping[int, float], scores: Mapping[int, float]) -> None:
    """Print the losses since the last check, and the scores on the development set."""
    for name, values in ((f"step {step:,}, loss", losses), ("dev", scores)):
        if values:
            cells = (f"{value:.4g} at {dim}" for dim, value in sorted(values.items(), reverse=True))
            log(f"{name} {', '.join(cells)}")


def _print_prompts(info: ModelInfo) -> None:
    """Print the prompts that the model was trained with, if there are any."""
    if any(info.prompts.values()):
        print_line(f"prompts: query {info.query_prompt!r}, document {info.document_prompt!r}")


def _print_result(outcome: Outcome) -> None:
    from nestvec.report.tables import retention_table

    done = outcome.training
    for name, loss in done.losses.items():
        print_line(f"{name}: {loss}")
        print_line(f"  an epoch: {_epoch_text(done.epochs[name])}")
    print_line(count_text(done.steps, "step"))
    for dim, score in sorted(done.dev_scores.items(), reverse=True):
        print_line(f"  dev {score:.4f} at {dim:>4} dims")
    if outcome.curves:
        metric = next(iter(outcome.curves.values())).main_metric
        for line in retention_table(outcome.curves, metric, precisions=("int8", "binary")):
            print_line(line)


def _epoch_text(epoch: Epoch) -> str:
    """Describe what an epoch covers."""
    text = f"{count_text(epoch.rows, 'pair')} in {_batches(epoch.batches)}"
    if epoch.drawn != epoch.batches:
        text += f", {epoch.drawn:,} drawn in an epoch"
    return f"{text}{_masked(epoch.repeated)}"


def _batches(count: int) -> str:
    return f"{count:,} {'batch' if count == 1 else 'batches'}"


def _masked(repeated: int) -> str:
    """Describe the texts that repeat an earlier text; empty without such texts."""
    return f"; {count_text(repeated, 'text')} repeated, masked within a batch" if repeated else ""


def _load_probes(path: Path) -> Triplets:
    from nestvec.recipes.finetuned import load_probes

    return load_probes(path)


def _probe(out: Path, probes: Triplets | None, loading: _Loading) -> None:
    """Print how many probes pass at each dim; exit with 1 unless all pass at the smallest."""
    if probes is None:
        return
    from nestvec.measure.dims import probe
    from nestvec.models.load import load_model

    model = load_model(out, **loading)
    passed = probe(model, probes, model.info.dims)
    for dim, of_dim in passed.items():
        print_line(f"  probes passed {of_dim.sum():>4,} of {len(of_dim):,} at {dim:>4} dims")
    least = min(passed)
    for number in (~passed[least]).nonzero()[0].tolist():
        anchor, wrong = probes.anchors[number], probes.negatives[number]
        texts = f"{shorten(anchor, 24)!r} is nearer to {shorten(wrong, 24)!r}"
        print_line(f"  fails at {least} dims: {texts}")
    if not passed[least].all():
        raise typer.Exit(1)
