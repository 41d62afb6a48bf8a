"""Record the model that made the vectors of an index, after a check on stored documents.

An index that was built from vectors does not know their model, so it cannot encode queries. The
same applies to an index whose model was only in memory. The identity of the vectors does not
change: plans, curves and adapters for them remain valid.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from nestvec.codec.prefix import prefix
from nestvec.engines.engine import Engine
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.index.model import with_absolute_path
from nestvec.models.adapted import uncached
from nestvec.models.encoding import embed_documents
from nestvec.models.load import as_encoder
from nestvec.models.paired import stores_documents
from nestvec.types import Document, Embeddings, Encoder
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike

_logger = logging.getLogger(__name__)
LOWEST_COSINE = 0.999  # rounding to float16 or computing in bfloat16 lowers the cosine less
_CHECKED, _SEEN = 16, 256  # documents that are encoded, and documents that are read to find these
_CHECKS = (
    "Check that this is the model of the vectors, and check its prompts (--query-prompt and "
    "--document-prompt; the document prompt is often 'passage: ' or empty) and the texts: nestvec "
    "encodes the title and the text of a document."
)


def record_model(engine: Engine, model: ModelLike) -> float:
    """Record the model that encodes queries and documents of an index.

    Stored documents are encoded and compared with their vectors.

    Args:
        engine: The index.
        model: An encoder, a ``SentenceTransformer``, a model folder or a hub id, without the
            adapter of the index.

    Returns:
        The lowest cosine between a document's stored vector and the model's vector.

    Raises:
        InvalidArgument: If the model is a folder of vectors or has an adapter, or no document of
            the index has a text.
        ModelMismatch: If the model has another width, or its vectors are not the stored ones.
        IndexLocked: If another process changes the index.
        DataError: If the index cannot be written.
    """
    encoder = as_encoder(model)
    _check_kind(engine, encoder)
    engine.lock()
    documents = _sample(engine)
    made = embed_documents(uncached(encoder), documents)
    lowest = check_vectors(engine, encoder.info.name, documents, made)
    before = engine.manifest.encoding_model.query_model
    if before is not None and encoder.info.query_model is None:
        _logger.warning(
            "%s recorded that queries are encoded by %s. From now on, they are encoded by %s. To "
            "keep the model of queries, pass it with --query-model.",
            *(engine.place, before.identity, encoder.info.identity),
        )
    engine.record_encoder(with_absolute_path(encoder.info))
    return lowest


def _check_kind(engine: Engine, encoder: Encoder) -> None:
    info, full_dim = encoder.info, engine.manifest.model.full_dim
    if stores_documents(encoder):
        problem = f"{info.name} contains vectors, so it cannot encode texts."
        raise InvalidArgument(f"{problem} Name the model that made the vectors.")
    if info.adapter:
        problem = f"{info.name} has an adapter. The index applies its own adapter."
        raise InvalidArgument(f"{problem} Name the model without an adapter.")
    if info.full_dim != full_dim:
        raise ModelMismatch(
            f"{info.name} has {info.full_dim} dims, but the vectors of {engine.place} have "
            f"{full_dim} dims. Name the model that made the vectors."
        )


def _sample(engine: Engine) -> dict[str, Document]:
    """Return documents with texts, spread over the index."""
    step = max(1, len(engine) // _SEEN)
    seen = engine.get(list(islice(engine.ids(), 0, step * _SEEN, step)))
    texts = {id_: document for id_, document in seen.items() if document.content.strip()}
    if not texts:
        problem = f"none of {count_text(len(seen), 'document')} of {engine.place} has a text"
        raise InvalidArgument(
            f"{problem}, so the model cannot be compared with the vectors. Build the index again "
            "with a corpus that has the texts of the vectors."
        )
    step = max(1, len(texts) // _CHECKED)
    return dict(islice(texts.items(), 0, step * _CHECKED, step))


def check_vectors(
    engine: Engine, model: str, documents: Mapping[str, Document], made: Embeddings
) -> float:
    """Compare vectors of a model with the stored vectors of the same documents.

    Args:
        engine: The index.
        model: The name of the model.
        documents: At least one document of the index, by id.
        made: Their vectors as the model returns them, [n, full_dim].

    Returns:
        The lowest cosine.

    Raises:
        ModelMismatch: If it is below ``LOWEST_COSINE``.
    """
    ids = list(documents)
    if engine.adapter is not None:
        made = engine.adapter.apply(made, "document")
    full_dim = engine.manifest.model.full_dim
    ours = engine.manifest.as_stored(made).astype(np.float32)
    left, right = (prefix(each, full_dim) for each in (ours, engine.vectors(ids)))
    cosines = np.einsum("nd,nd->n", left, right)
    worst = int(cosines.argmin())
    lowest = float(cosines[worst])
    if not lowest >= LOWEST_COSINE:
        low = int((cosines < LOWEST_COSINE).sum())
        raise ModelMismatch(
            f"{model} did not make the vectors of {engine.place}: the lowest cosine "
            f"of {count_text(len(ids), 'document')} is {lowest:.3f} ({ids[worst]!r}), and {low} "
            f"are below {LOWEST_COSINE}. {_CHECKS}"
        )
    return lowest
