"""Determine the dims, prompts and fingerprint of a model without loading it.

For dims, options of the user take precedence over the model's configuration, then the table of
known models, then a guess. ``prompts`` has the rule for prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, get_args

from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.fingerprint import fingerprint_folder
from nestvec.models.folder_config import configured_dims, pooling_of
from nestvec.models.known import KnownModel, find_known
from nestvec.models.prompts import REQUESTED, choose_prompts
from nestvec.types import Kind, ModelInfo

_SMALLEST = 32  # of the default dims


@dataclass(frozen=True)
class ModelOptions:
    """What the user sets for a model; the options override its configuration.

    Attributes:
        name: Name for messages and for the table of known models.
        dims: Dims to measure.
        prompts: Prefixes of texts, by kind.
    """

    name: str
    dims: tuple[int, ...] | None = None
    prompts: Mapping[Kind, str] = field(default_factory=dict)

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
    known = known_model(options.name, full_dim)
    widths = choose_dims(
        full_dim, requested=options.dims, configured=configured_dims(folder), known=known
    )
    prompts = choose_prompts(folder, options.prompts, known)
    both: dict[Kind, str] = {"query": prompts.query, "document": prompts.document}
    fingerprints = fingerprint_folder(folder, both)
    return ModelInfo(
        name=options.name,
        fingerprint=fingerprints.model,
        full_dim=full_dim,
        dims=widths.dims,
        dims_source=widths.source,
        dims_trained=widths.trained,
        layer_norm=known is not None and known.layer_norm,
        query_prompt=prompts.query,
        document_prompt=prompts.document,
        max_tokens=max_tokens,
        pooling=pooling_of(folder),
        weights=fingerprints.files,
        prompts_source=prompts.source,
    )


def known_model(name: str, full_dim: int) -> KnownModel | None:
    """Look up a known model by name; return None if its full_dim differs."""
    known = find_known(name)
    return known if known is not None and known.full_dim == full_dim else None


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
        InvalidArgument: If a requested dim is not from 1 to ``full_dim``.
        ModelError: If a configured dim is not from 1 to ``full_dim``.
    """
    trained, source = _trained_dims(full_dim, configured, known)
    if requested is not None:
        _check(requested, full_dim, InvalidArgument)
        chosen = _widest_first(requested, full_dim)
        return Dims(chosen, REQUESTED, bool(trained) and set(chosen) <= set(trained))
    if trained:
        return Dims(trained, source, True)
    return Dims(default_dims(full_dim), f"guess: halvings, {source}", False)


def default_dims(full_dim: int) -> tuple[int, ...]:
    """Return the full width and its halves, down to 32.

    >>> default_dims(384), default_dims(24)
    ((384, 192, 96, 48), (24,))
    """
    dims = [full_dim]
    while dims[-1] // 2 >= _SMALLEST:
        dims.append(dims[-1] // 2)
    return tuple(dims)


def _trained_dims(
    full_dim: int, configured: tuple[int, ...] | None, known: KnownModel | None
) -> tuple[tuple[int, ...], str]:
    if configured:
        _check(configured, full_dim, ModelError)
        return _widest_first(configured, full_dim), "config.json"
    if known is not None and known.trained_dims:
        return _widest_first(known.trained_dims, full_dim), f"known model: {known.source}"
    return (), "not trained for"


def _widest_first(dims: tuple[int, ...], full_dim: int) -> tuple[int, ...]:
    return tuple(sorted({*dims, full_dim}, reverse=True))


def _check(dims: tuple[int, ...], full_dim: int, error: type[InvalidArgument | ModelError]) -> None:
    limits = f"Choose dims from 1 to {full_dim}."
    for dim in dims:
        if dim > full_dim:
            raise error(f"dim={dim} is larger than full_dim={full_dim}. {limits}")
        if dim < 1:
            raise error(f"dim={dim} is below 1. {limits}")
