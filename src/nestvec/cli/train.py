"""``nestvec train``: fine-tune a model, or train a static model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from nestvec.cli.options import (
    DeviceOption,
    TrainDtypeOption,
    TrustRemoteCodeOption,
    parse_dtype,
    parse_ints,
)
from nestvec.cli.progress import progress
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.data.similarity import Triplets
    from nestvec.recipes.finetuned import Outcome
    from nestvec.types import Encoder

_FINETUNING_ONLY = (
    "dev",
    "test",
    "twin",
    "mini_batch_size",
    "hard_negatives",
    "out_dim",
    "best_at",
    "report_to",
)
_Loading = dict[str, Any]
"""Keyword arguments for loading a model: device and trust_remote_code."""

_Model = Annotated[
    str | None,
    typer.Argument(
        help="Model folder or Hugging Face hub id to start from. Required without --static."
    ),
]
_Pairs = Annotated[
    list[Path],
    typer.Option(
        help="Training texts: a JSONL, CSV or Parquet file, or a BEIR folder. Repeat the option "
        "for several files."
    ),
]
_Out = Annotated[Path, typer.Option(help="Model folder to write.")]
_Static = Annotated[
    bool,
    typer.Option("--static", help="Train a static model: a table of token vectors, fast on a CPU."),
]
_Dims = Annotated[
    str | None,
    typer.Option(
        help="Numbers of dimensions to train for, such as 384,192,96.",
        show_default="halvings of the model's width; 512,256,128,64,32 for a new static model",
    ),
]
_Epochs = Annotated[
    int | None,
    typer.Option(help="Passes over the training texts.", show_default="1; with --static 10"),
]
_BatchSize = Annotated[
    int | None, typer.Option(help="Pairs in a step.", show_default="64; with --static 512")
]
_LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Highest learning rate, after the warm-up.",
        show_default="2e-5; with --static 0.4, or 0.1 from a model",
    ),
]
_MaxTokens = Annotated[
    int | None,
    typer.Option(
        help="Truncate longer texts in training to this many tokens.",
        show_default="the model's limit; with --static 256",
    ),
]
_Seed = Annotated[int | None, typer.Option(min=0, help="Random seed.", show_default="0")]
_Config = Annotated[
    Path | None,
    typer.Option(help="TOML file of further settings. Options override its values."),
]
_Probes = Annotated[
    Path | None,
    typer.Option(
        help="File of triplets (anchor, positive, negative) that the new model must rank "
        "correctly. The command ends with exit code 1 if one fails at the fewest dims."
    ),
]
_Dev = Annotated[
    Path | None,
    typer.Option(
        help="Development set that selects the best checkpoint: BEIR folder with a dev split, or "
        "file of scored pairs."
    ),
]
_BestAt = Annotated[
    int | None,
    typer.Option(
        help="Number of dimensions at which the best checkpoint is selected.",
        show_default="the mean over all dims",
    ),
]
_Test = Annotated[
    Path | None,
    typer.Option(
        help="Test set for the curve in the model card: BEIR folder with a test split, or file of "
        "scored pairs.",
        show_default="the set of --dev",
    ),
]
_Twin = Annotated[
    bool,
    typer.Option(
        "--twin",
        help="Also train the model without the Matryoshka loss, for comparison. Doubles the time.",
    ),
]
_MiniBatchSize = Annotated[
    int | None,
    typer.Option(
        help="Texts encoded at a time, for batches that do not fit in memory.",
        show_default="the whole batch",
    ),
]
_HardNegatives = Annotated[
    int | None,
    typer.Option(
        help="Mine this many hard negatives for each pair without negatives: texts of other pairs "
        "that the base model scores highest, at least 5 % below the positive.",
        show_default="0",
    ),
]
_OutDim = Annotated[
    int | None,
    typer.Option(help="Append a trained layer that reduces vectors to this width, such as 256."),
]
_ReportTo = Annotated[
    list[str] | None,
    typer.Option(
        help="Experiment tracker that receives the losses: tensorboard, wandb and others. Repeat "
        "the option for several trackers."
    ),
]


def train(
    pairs: _Pairs,
    out: _Out,
    model: _Model = None,
    static: _Static = False,
    dims: _Dims = None,
    epochs: _Epochs = None,
    batch_size: _BatchSize = None,
    learning_rate: _LearningRate = None,
    max_tokens: _MaxTokens = None,
    seed: _Seed = None,
    config: _Config = None,
    probes: _Probes = None,
    dev: _Dev = None,
    best_at: _BestAt = None,
    test: _Test = None,
    twin: _Twin = False,
    mini_batch_size: _MiniBatchSize = None,
    hard_negatives: _HardNegatives = None,
    out_dim: _OutDim = None,
    report_to: _ReportTo = None,
    dtype: TrainDtypeOption = None,
    device: DeviceOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
) -> None:
    """Train a Matryoshka model on pairs or triplets of texts.

    Scored pairs are possible, too. The command fine-tunes MODEL. With --static, it trains a
    static model, which starts from MODEL's token vectors or, without MODEL, from random ones.

    Example: nestvec train --static --pairs pairs.jsonl --out model
    """
    check_output(out, folder=True)
    known = None if probes is None else _load_probes(probes)
    settings: dict[str, Any] = {
        "dims": parse_ints(dims, option="--dims"),
        "epochs": epochs,
        "seed": seed,
        "config": config,
        "dev": dev,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "max_tokens": max_tokens,
        "mini_batch_size": mini_batch_size,
        "dtype": parse_dtype(dtype),
        "hard_negatives": hard_negatives,
        "out_dim": out_dim,
        "best_at": best_at,
        "test": test,
        "twin": twin or None,
        "report_to": tuple(report_to) if report_to else None,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    loading: _Loading = {"device": device, "trust_remote_code": trust_remote_code}
    (_train_static if static else _finetune)(model, pairs, out, given, loading)
    if known is not None and not _probe(out, known, loading):
        raise typer.Exit(1)
    dataset = next((shown_path(path) for path in pairs if path.is_dir()), "DATASET")
    print_next(f"nestvec evaluate {shown_path(out)} {dataset} --out curve.json")


def _train_static(
    model: str | None, pairs: list[Path], out: Path, given: dict[str, Any], loading: _Loading
) -> None:
    from nestvec.data.training import load_pairs
    from nestvec.recipes.trained import default_settings, train_and_save
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
    print_line(f"{count_text(len(loaded), 'pair')}, {count_text(config.epochs, 'epoch')}")
    for dim, loss in sorted(losses.items(), reverse=True):
        print_line(f"  loss {loss:5.3f} at {dim:>4} dims")


def _static_settings(given: dict[str, Any]) -> Path | None:
    """Convert options into settings of a static model; return the file of further settings."""
    for name in _FINETUNING_ONLY:
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise InvalidArgument(f"{option} is for fine-tuning, not --static. Leave it out.")
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
    held_out = finetuned.HeldOutSets(dev, test, twin=given.pop("twin", False))
    file = given.pop("config", None)
    if file is None:
        config = FinetuneConfig(**given)
    else:
        config = config_from_file(FinetuneConfig, file, defaults={}, overrides=given)
    with progress("train") as on_progress:
        load_torch()
        base = finetuned.load_base(model, **loading)
        callbacks = Callbacks(on_progress, _log_check)
        done = finetuned.finetune_and_save(
            base, pairs, config, out, held_out=held_out, callbacks=callbacks
        )
    _print_result(done)


def _log_check(step: int, losses: Mapping[int, float], scores: Mapping[int, float]) -> None:
    """Print the losses since the last check, and the scores on the development set."""
    for name, values in ((f"step {step:,}, loss", losses), ("dev", scores)):
        if values:
            cells = (f"{value:.4g} at {dim}" for dim, value in sorted(values.items(), reverse=True))
            log(f"{name} {', '.join(cells)}")


def _print_result(outcome: Outcome) -> None:
    from nestvec.report.tables import retention_table

    done = outcome.training
    for name, loss in done.losses.items():
        print_line(f"{name}: {loss}")
    print_line(count_text(done.steps, "step"))
    for dim, score in sorted(done.dev_scores.items(), reverse=True):
        print_line(f"  dev {score:.4f} at {dim:>4} dims")
    if outcome.curves:
        metric = next(iter(outcome.curves.values())).main_metric
        for line in retention_table(outcome.curves, metric, precisions=("int8", "binary")):
            print_line(line)


def _load_probes(path: Path) -> Triplets:
    from nestvec.recipes.finetuned import load_probes

    return load_probes(path)


def _probe(out: Path, probes: Triplets, loading: _Loading) -> bool:
    """Print how many probes pass at each dim; report whether all pass at the smallest."""
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
    return bool(passed[least].all())
