"""Load an API model: its full width, dims, prompts and fingerprint.

The weights of an API model are unknown. Its fingerprint is a hash of what is known: dialect, host,
model name, full_dim, input types and prompts. A vendor can change a model without a change of the
fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.errors import ModelError
from nestvec.models.api.address import ApiAddress, parse_name
from nestvec.models.api.cached import CachedApiEncoder
from nestvec.models.api.encoder import ApiCaller, ApiEncoder
from nestvec.models.info import Dims, ModelOptions, choose_dims, published_facts
from nestvec.models.known import find_known
from nestvec.models.known_row import KnownModel
from nestvec.models.prompts import REQUESTED
from nestvec.models.vector_store import read_numbers, write_numbers
from nestvec.types import Encoder, Kind, ModelInfo

_PROBE = "one text"  # encoded once to find the width of an unknown model
_logger = logging.getLogger(__name__)


class ServedModel(NamedTuple):
    """What a server reports about a model.

    Attributes:
        full_dim: Width of its vectors.
        dims: Dims that the model was trained for; empty if unknown.
        max_tokens: Longer texts are truncated; None if unknown or without a limit.
    """

    full_dim: int
    dims: tuple[int, ...] = ()
    max_tokens: int | None = None


def load_api_model(options: ModelOptions, *, base_url: str | None, cache: Path | None) -> Encoder:
    """Load a model behind an API. If its width is unknown, one request is sent.

    Args:
        options: Name of the model, dims and prompts. The prompts are added to texts before they
            are sent.
        base_url: As in ``parse_name``.
        cache: Folder of the embedding cache; None to use no cache.

    Raises:
        ModelError: If the width must be requested and the request fails.
        InvalidArgument: If the base URL cannot be used, or a dim is not from 1 to full_dim.
        MissingExtra: If httpx is not installed.
        DataError: If the cache cannot be written.
    """
    address = parse_name(options.name, base_url)
    known = find_known(address.model, options.models)
    trained = known is not None and known.matryoshka
    requests_width = address.dialect.requests_width and trained
    caller = ApiCaller(address, dim=known.full_dim if known and requests_width else None)
    served = _known_width(known, address) or _served(caller, cache)
    encoder = ApiEncoder(_describe(address, options, served, known), caller)
    return encoder if cache is None else CachedApiEncoder(encoder, cache)


def _known_width(known: KnownModel | None, address: ApiAddress) -> ServedModel | None:
    if known is None or address.dialect.has_prompts:  # such a server describes its model
        return None
    return ServedModel(known.full_dim)


def _served(caller: ApiCaller, cache: Path | None) -> ServedModel:
    """Return what the server reports, or the width of one vector; the result is cached."""
    address = caller.address
    if address.dialect.has_prompts:
        return _reported(caller)
    digest = hashlib.sha256(f"{address.name}".encode()).hexdigest()
    file = None if cache is None else cache / f"{digest}.api.json"
    stored = None if file is None else read_numbers(file, ("full_dim",))
    full_dim = None if stored is None else stored["full_dim"]
    if full_dim is None or full_dim < 1:
        full_dim = caller.encode([_PROBE], "document", full_dim=None).shape[1]
        if file is not None:
            write_numbers(file, {"full_dim": full_dim})
        if address.dialect.requests_width:
            _logger.warning(
                "%s is not in the table of known models. Its default width of %s dims is used as "
                "the full width, although the model may have a larger width.",
                *(address.name, full_dim),
            )
    return ServedModel(full_dim)


def _reported(caller: ApiCaller) -> ServedModel:
    """Read the description of a model from a server of nestvec."""
    address = caller.address
    answer: Any = caller.client.get(f"models/{address.model}")
    try:
        full_dim, dims = int(answer["full_dim"]), tuple(int(dim) for dim in answer["dims"])
        return ServedModel(full_dim, dims if len(dims) > 1 else (), answer["max_tokens"])
    except (KeyError, TypeError, ValueError):
        problem = "does not describe the model as nestvec serve does. Load the model as openai:"
        raise ModelError(f"{address.name}: {problem}{address.model}.") from None


def _describe(
    address: ApiAddress, options: ModelOptions, served: ServedModel, known: KnownModel | None
) -> ModelInfo:
    matching = known if known is not None and known.full_dim == served.full_dim else None
    widths = _widths(served, options, matching, address)
    prompts, source = _prompts(options, None if address.dialect.has_prompts else matching)
    if matching is not None and not (address.dialect.input_types or any(prompts.values())):
        _warn_of_named_prompts(address, options, matching)
    parts: dict[str, Any] = {
        "dialect": address.dialect.name,
        "host": address.host,
        "model": address.model,
        "full_dim": served.full_dim,
        "input_types": dict(address.dialect.input_types or {}),
    }
    return ModelInfo(
        name=address.name,
        fingerprint=_sha256({**parts, "prompts": dict(prompts)}),
        full_dim=served.full_dim,
        dims=widths.dims,
        dims_source=widths.source,
        dims_trained=widths.trained,
        **published_facts(served.dims or None, matching),
        query_prompt=prompts["query"],
        document_prompt=prompts["document"],
        max_tokens=served.max_tokens,
        weights=_sha256(parts),
        prompts_source=source,
    )


def _widths(
    served: ServedModel, options: ModelOptions, known: KnownModel | None, address: ApiAddress
) -> Dims:
    chosen = choose_dims(
        served.full_dim, requested=options.dims, configured=served.dims or None, known=known
    )
    reported = served.dims and chosen.source != REQUESTED
    return chosen._replace(source=f"{address.base_url}/models") if reported else chosen


def _prompts(options: ModelOptions, known: KnownModel | None) -> tuple[Mapping[Kind, str], str]:
    found: dict[Kind, str] = {"query": "", "document": ""}
    source = ""
    if known is not None and (known.query_prompt or known.document_prompt):
        found = {"query": known.query_prompt, "document": known.document_prompt}
        source = known.origin
    changed = {kind: text for kind, text in options.prompts.items() if found[kind] != text}
    return {**found, **options.prompts}, REQUESTED if changed else source


def _warn_of_named_prompts(address: ApiAddress, options: ModelOptions, known: KnownModel) -> None:
    """Log that the prompts of a model are in its folder only, which a server may not use."""
    names = [name for name in (known.query_prompt_name, known.document_prompt_name) if name]
    if names and not options.prompts:
        _logger.warning(
            "%s has prompts (%s) in the configuration of its folder, which %s cannot read. Texts "
            "are sent without prompts, which can lower the quality. Set prompts with "
            "--query-prompt and --document-prompt, or in Python with load_model(prompts=...).",
            *(known.name, ", ".join(map(repr, names)), address.name),
        )


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
