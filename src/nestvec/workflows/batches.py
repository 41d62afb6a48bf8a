"""Encode documents in batches, so that each can be kept before the next is begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nestvec.models.load import embed
from nestvec.types import Document, Embeddings, Encoder, OnProgress

_BATCH = 1_024  # documents: the most that an interrupt loses


def encoded(
    model: Encoder, documents: Mapping[str, Document], *, on_progress: OnProgress | None = None
) -> Embeddings:
    """Return the embeddings of documents by id, [n, full_dim]."""
    texts = [document.content for document in documents.values()]
    return embed(model, list(documents), texts, kind="document", on_progress=on_progress)


def encoded_batches(
    model: Encoder,
    documents: Mapping[str, Document],
    *,
    on_progress: OnProgress | None = None,
    before: int = 0,
) -> Iterator[tuple[dict[str, Document], Embeddings]]:
    """Yield documents by id, a batch at a time, and their embeddings [n, full_dim].

    Args:
        model: What encodes, or has the vectors.
        documents: By id.
        on_progress: Called with documents encoded and in total, also within a batch.
        before: How many were encoded earlier; they count as done.
    """
    ids = list(documents)
    total = before + len(ids)
    for start in range(0, len(ids), _BATCH):
        batch = {id_: documents[id_] for id_ in ids[start : start + _BATCH]}

        def within(done: int, _: int, first: int = before + start) -> None:
            if on_progress is not None:
                on_progress(first + done, total)

        yield batch, encoded(model, batch, on_progress=within)
        within(len(batch), total)  # also where there was nothing to encode, and once it is kept
