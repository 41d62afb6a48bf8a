"""Fine-tune a model and write it as a Sentence Transformers folder, with a model card."""

from __future__ import annotations

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
from nestvec.models.folder_config import add_to_config
from nestvec.models.info import ModelOptions, default_dims, describe
from nestvec.models.known import Rows
from nestvec.models.load import load_model
from nestvec.models.prompts import stated_prompts
from nestvec.models.sentence_transformer import SentenceTransformerEncoder, quiet, writing
from nestvec.models.static import MARKER
from nestvec.recipes.model_card import measure_widths, write_curves
from nestvec.train.config import NO_CALLBACKS, Callbacks, FinetuneConfig
from nestvec.train.finetuning import Finetuned, finetune
from nestvec.train.texts import warn_of_truncated
from nestvec.types import Kind, Precision, begin_step

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DevSet = RetrievalSet | ScoredPairs
_FLOATS: tuple[Precision, ...] = ("float32",)
_NAME, _BASE_NAME, _BASELINE_NAME = "this model", "before training", "without Matryoshka"


def load_base(
    name_or_path: str,
    *,
    prompts: Mapping[Kind, str] | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    models: Rows | None = None,
) -> SentenceTransformerEncoder:
    """Load the model to fine-tune, with float32 weights.

    Args:
        name_or_path: A model folder or hub id.
        prompts: Prefixes of texts by kind, as in ``load_model``.
        device: "cpu" or "cuda". None uses a GPU if PyTorch finds one.
        trust_remote_code: As in ``load_model``.
        models: As in ``load_model``.

    Raises:
        InvalidArgument: If the model is a static model or a folder of vectors, or the device is not
            "cpu" or "cuda".
        ModelError: If the model does not exist or cannot be loaded.
    """
    _check_training_device(device)
    model = load_model(
        name_or_path,
        prompts=prompts,
        device=device,
        trust_remote_code=trust_remote_code,
        models=models,
    )
    if not isinstance(model, SentenceTransformerEncoder):
        problem = f"{name_or_path} is not a transformer model."
        raise InvalidArgument(f"{problem} Use --static to train a static model.")
    return model


def _check_training_device(device: str | None) -> None:
    # The library's trainer chooses the GPU itself. Only CPUs and CUDA GPUs are supported.
    if device not in (None, "cpu", "cuda"):
        problem = f"device={device!r} is not supported for fine-tuning."
        solution = "Choose cpu or cuda; CUDA_VISIBLE_DEVICES selects one of several GPUs."
        raise InvalidArgument(f"{problem} {solution}")


def load_dev_set(path: Path, *, split: str = "dev") -> DevSet:
    """Load a dev or test set: a split of a BEIR folder, or a file of scored pairs.

    Raises:
        DataError: If the path is neither, or malformed.
    """
    if path.is_dir():
        return load_dataset(path, split=split)
    scored = load_similarity(path)
    if not isinstance(scored, ScoredPairs):
        raise DataError(path, "is not a dev or test set. Pass a BEIR folder or scored pairs.")
    return scored


def load_probes(path: Path) -> Triplets:
    """Load probes: triplets of anchor, positive and negative that the model should rank right.

    Raises:
        DataError: If the file does not contain triplets, or is malformed.
    """
    probes = load_similarity(path)
    if not isinstance(probes, Triplets):
        raise DataError(path, "is not a file of probes. Use columns anchor, positive, negative.")
    return probes


@dataclass(frozen=True)
class HeldOutSets:
    """Held-out sets that a fine-tuned model is evaluated on.

    Attributes:
        dev: Set that chooses the best checkpoint; None uses the last one.
        test: Set that the curves of the model card are measured on; None for ``dev``.
        twin: Also train a baseline without Matryoshka, otherwise the same way, and compare its
            curve. Training then costs twice the time.
    """

    dev: DevSet | None = None
    test: DevSet | None = None
    twin: bool = False

    def __post_init__(self) -> None:
        """Refuse to train a baseline that cannot be measured."""
        if self.twin and self.for_card is None:
            problem = "twin needs a set to measure the baseline without Matryoshka on."
            raise InvalidArgument(f"{problem} Pass test or dev.")

    @property
    def for_card(self) -> DevSet | None:
        """The set that the curves of the model card are measured on."""
        return self.test or self.dev


NO_HELD_OUT_SETS = HeldOutSets()


@dataclass(frozen=True)
class Outcome:
    """Results of fine-tuning, next to the model folder.

    Attributes:
        training: Losses, dev scores and the number of steps.
        curves: Curves of the fine-tuned model, the base model and the baseline without Matryoshka,
            by their names in the model card; empty without a held-out set.
    """

    training: Finetuned
    curves: Mapping[str, Curve]


