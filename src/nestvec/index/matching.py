"""Compare the model that encodes texts for an index with the model that the index records."""

from __future__ import annotations

import logging

from nestvec.errors import ModelMismatch
from nestvec.models.differences import differences, shown
from nestvec.types import ModelInfo

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
                f"Different: {differences(stored, given, 'index')}. Open the index with its own "
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
            *(place, shown(stored.max_tokens), shown(given.max_tokens)),
            shown(stored.max_tokens),
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
