"""A fine-tuned model as a folder that any tool loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nestvec.atomic import check_replaceable, replace_folder
from nestvec.data.retrieval import RetrievalSet, load_dataset
from nestvec.data.similarity import ScoredPairs, Triplets, load_similarity
from nestvec.data.training import load_training_texts
from nestvec.errors import DataError, InvalidArgument
from nestvec.evaluate.dims import score_dims
from nestvec.models.load import load_model
from nestvec.models.sentence_transformer import SentenceTransformerEncoder, quiet
from nestvec.models.static import MARKER
from nestvec.train.finetune import FinetuneConfig, Finetuned, finetune
from nestvec.types import OnProgress

DevSet = RetrievalSet | ScoredPairs
_LEAST_DIM = 32


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


def load_dev_set(path: Path) -> DevSet:
    """Load what the model is judged by: a BEIR folder's dev split, or a file of scored pairs.

    Raises:
        DataError: If it is neither, or malformed.
    """
    if path.is_dir():
        return load_dataset(path, split="dev")
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


def finetune_and_save(
    base: SentenceTransformerEncoder,
    pairs: Sequence[Path],
    config: FinetuneConfig,
    path: Path,
    *,
    dev: DevSet | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Finetuned:
    """Fine-tune a model and write its folder, with the settings that made it.

    Checkpoints lie beside the folder until it is written, so that a run that was killed goes on.

    Args:
        base: The model, which is changed.
        pairs: Files and BEIR folders, as ``load_training_texts`` takes them.
        config: How to train.
        path: The model folder; one in its place is replaced when training is done.
        dev: Judges which checkpoint is kept.
        on_progress: Called with steps done and in total.

    Raises:
        DataError: If the texts cannot be used, or the folder holds something else than a model or
            cannot be written; this is known before training.
        InvalidArgument: If a setting is out of range.
        NestvecError: If the loss turns NaN or infinite.
    """
    check_replaceable(path, marker=MARKER)
    texts = load_training_texts(pairs)
    judge = None if dev is None else lambda _: score_dims(base, dev, config.dims)
    checkpoints = path.with_name(f".{path.name}.checkpoints")
    done = finetune(
        base.library_model,
        texts,
        config,
        checkpoints=checkpoints,
        judge=judge,
        on_progress=on_progress,
    )
    with replace_folder(path, marker=MARKER) as folder, quiet():
        base.library_model.save(str(folder))
        _describe(folder, config)
    shutil.rmtree(checkpoints)
    return done


def _describe(folder: Path, config: FinetuneConfig) -> None:
    """Write the widths where vLLM reads them, and the settings that made the model."""
    file = folder / "config.json"
    values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    values["matryoshka_dimensions"] = sorted(config.dims, reverse=True)
    values["nestvec"] = {"train": asdict(config)}
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
