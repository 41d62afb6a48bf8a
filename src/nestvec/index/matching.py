"""Compare the model that encodes texts for an index with the model that the index records."""

from __future__ import annotations

import logging

from nestvec.errors import ModelMismatch
from nestvec.models.differences import differences, shown
from nestvec.models.paired import encodes_documents_equally
from nestvec.types import ModelInfo

_logger = logging.getLogger(__name__)


def check_model(stored: ModelInfo, given: ModelInfo, place: str) -> None:
    """Check that a model can encode queries and documents of an index.

    A query prompt and the model of queries do not affect stored vectors, so another query prompt
    or query model is a warning. Another dtype and another maximum number of tokens are also
    warnings.

    Args:
        stored: The model as the index records it, with the index's adapter.
        given: The model, with the index's adapter.
        place: The path or URL of the index.

    Raises:
        ModelMismatch: If the vectors of the model do not match those in the index.
    """
    paired = stored.query_model is not None or given.query_model is not None
    if paired and encodes_documents_equally(stored, given):
        _check_query_models(stored, given, place)
    elif given.fingerprint != stored.fingerprint:
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
    _warn_of_settings(stored, given, place)


def _check_query_models(stored: ModelInfo, given: ModelInfo, place: str) -> None:
    """Log a warning if queries are encoded by another model than the index records."""
    one, other = stored.query_model, given.query_model
    if one is not None and other is not None and one.fingerprint == other.fingerprint:
        _warn_of_settings(one, other, f"{place} (model of queries)")
    elif stored.fingerprint != given.fingerprint or (one is not None and other is not None):
        # Otherwise, the documents are stored vectors, and one side names no model of queries.
        _logger.warning(
            "%s records that queries are encoded by %s, but they are encoded by %s.",
            *(place, (one or stored).identity, (other or given).identity),
        )


def _warn_of_settings(stored: ModelInfo, given: ModelInfo, place: str) -> None:
    """Log a warning for each setting that affects vectors and is not part of the fingerprint."""
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
    return stored.query_prompt != given.query_prompt and encodes_documents_equally(stored, given)