def finetune_and_save(
    base: SentenceTransformerEncoder,
    pairs: Sequence[Path],
    config: FinetuneConfig,
    path: Path,
    *,
    held_out: HeldOutSets = NO_HELD_OUT_SETS,
    callbacks: Callbacks = NO_CALLBACKS,
) -> Outcome:
    """Fine-tune a model and write its folder, with its curves and the settings of training.

    Checkpoints are stored next to the folder until training is done. A run that was interrupted
    continues from the last checkpoint.

    Args:
        base: The model to fine-tune; it is changed in place. Its prompts are used in training and
            written to the model folder.
        pairs: Files and BEIR folders, as in ``load_training_texts``.
        config: Settings of training.
        path: The model folder. A model folder that exists is replaced after training.
        held_out: Sets to evaluate on. With such a set, the curves of the fine-tuned model, the base
            model and the baseline without Matryoshka are written to the model folder.
        callbacks: Called during training. For the baseline, only ``on_progress`` is called.

    Raises:
        DataError: If the texts cannot be used, or ``path`` contains other files than a model or
            cannot be written. This is checked before training.
        InvalidArgument: If a setting is out of range, ``best_at`` is set without ``held_out.dev``,
            or no pair has a text to be ranked against.
        MissingExtra: If a library for training or for the chart is not installed.
        NestvecError: If the loss becomes NaN or infinite.
    """
    check_replaceable(path, marker=MARKER)
    if held_out.for_card is not None:
        require("matplotlib", extra="report")
    config = _with_dims(config, base.info.full_dim)
    if config.best_at is not None and held_out.dev is None:
        problem = f"best_at={config.best_at} has no effect without a development set."
        raise InvalidArgument(f"{problem} Pass dev, or omit best_at.")
    checkpoints, of_baseline = (
        path.with_name(f".{path.name}.{kind}") for kind in ("checkpoints", "twin-checkpoints")
    )
    texts = load_training_texts(pairs)
    _set_prompts(base)
    warn_of_truncated(base, texts, config.max_tokens)
    run = _Run(base, texts, config, held_out)
    curves = run.reference_curves(of_baseline, Callbacks(callbacks.on_progress))
    done = run.train(base.library_model, config, checkpoints, callbacks)
    begin_step(callbacks.on_progress, "measure the model")
    curves = run.save(path, curves)
    for folder in (checkpoints, of_baseline):
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(done, curves)


def _with_dims(config: FinetuneConfig, full_dim: int) -> FinetuneConfig:
    """Return the settings with dims that fit the model, or raise before training starts."""
    width = config.out_dim or full_dim
    if not config.dims:
        return replace(config, dims=default_dims(width))
    if max(config.dims) > width:
        problem = f"dim {max(config.dims)} is larger than the model's width {width}."
        raise InvalidArgument(f"{problem} Choose dims from 1 to {width}.")
    return config


def _set_prompts(base: SentenceTransformerEncoder) -> None:
    """Set the prompts of the library's model, so that training uses them and saving writes them.

    The library does not use some of the prompts that nestvec uses: prompts of options, prompts of
    the table of known models, and prompts with names other than "query" and "document". Other names
    of the document prompt are removed, so that the folder has only one document prompt.
    """
    model, info = base.library_model, base.info
    model.prompts = stated_prompts(info, model.prompts)


@dataclass(frozen=True)
class _Run:
    """The model and its settings, for training, measuring and saving.

    The baseline without Matryoshka is trained with the same inputs.
    """

    base: SentenceTransformerEncoder
    texts: Mapping[str, TrainingTexts]
    config: FinetuneConfig
    held_out: HeldOutSets

    def train(
        self,
        model: SentenceTransformer,
        config: FinetuneConfig,
        checkpoints: Path,
        callbacks: Callbacks,
    ) -> Finetuned:
        """Train a model in place, and restore its best checkpoint by the dev set."""
        dev, dims = self.held_out.dev, self.config.dims
        return finetune(
            model,
            self.texts,
            config,
            checkpoints=checkpoints,
            evaluator=None
            if dev is None
            else lambda trained: score_dims(_encoder(self.base, trained), dev, dims),
            callbacks=callbacks,
        )

    def reference_curves(self, checkpoints: Path, callbacks: Callbacks) -> dict[str, Curve]:
        """Measure the base model before training, and train and measure the baseline."""
        data, dims = self.held_out.for_card, self.config.dims
        if data is None:
            return {}
        report = callbacks.on_progress
        begin_step(report, "measure the base model")
        curves = {_BASE_NAME: measure_widths(self.base, data, dims, precisions=_FLOATS)}
        if self.held_out.twin:
            begin_step(report, "train the baseline")
            # A plain function, so that training does not begin steps of its own.
            unnamed = Callbacks(lambda done, total: report(done, total))
            baseline = deepcopy(self.base.library_model)
            plain = replace(self.config, dims=(max(dims),), weights=(), best_at=None)
            self.train(baseline, plain, checkpoints, unnamed)
            begin_step(report, "measure the baseline")
            encoder = _encoder(self.base, baseline)
            curves[_BASELINE_NAME] = measure_widths(encoder, data, dims, precisions=_FLOATS)
        return curves

    def save(self, path: Path, references: dict[str, Curve]) -> dict[str, Curve]:
        """Write the trained model and its curves to the model folder, and return the curves."""
        data, dims, curves = self.held_out.for_card, self.config.dims, references
        with replace_folder(path, marker=MARKER) as folder, quiet():
            with writing(path):
                self.base.library_model.save(str(folder))
            own = {"train": asdict(self.config)}
            add_to_config(folder, dims=dims, own=own, model=self.base.info)
            if data is not None:
                curve = measure_widths(_as_saved(self.base, folder, name=str(path)), data, dims)
                # Retention is not defined for a full-width score of 0; the model is still written.
                defined = curve.full.metrics[curve.main_metric] > 0
                curves = {_NAME: curve} | references if defined else {}
            if curves:
                write_curves(curves, folder)
        return curves


def _encoder(
    base: SentenceTransformerEncoder, model: SentenceTransformer
) -> SentenceTransformerEncoder:
    """Wrap a model that was trained from the base, possibly with another width."""
    full_dim = model.get_embedding_dimension() or base.info.full_dim
    return SentenceTransformerEncoder(replace(base.info, full_dim=full_dim), model)


def _as_saved(
    base: SentenceTransformerEncoder, folder: Path, *, name: str
) -> SentenceTransformerEncoder:
    """Wrap the trained model, with the description of the folder it was saved to."""
    model = base.library_model
    full_dim = model.get_embedding_dimension() or base.info.full_dim
    info = describe(folder, ModelOptions(name), full_dim=full_dim, max_tokens=base.info.max_tokens)
    return SentenceTransformerEncoder(info, model)
