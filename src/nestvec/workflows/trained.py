"""A trained model as a folder that any tool loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from nestvec.atomic import check_replaceable
from nestvec.data.pairs import TrainingPairs
from nestvec.models.static import MARKER, save_static_model
from nestvec.train.static import StaticConfig, TokenisedPairs, tokenise, train_static
from nestvec.types import OnProgress


def train_and_save(
    pairs: TrainingPairs | TokenisedPairs,
    config: StaticConfig,
    path: Path,
    *,
    on_progress: OnProgress = lambda done, total: None,
) -> Mapping[int, float]:
    """Train a static model and write its folder, with the settings that made it.

    Args:
        pairs: Texts, or what ``tokenise`` made of them.
        config: How to train.
        path: The model folder; one in its place is replaced when training is done.
        on_progress: Called with steps done and in total.

    Returns:
        Mean loss of the last epoch at each dim.

    Raises:
        DataError: If the folder holds something else than a model, or cannot be written; this
            is known before training.
    """
    check_replaceable(path, marker=MARKER)
    tokens = pairs if isinstance(pairs, TokenisedPairs) else tokenise(pairs, config)
    model = train_static(tokens, config, on_progress=on_progress)
    save_static_model(
        path,
        tokenizer_json=model.tokenizer,
        table=model.table,
        matryoshka_dims=config.dims,
        extra={"nestvec": {"train": asdict(config)}},
    )
    return model.losses
