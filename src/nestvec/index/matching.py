"""Compare the model that encodes texts for an index with the model that the index records."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from nestvec.errors import ModelMismatch
from nestvec.types import ModelInfo

_NAMES = {
    "full_dim": "dims",
    "query_prompt": "query prompt",
    "document_prompt": "document prompt",
    "pooling": "pooling",
    "layer_norm": "layer normalization",
    "max_tokens": "maximum tokens",
}
_logger = logging.getLogger(__name__)


def check_model(stored: ModelInfo, given: ModelInfo, place: str) -> None:
    """Check that a model can encode queries and documents of an index.

    A query prompt does not affect stored vectors, so another query prompt is a warning. Another
    dtype and another maximum number of tokens are also warnings.

    Args:
        stored: The model as the index records it, with the index's adapter.
        given: The model, with the index's adapter.
        place: The path or URL of the index.

    Raises:
        ModelMismatch: If the vectors of the model do not match those in the index.
    """
    if given.fingerprint != stored.fingerprint:
        if not _differs_in_query_prompt(stored, given):
            raise ModelMismatch(
                f"{place} contains vectors of {stored.identity}, not of {given.identity}. "
                f"Different: {'; '.join(_differences(stored, given))}. Open the index with its own "
                "model, or re-embed the index. If this model made the vectors, record the model: "
                f"nestvec index model {place} {given.name}"
            )
        _logger.warning(
            "%s records the query prompt %r, but queries are encoded with %r.",
            *(place, stored.query_prompt, given.query_prompt),
        )
    if given.dtype and stored.dtype and given.dtype != stored.dtype:
        _logger.warning(
            "%s was encoded in %s, but the model is loaded in %s. Scores differ slightly. "
            "Load the model with dtype %s.",
            *(place, stored.dtype, given.dtype, stored.dtype),
        )
    if given.max_tokens != stored.max_tokens:
        _logger.warning(
            "%s was encoded with at most %s tokens of each text, but the model is loaded with %s. "
            "Vectors of longer texts differ. Set the model's max_seq_length to %s.",
            *(place, _shown(stored.max_tokens), _shown(given.max_tokens)),
            _shown(stored.max_tokens),
        )


def _differs_in_query_prompt(stored: ModelInfo, given: ModelInfo) -> bool:
    """Return whether documents are encoded equally, and only queries get another prompt."""
    return (
        bool(stored.weights)
        and stored.weights == given.weights
        and stored.adapter == given.adapter == ""  # an adapter was fitted with the query prompt
        and stored.document_prompt == given.document_prompt
        and stored.query_prompt != given.query_prompt
    )


def _differences(stored: ModelInfo, given: ModelInfo) -> Iterator[str]:
    """Yield each value that differs, with both values."""
    named = False
    for field, name in _NAMES.items():
        before, now = getattr(stored, field), getattr(given, field)
        unknown = field == "pooling" and not (before and now)
        if before != now and not unknown:
            named = True
            yield f"{name} ({_shown(before)} in the index, {_shown(now)} in the model)"
    if stored.adapter != given.adapter:
        named = True
        adapters = (each.adapter[:12] or "none" for each in (stored, given))
        yield "adapter ({} in the index, {} with the model)".format(*adapters)
    if stored.weights and given.weights:
        if stored.weights != given.weights:
            yield f"weights or tokenizer ({stored.weights[:12]}, {given.weights[:12]})"
    elif not named:
        yield f"weights, tokenizer or vectors ({stored.fingerprint[:12]}, {given.fingerprint[:12]})"


def _shown(value: object) -> str:
    return "no limit" if value is None else repr(value)
