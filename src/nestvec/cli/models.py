"""Load models as the shared options describe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.cli.options import parse_dtype

if TYPE_CHECKING:
    from nestvec.types import Encoder, Kind


def load_encoder(
    model: str,
    *,
    dtype: str | None,
    device: str | None,
    cache: bool,
    trust_remote_code: bool,
    adapter: Path | None = None,
    prompts: Mapping[Kind, str] | None = None,
    dims: Sequence[int] | None = None,
    models: Path | None = None,
    vectors_model: str | None = None,
    query_model: str | None = None,
    same_space: bool = False,
    base_url: str | None = None,
) -> Encoder:
    """Load a model, with an adapter if one is given.

    Raises:
        InvalidArgument: If the dtype is unknown or the device is not available.
        NestvecError: As ``load_model`` and ``with_adapter``.
    """
    from nestvec.models.adapted import with_adapter
    from nestvec.models.load import load_model

    loaded = load_model(
        model,
        dims=dims,
        prompts=prompts,
        dtype=parse_dtype(dtype),
        device=device,
        trust_remote_code=trust_remote_code,
        models=models,
        model=vectors_model,
        query_model=query_model,
        same_space=same_space,
        cache=shared_cache(cache) or False,
        base_url=base_url,
    )
    return with_adapter(loaded, adapter)


def load_index_model(
    index: Path,
    model: str | None,
    *,
    dtype: str | None,
    device: str | None,
    trust_remote_code: bool,
    prompts: Mapping[Kind, str] | None = None,
    cache: Path | None = None,
    query_model: str | None = None,
    same_space: bool = False,
) -> Encoder | None:
    """Load the model of an index if an option says how; else the index loads it when needed.

    Raises:
        InvalidArgument: If the dtype is unknown or the device is not available.
        NestvecError: As ``load_for_index``.
    """
    given = (model, dtype, device, trust_remote_code, prompts, query_model, same_space)
    if not any(given):
        return None
    from nestvec.index.model import load_for_index

    return load_for_index(
        model,
        str(index),
        prompts=prompts,
        dtype=parse_dtype(dtype),
        device=device,
        trust_remote_code=trust_remote_code,
        cache=cache,
        query_model=query_model,
        same_space=same_space,
    )


def shared_cache(wanted: bool) -> Path | None:
    """Return the folder in which all commands store embeddings; None with ``--no-cache``."""
    from nestvec.models.cache import default_cache_folder

    return default_cache_folder() if wanted else None
