"""A fine-tuned model as a folder that any tool loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.curve.curve import Curve
from nestvec.data.retrieval import RetrievalSet, load_dataset
from nestvec.data.similarity import ScoredPairs, Triplets, load_similarity
from nestvec.data.training import TrainingTexts, load_training_texts
from nestvec.errors import DataError, InvalidArgument, require
from nestvec.files.atomic import check_replaceable, replace_folder
from nestvec.measure.dims import score_dims
from nestvec.models.info import ModelOptions, describe
from nestvec.models.load import load_model
from nestvec.models.sentence_transformer import SentenceTransformerEncoder, quiet, writing
from nestvec.models.static import MARKER
from nestvec.recipes.model_card import measure_widths, write_curves
from nestvec.train.config import NO_CALLBACKS, Callbacks, FinetuneConfig
from nestvec.train.finetune import Finetuned, finetune
from nestvec.types import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DevSet = RetrievalSet | ScoredPairs
_LEAST_DIM = 32
_FLOATS: tuple[Precision, ...] = ("float32",)
_NAME, _BASE_NAME, _TWIN_NAME = "this model", "before training", "without Matryoshka"


def load_base(name_or_path: str, *, trust_remote_code: bool = False) -> SentenceTransformerEncoder:
    """Load the model to be trained, its weights in float32.

    Raises:
        InvalidArgument: If it is a static model or a folder of vectors.
        ModelError: If there is no such model, or it cannot be loaded.
    """
    model = load_model(name_or_path, trust_remote_code=trust_remote_code)
    if not isinstance(model, SentenceTransformerEncoder):
        raise InvalidArgument(f"{name_or_path}: no transformer; train static models with --static")
    return model


def usual_dims(full_dim: int) -> tuple[int, ...]:
    """Halve the full width down to 32.

    >>> usual_dims(384), usual_dims(24)
    ((384, 192, 96, 48), (24,))
    """
    dims = [full_dim]
    while dims[-1] // 2 >= _LEAST_DIM:
        dims.append(dims[-1] // 2)
    return tuple(dims)


def load_dev_set(path: Path, *, split: str = "dev") -> DevSet:
    """Load what the model is judged by: a split of a BEIR folder, or a file of scored pairs.

    Raises:
        DataError: If it is neither, or malformed.
    """
    if path.is_dir():
        return load_dataset(path, split=split)
    scored = load_similarity(path)
    if not isinstance(scored, ScoredPairs):
        raise DataError(path, "judges nothing: name a BEIR folder, or scored pairs")
    return scored


def load_probes(path: Path) -> Triplets:
    """Load texts whose order is known: anchor, positive, negative.

    Raises:
        DataError: If the file holds something else, or is malformed.
    """
    probes = load_similarity(path)
    if not isinstance(probes, Triplets):
        raise DataError(path, "needs the columns anchor, positive, negative to probe a model")
    return probes


@dataclass(frozen=True)
class HeldOutSets:
    """What a fine-tuned model is judged by.

    Attributes:
        dev: Tells which checkpoint is kept.
        test: What the curves in the model card are measured on; None for ``dev``.
        twin: Train the same recipe without Matryoshka as well, to be put beside: twice the time.
    """

    dev: DevSet | None = None
    test: DevSet | None = None
    twin: bool = False

    def __post_init__(self) -> None:
        """Refuse a twin that nothing would be measured of."""
        if self.twin and self.shown is None:
            raise InvalidArgument("a twin is measured on test or dev: name one of them")

    @property
    def shown(self) -> DevSet | None:
        """What the curves are measured on."""
        return self.test or self.dev


NOTHING_TO_JUDGE_BY = HeldOutSets()


@dataclass(frozen=True)
class Outcome:
    """What a run gives beside the folder.

    Attributes:
        training: How it went.
        curves: Of the new model, the base and the twin, by the names of the model card; empty
            where there was nothing to measure on.
    """

    training: Finetuned
    curves: Mapping[str, Curve]


def finetune_and_save(
    base: SentenceTransformerEncoder,
    pairs: Sequence[Path],
    config: FinetuneConfig,
    path: Path,
    *,
    evidence: HeldOutSets = NOTHING_TO_JUDGE_BY,
    callbacks: Callbacks = NO_CALLBACKS,
) -> Outcome:
    """Fine-tune a model and write its folder, with its curve and the settings that made it.

    Checkpoints lie beside the folder until it is written, so that a run that was killed goes on.

    Args:
        base: The model, which is changed.
        pairs: Files and BEIR folders, as ``load_training_texts`` takes them.
        config: How to train.
        path: The model folder; one in its place is replaced when training is done.
        evidence: What the model is judged by. With something to measure on, the curves of the new
            model, the base and the twin are put into the folder.
        callbacks: Called on the way; of the twin, only with its progress.

    Raises:
        DataError: If the texts cannot be used, or the folder holds something else than a model or
            cannot be written; this is known before training.
        InvalidArgument: If a setting is out of range.
        MissingExtra: If a library that training or the picture needs is not installed.
        NestvecError: If the loss turns NaN or infinite.
    """
    check_replaceable(path, marker=MARKER)
    if evidence.shown is not None:
        require("matplotlib", extra="report")
    config = _with_dims(config, base.info.full_dim)
    checkpoints, of_twin = (
        path.with_name(f".{path.name}.{kind}") for kind in ("checkpoints", "twin-checkpoints")
    )
    run = _Run(base, load_training_texts(pairs), config, evidence)
    curves = run.curves_beside(of_twin, Callbacks(callbacks.on_progress))
    done = run.train(base.library_model, config, checkpoints, callbacks)
    with replace_folder(path, marker=MARKER) as folder, quiet():
        with writing(path):
            base.library_model.save(str(folder))
        _describe(folder, config)
        if evidence.shown is not None:
            trained = _as_saved(base, folder, name=str(path))
            curve = measure_widths(trained, evidence.shown, config.dims)
            # There are no shares of nothing; the model is written all the same.
            curves = {_NAME: curve} | curves if curve.full.metrics[curve.main_metric] > 0 else {}
        if curves:
            write_curves(folder, curves)
    for folder in (checkpoints, of_twin):
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(done, curves)


def _with_dims(config: FinetuneConfig, full_dim: int) -> FinetuneConfig:
    """Return settings whose dims are known to fit, before anything takes long."""
    width = config.out_dim or full_dim
    if not config.dims:
        return replace(config, dims=usual_dims(width))
    if max(config.dims) > width:
        raise InvalidArgument(f"{max(config.dims)} dims > {width}, which is the model's width")
    return config


@dataclass(frozen=True)
class _Run:
    """What the training of a model and of its twin have in common."""

    base: SentenceTransformerEncoder
    texts: Mapping[str, TrainingTexts]
    config: FinetuneConfig
    evidence: HeldOutSets

    def train(
        self,
        model: SentenceTransformer,
        config: FinetuneConfig,
        checkpoints: Path,
        callbacks: Callbacks,
    ) -> Finetuned:
        """Train a model in place; the best by the dev set is kept."""
        dev, dims = self.evidence.dev, self.config.dims
        return finetune(
            model,
            self.texts,
            config,
            checkpoints=checkpoints,
            judge=None
            if dev is None
            else lambda it: score_dims(_encoder(self.base, it), dev, dims),
            callbacks=callbacks,
        )

    def curves_beside(self, checkpoints: Path, callbacks: Callbacks) -> dict[str, Curve]:
        """Measure the base, before it is changed, and train and measure its twin."""
        shown, dims = self.evidence.shown, self.config.dims
        if shown is None:
            return {}
        curves = {_BASE_NAME: measure_widths(self.base, shown, dims, precisions=_FLOATS)}
        if self.evidence.twin:
            twin = deepcopy(self.base.library_model)
            plain = replace(self.config, dims=(max(dims),), weights=(), best_at=None)
            self.train(twin, plain, checkpoints, callbacks)
            encoder = _encoder(self.base, twin)
            curves[_TWIN_NAME] = measure_widths(encoder, shown, dims, precisions=_FLOATS)
        return curves


def _encoder(
    base: SentenceTransformerEncoder, model: SentenceTransformer
) -> SentenceTransformerEncoder:
    """Make an encoder of a model that was trained from the base, perhaps to another width."""
    full_dim = model.get_embedding_dimension() or base.info.full_dim
    return SentenceTransformerEncoder(replace(base.info, full_dim=full_dim), model)


def _as_saved(
    base: SentenceTransformerEncoder, folder: Path, *, name: str
) -> SentenceTransformerEncoder:
    """Describe the trained model by the folder that it was saved in."""
    model = base.library_model
    full_dim = model.get_embedding_dimension() or base.info.full_dim
    info = describe(folder, ModelOptions(name), full_dim=full_dim, max_tokens=base.info.max_tokens)
    return SentenceTransformerEncoder(info, model)


def _describe(folder: Path, config: FinetuneConfig) -> None:
    """Write the widths where vLLM reads them, and the settings that made the model."""
    file = folder / "config.json"
    values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    values["matryoshka_dimensions"] = sorted(config.dims, reverse=True)
    values["nestvec"] = {"train": asdict(config)}
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
