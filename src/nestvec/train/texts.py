"""Training texts as queries and documents, and a warning of texts that training truncates."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from nestvec.data.training import TrainingPairs, TrainingTexts
from nestvec.models.sentence_transformer import SentenceTransformerEncoder
from nestvec.types import Kind

_logger = logging.getLogger(__name__)


def texts_by_kind(texts: TrainingTexts) -> dict[Kind, list[str]]:
    """Return the distinct queries and documents; scored pairs are symmetric, so all documents."""
    if isinstance(texts, TrainingPairs):
        queries, documents = texts.anchors, [*texts.positives, *chain(*texts.negatives)]
    else:
        queries, documents = [], [*texts.first, *texts.second]
    return {"query": list(dict.fromkeys(queries)), "document": list(dict.fromkeys(documents))}


def warn_of_truncated(
    base: SentenceTransformerEncoder, texts: Mapping[str, TrainingTexts], max_tokens: int | None
) -> None:
    """Warn of texts that have more tokens, including the prompt, than training reads.

    Args:
        base: The model to train.
        texts: Training texts by name.
        max_tokens: Limit of tokens in training, besides the model's own; None for none.
    """
    limits = [each for each in (base.info.max_tokens, max_tokens) if each is not None]
    if not limits or not callable(base.library_model.tokenizer):  # static models do not truncate
        return
    limited = replace(base.info, max_tokens=min(limits))
    encoder = SentenceTransformerEncoder(limited, base.library_model)
    for name, each in texts.items():
        kinds = texts_by_kind(each)
        n = sum(encoder.count_truncated(found, kind=kind) for kind, found in kinds.items())
        if n:
            message = "%s: truncated in training: %d of %d texts with more than %d tokens"
            _logger.warning(message, name, n, sum(map(len, kinds.values())), min(limits))
