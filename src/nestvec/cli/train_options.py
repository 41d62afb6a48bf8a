"""Arguments and options of ``nestvec train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StartArgument = Annotated[
    str | None,
    typer.Argument(
        help="Model folder or Hugging Face hub id to start from. Required without --static."
    ),
]
PairsOption = Annotated[
    list[Path],
    typer.Option(
        metavar="PATH",
        help="Training texts: a JSONL, CSV or Parquet file, or a BEIR folder. Repeat the option "
        "for several files.",
    ),
]
OutOption = Annotated[Path, typer.Option(help="Model folder to write.")]
StaticOption = Annotated[
    bool,
    typer.Option(
        "--static",
        help="Train a static model: a table of token vectors, fast on a CPU. The table starts from "
        "MODEL's token vectors or, without MODEL, from random ones.",
    ),
]
DimsOption = Annotated[
    str | None,
    typer.Option(
        help="Numbers of dimensions to train for, such as 384,192,96.",
        show_default="halvings of the model's width; 512,256,128,64,32 for a new static model",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(help="Passes over the training texts.", show_default="1; with --static 10"),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(help="Maximum number of pairs in a step.", show_default="64; with --static 512"),
]
LearningRateOption = Annotated[
    float | None,
    typer.Option(
        help="Highest learning rate, after the warm-up.",
        show_default="2e-5; with --static 0.4, or 0.1 from a model",
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        help="Truncate longer texts in training to this many tokens.",
        show_default="the model's limit; with --static 256",
    ),
]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Random seed.", show_default="0")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(help="TOML file of further settings. Options override its values."),
]
ProbesOption = Annotated[
    Path | None,
    typer.Option(
        help="File of triplets (anchor, positive, negative) that the new model must rank "
        "correctly. The command ends with exit code 1 if one fails at the fewest dims."
    ),
]
DevOption = Annotated[
    Path | None,
    typer.Option(
        help="Development set that selects the best checkpoint: BEIR folder with a dev split, or "
        "file of scored pairs."
    ),
]
BestAtOption = Annotated[
    int | None,
    typer.Option(
        help="Number of dimensions at which the best checkpoint is selected.",
        show_default="the mean over all dims",
    ),
]
TestOption = Annotated[
    Path | None,
    typer.Option(
        help="Test set for the curve in the model card: BEIR folder with a test split, or file of "
        "scored pairs.",
        show_default="the set of --dev",
    ),
]
TwinOption = Annotated[
    bool,
    typer.Option(
        "--twin",
        help="Also train the model without the Matryoshka loss, for comparison. Doubles the time.",
    ),
]
MiniBatchSizeOption = Annotated[
    int | None,
    typer.Option(
        help="Texts encoded at a time, for batches that do not fit in memory.",
        show_default="the whole batch",
    ),
]
HardNegativesOption = Annotated[
    int | None,
    typer.Option(
        help="Mine this many hard negatives for each pair without negatives: texts of other pairs "
        "that the base model scores highest, at least 5 % below the positive.",
        show_default="0",
    ),
]
OutDimOption = Annotated[
    int | None,
    typer.Option(help="Append a trained layer that reduces vectors to this width, such as 256."),
]
ReportToOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Experiment tracker that receives the losses: tensorboard, wandb and others. Repeat "
        "the option for several trackers.",
    ),
]
