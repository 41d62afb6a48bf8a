"""Train a static model and write it as a Sentence Transformers folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument
from nestvec.files.atomic import check_replaceable
from nestvec.models.info import default_dims
from nestvec.models.static import MARKER, save_static_model
from nestvec.train.first_table import Start, start_from
from nestvec.train.static import StaticConfig, tokenize, train_static
from nestvec.train.tokenized import TokenizedPairs
from nestvec.types import Encoder, OnProgress, begin_step

_logger = logging.getLogger(__name__)
_RATE_FROM_START = 0.1  # larger rates damage the initial table: benchmarks/static_pairs.py


def default_settings(start: Encoder) -> dict[str, Any]:
    """Return the defaults that replace those of ``StaticConfig`` if training starts from a model.

    >>> from types import SimpleNamespace
    >>> default_settings(SimpleNamespace(info=SimpleNamespace(full_dim=128)))
    {'dims': (128, 64, 32), 'learning_rate': 0.1}
    """
    return {"dims": default_dims(start.info.full_dim), "learning_rate": _RATE_FROM_START}


def train_and_save(
    pairs: TrainingPairs | TokenizedPairs,
    config: StaticConfig,
    path: Path,
    *,
    start: Encoder | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Mapping[int, float]:
    """Train a static model and write its folder, including the settings of training.

    Args:
        pairs: Texts, or tokens that ``tokenize`` returned for the tokenizer of ``start``.
        config: Settings of training.
        path: The model folder. A model folder that exists is replaced after training.
        start: Model to start from, whose tokenizer is used: the table of a static model, or the
            embedding that a transformer computes for each token (``first_table``). None starts
            from random vectors and trains a tokenizer on the pairs.
        on_progress: Called with the tokens that a transformer has embedded and their total, then
            with the training steps done and their total.

    Returns:
        Mean loss of the last epoch at each dim.

    Raises:
        DataError: If ``path`` contains other files than a model, or cannot be written. This is
            checked before training.
        InvalidArgument: If a dim is larger than the width of ``start``, or ``start`` has no
            tokenizer.
        ModelError: If a transformer's tokenizer is not one of the ``tokenizers`` library.
    """
    check_replaceable(path, marker=MARKER)
    initial = None if start is None else _initialize(start, config, on_progress)
    if start is not None:
        _warn_of_unused(start, config)
    if isinstance(pairs, TrainingPairs):
        begin_step(on_progress, "tokenize")
        pairs = tokenize(pairs, config, tokenizer=None if initial is None else initial.tokenizer)
    table = None if initial is None else initial.table_for(pairs)
    begin_step(on_progress, "train")
    model = train_static(pairs, config, start=table, on_progress=on_progress)
    settings: dict[str, Any] = {"train": asdict(config)}
    if start is not None and initial is not None:
        info = start.info
        settings["start"] = {
            "model": info.name,
            "fingerprint": info.fingerprint,
            "origin": initial.origin,
        }
    save_static_model(
        model.table, model.tokenizer, path, matryoshka_dims=config.dims, extra={"nestvec": settings}
    )
    return model.losses


def _warn_of_unused(start: Encoder, config: StaticConfig) -> None:
    info = start.info
    named = ", ".join(f"{kind} {prompt!r}" for kind, prompt in info.prompts.items() if prompt)
    if named:
        message = "%s: its prompts are not used; the new model encodes texts without prompts: %s"
        _logger.warning(message, info.name, named)
    if config.vocab_size != StaticConfig.vocab_size:
        message = "vocab_size=%d has no effect, because the tokenizer of %s is used"
        _logger.warning(message, config.vocab_size, info.name)


def _initialize(start: Encoder, config: StaticConfig, on_progress: OnProgress) -> Start:
    widest, full_dim = max(config.dims), start.info.full_dim
    if widest > full_dim:
        problem = f"dim {widest} is larger than {full_dim}, the width of {start.info.name}."
        raise InvalidArgument(f"{problem} Choose dims from 1 to {full_dim}.")
    begin_step(on_progress, "encode tokens", "tokens")
    return start_from(start, on_progress=on_progress)
