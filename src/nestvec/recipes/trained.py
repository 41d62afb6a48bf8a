"""A trained static model as a folder that any tool loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument
from nestvec.files.atomic import check_replaceable
from nestvec.models.static import MARKER, save_static_model
from nestvec.recipes.finetuned import usual_dims
from nestvec.train.first_table import Start, start_from
from nestvec.train.static import StaticConfig, TokenizedPairs, tokenize, train_static
from nestvec.types import Encoder, OnProgress

_RATE_FROM_START = 0.1  # a larger one unlearns what the table knows: benchmarks/static_pairs.py


def usual_settings(start: Encoder) -> dict[str, Any]:
    """Return the settings that differ from ``StaticConfig``'s where training starts from a model.

    >>> from types import SimpleNamespace
    >>> usual_settings(SimpleNamespace(info=SimpleNamespace(full_dim=128)))
    {'dims': (128, 64, 32), 'learning_rate': 0.1}
    """
    return {"dims": usual_dims(start.info.full_dim), "learning_rate": _RATE_FROM_START}


def train_and_save(
    pairs: TrainingPairs | TokenizedPairs,
    config: StaticConfig,
    path: Path,
    *,
    start: Encoder | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Mapping[int, float]:
    """Train a static model and write its folder, with the settings that made it.

    Args:
        pairs: Texts, or what ``tokenize`` made of them with the tokenizer of ``start``.
        config: How to train.
        path: The model folder; one in its place is replaced when training is done.
        start: A static model, to start from its table, or a transformer, to start from what it
            makes of each token (``first_table``); either way its tokenizer is kept. Without one,
            vectors are random, and the tokenizer is trained on the pairs.
        on_progress: Called with tokens that a transformer has read, and all of them; then with
            steps done and in total.

    Returns:
        Mean loss of the last epoch at each dim.

    Raises:
        DataError: If the folder holds something else than a model, or cannot be written; this
            is known before training.
        InvalidArgument: If a dim is above the width of ``start``, or that has no tokenizer.
        ModelError: If a transformer has no tokenizer of ``tokenizers``.
    """
    check_replaceable(path, marker=MARKER)
    begun = None if start is None else _begin(start, config, on_progress)
    if isinstance(pairs, TrainingPairs):
        pairs = tokenize(pairs, config, tokenizer=None if begun is None else begun.tokenizer)
    table = None if begun is None else begun.table_for(pairs)
    model = train_static(pairs, config, start=table, on_progress=on_progress)
    settings: dict[str, Any] = {"train": asdict(config)}
    if start is not None and begun is not None:
        info = start.info
        settings["start"] = {
            "model": info.name,
            "fingerprint": info.fingerprint,
            "origin": begun.origin,
        }
    save_static_model(
        path,
        tokenizer_json=model.tokenizer,
        table=model.table,
        matryoshka_dims=config.dims,
        extra={"nestvec": settings},
    )
    return model.losses


def _begin(start: Encoder, config: StaticConfig, on_progress: OnProgress) -> Start:
    widest, full_dim = max(config.dims), start.info.full_dim
    if widest > full_dim:
        problem = f"dims {widest} > {full_dim}"
        raise InvalidArgument(f"{problem}, the width of {start.info.name} to start from")
    return start_from(start, on_progress=on_progress)
