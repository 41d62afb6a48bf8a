"""Determine the dims, prompts and fingerprint of a model without loading it.

For dims, options of the user take precedence over the model's configuration, then the table of
known models, then a guess. ``prompts`` has the rule for prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.fingerprint import fingerprint_folder
from nestvec.models.folder_config import configured_dims, configured_tasks, pooling_of
from nestvec.models.known import Rows, find_known
from nestvec.models.known_row import KnownModel
from nestvec.models.prompts import REQUESTED, choose_prompts
from nestvec.types import Kind, ModelInfo, OperatingPoint

_SMALLEST = 32  # of the default dims


@dataclass(frozen=True)
class ModelOptions:
    """What the user sets for a model; the options override its configuration.

    Attributes:
        name: Name for messages and for the table of known models.
        dims: Dims to measure.
        prompts: Prefixes of texts, by kind.
        models: Rows that take precedence over the table of known models.
    """

    name: str
    dims: tuple[int, ...] | None = None
    prompts: Mapping[Kind, str] = field(default_factory=dict)
    models: Rows | None = None

    def __post_init__(self) -> None:
        """Check the kinds of the prompts."""
        for kind in self.prompts:
            if kind not in get_args(Kind):
                known = ", ".join(get_args(Kind))
                raise InvalidArgument(f"Unknown prompt kind {kind!r}. Choose one of {known}.")


class Dims(NamedTuple):
    """Dims to measure, largest first, and their source."""

    dims: tuple[int, ...]
    source: str
    trained: bool


def describe(
    folder: Path, options: ModelOptions, *, full_dim: int, max_tokens: int | None
) -> ModelInfo:
    """Return information about the model in a folder.

    Raises:
        InvalidArgument: If a requested dim is not from 1 to ``full_dim``.
        ModelError: If the folder's configuration cannot be used.
    """
    known = known_model(options.name, full_dim, options.models)
    configured = configured_dims(folder)
    widths = choose_dims(full_dim, requested=options.dims, configured=configured, known=known)
    prompts = choose_prompts(folder, options.prompts, known)
    both: dict[Kind, str] = {"query": prompts.query, "document": prompts.document}
    tasks = configured_tasks(folder) or ({} if known is None else known.tasks)
    fingerprints = fingerprint_folder(folder, both, tasks)
    return ModelInfo(
        name=options.name,
        fingerprint=fingerprints.model,
        full_dim=full_dim,
        dims=widths.dims,
        dims_source=widths.source,
        dims_trained=widths.trained,
        **published_facts(configured, known),
        query_prompt=prompts.query,
        document_prompt=prompts.document,
        query_task=tasks.get("query", ""),
        document_task=tasks.get("document", ""),
        max_tokens=max_tokens,
        pooling=pooling_of(folder),
        weights=fingerprints.files,
        prompts_source=prompts.source,
    )


def known_model(name: str, full_dim: int, models: Rows | None = None) -> KnownModel | None:
    """Look up a known model by name; return None if its full_dim differs."""
    known = find_known(name, models)
    return known if known is not None and known.full_dim == full_dim else None


def refuse_dtype(name: str, dtype: str, models: Rows | None = None) -> None:
    """Refuse a data type in which a known model must not compute.

    Raises:
        InvalidArgument: If the row of the model refuses the data type.
    """
    known = find_known(name, models)
    if known is not None and dtype in known.refused_dtypes:
        raise InvalidArgument(
            f"dtype={dtype!r} is refused for {name}: its vectors would be wrong "
            f"({known.source or known.name}). Load the model in float32."
        )


def recorded_row(name: str, info: ModelInfo) -> KnownModel:
    """Return the row of a model that an index or another file records.

    The model is then used as when the file was written, even if its row came from a file of the
    user that is not given now, or if the table has changed.

    Args:
        name: The name by which the model is loaded.
        info: The recorded model.
    """
    known = known_model(name, info.full_dim)
    trained = info.dims_trained and info.min_dim is None and not info.adapter
    known = known or KnownModel(
        names=(name,),
        full_dim=info.full_dim,
        trained_dims=info.dims if trained else (),
        min_dim=info.min_dim,
        not_prefixes=info.not_prefixes,
    )
    return replace(
        known,
        names=(name,),
        # An adapter includes layer normalization, so the record is not that of the base model.
        layer_norm=known.layer_norm if info.adapter else info.layer_norm,
        query_task=info.query_task,
        document_task=info.document_task,
    )


def check_truncation(info: ModelInfo, points: Iterable[OperatingPoint]) -> None:
    """Check that the embeddings of a model may be truncated to the dims of operating points.

    A model that was not trained for truncation may be truncated: the loss is measured. Only models
    whose smaller widths are not prefixes are refused.

    Raises:
        InvalidArgument: If the model's embeddings must not be truncated and a stage does so.
    """
    dims = (stage.dim for point in points for stage in point.stages)
    smallest = min(dims, default=info.full_dim)
    if info.not_prefixes and smallest < info.full_dim:
        raise InvalidArgument(_refusal(info.name, smallest, info.full_dim, info.not_prefixes))


def published_facts(configured: tuple[int, ...] | None, known: KnownModel | None) -> dict[str, Any]:
    """Return the fields of ``ModelInfo`` that state how the model was trained for truncation."""
    if known is None:
        return {"matryoshka": bool(configured)}
    return {
        "layer_norm": known.layer_norm,
        "min_dim": known.min_dim,
        "matryoshka": bool(configured) or known.matryoshka,
        "not_prefixes": "" if configured else known.not_prefixes,
    }


def choose_dims(
    full_dim: int,
    *,
    requested: tuple[int, ...] | None = None,
    configured: tuple[int, ...] | None = None,
    known: KnownModel | None = None,
) -> Dims:
    """Choose the dims to measure; ``full_dim`` is always included.

    Args:
        full_dim: Number of dimensions of the model's embeddings.
        requested: Dims that the user sets.
        configured: Dims in the model's ``config.json``.
        known: The model's row in the table of known models.

    Raises:
        InvalidArgument: If a requested dim is not from 1 to ``full_dim``, or the model's
            embeddings must not be truncated.
        ModelError: If a configured dim is not from 1 to ``full_dim``.
    """
    trained, source = _trained_dims(full_dim, configured, known)
    if requested is not None:
        _check(requested, full_dim, InvalidArgument)
        chosen = _widest_first(requested, full_dim)
        whole = set(trained) | _range_of(known)
        _refuse_truncation(chosen, configured, known)
        return Dims(chosen, REQUESTED, bool(trained) and set(chosen) <= whole)
    if trained:
        return Dims(trained, source, True)
    if known is not None and known.not_prefixes:
        return Dims((full_dim,), f"{known.origin}; {known.not_prefixes}", False)
    return Dims(default_dims(full_dim), f"guess: halvings, {source}", False)


def default_dims(full_dim: int, smallest: int = _SMALLEST) -> tuple[int, ...]:
    """Return the full width and its halves, down to a smallest dim.

    >>> default_dims(384), default_dims(24)
    ((384, 192, 96, 48), (24,))
    """
    dims = [full_dim]
    while dims[-1] // 2 >= smallest:
        dims.append(dims[-1] // 2)
    return tuple(dims)


def _range_of(known: KnownModel | None) -> set[int]:
    if known is None or known.min_dim is None:
        return set()
    return set(range(known.min_dim, known.full_dim + 1))


def _refuse_truncation(
    dims: tuple[int, ...], configured: tuple[int, ...] | None, known: KnownModel | None
) -> None:
    """Refuse dims below the full width if they are not prefixes; a configuration overrides it."""
    if known is None or configured or len(dims) == 1 or not known.not_prefixes:
        return
    raise InvalidArgument(_refusal(known.name, dims[1], dims[0], known.not_prefixes))


def _refusal(name: str, dim: int, full_dim: int, reason: str) -> str:
    return f"dim={dim} is refused for {name}: {reason}. Use full_dim={full_dim}, or fit an adapter."


def _trained_dims(
    full_dim: int, configured: tuple[int, ...] | None, known: KnownModel | None
) -> tuple[tuple[int, ...], str]:
    if configured:
        _check(configured, full_dim, ModelError)
        return _widest_first(configured, full_dim), "config.json"
    if known is None or not known.matryoshka:
        return (), "not trained for"
    if known.trained_dims:
        return _widest_first(known.trained_dims, full_dim), known.origin
    if known.min_dim is not None:
        dims = default_dims(full_dim, known.min_dim)
        return dims, f"{known.origin}; halvings of any dim from {known.min_dim}"
    return (), f"trained for truncation, but no dims are published ({known.origin})"


def _widest_first(dims: tuple[int, ...], full_dim: int) -> tuple[int, ...]:
    return tuple(sorted({*dims, full_dim}, reverse=True))


def _check(dims: tuple[int, ...], full_dim: int, error: type[InvalidArgument | ModelError]) -> None:
    limits = f"Choose dims from 1 to {full_dim}."
    for dim in dims:
        if dim > full_dim:
            raise error(f"dim={dim} is larger than full_dim={full_dim}. {limits}")
        if dim < 1:
            raise error(f"dim={dim} is below 1. {limits}")
