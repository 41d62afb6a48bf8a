"""Encode texts with any encoder: checked, timed, or in batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from nestvec.codec.rows import EmbeddingRows
from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.paired import encoder_of
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Document, Embeddings, Encoder, Kind, OnProgress, TimedEncoder
from nestvec.wording import count_text

TIMED = 32  # texts that are encoded one by one to measure the time
COPIED_BYTES = 256 * 2**20  # vectors up to this size are copied to memory in the order of the ids
_BATCH = 1_024  # documents; an interrupt loses at most one batch
_logger = logging.getLogger(__name__)
_CHECKED = 16_384  # rows checked at a time, so that a mapped array can be larger than memory


def embed(
    model: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    kind: Kind,
    on_progress: OnProgress | None = None,
) -> Embeddings:
    """Return the embeddings of texts: looked up by id if precomputed, else encoded.

    Args:
        model: A result of ``load_model``, or any other encoder.
        ids: [n].
        texts: [n], in the same order.
        kind: "query" or "document"; each may have its own prompt.
        on_progress: Called with the numbers of encoded and of all texts.

    Returns:
        float32 [n, full_dim], neither normalized nor truncated.

    Raises:
        InvalidArgument: If the numbers of ids and texts differ.
        DataError: If a precomputed vector is missing.
        ModelError: If the model returns another shape, or NaN or infinite values.
    """
    if len(ids) != len(texts):
        raise InvalidArgument(f"{len(ids)} ids for {len(texts)} texts. Pass one id for each text.")
    model = encoder_of(model, kind)
    if isinstance(model, PrecomputedVectors):
        return model.take(ids, kind=kind)
    return check_encoded(model, ids, model.encode(texts, kind=kind, on_progress=on_progress))


def check_encoded(model: Encoder, ids: Sequence[str], encoded: object) -> Embeddings:
    """Return what a model encoded as float32, checked.

    Args:
        model: The encoder.
        ids: Ids of the texts, [n].
        encoded: The result of its method ``encode``, [n, full_dim].

    Raises:
        ModelError: If the shape differs, or values are NaN or infinite.
    """
    embeddings: Embeddings = np.asarray(encoded, dtype=np.float32)
    expected = (len(ids), model.info.full_dim)
    if embeddings.shape != expected:
        shape = f"{list(embeddings.shape)}, not {list(expected)}"
        raise ModelError(f"{model.info.name}: returned embeddings of shape {shape}.")
    bad = [
        start + row
        for start in range(0, len(embeddings), _CHECKED)
        for row in _not_finite(embeddings[start : start + _CHECKED])
    ]
    if bad:
        first = f"{len(bad)} of {len(ids)} texts, the first is {ids[bad[0]]!r}"
        raise ModelError(f"{model.info.name}: returned NaN or infinite values for {first}.")
    return embeddings


def embed_rows(
    model: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    kind: Kind,
    on_progress: OnProgress | None = None,
) -> Embeddings | EmbeddingRows:
    """Return the embeddings of texts as ``embed`` does, but do not copy many precomputed vectors.

    Vectors of more than ``COPIED_BYTES`` are read from their file when they are used.

    Raises:
        InvalidArgument: If texts of documents are needed and there are none.
        NestvecError: As in ``embed``.
    """
    model = encoder_of(model, kind)
    if not isinstance(model, PrecomputedVectors):
        if kind == "document":
            check_texts(model, texts)
        return embed(model, ids, texts, kind=kind, on_progress=on_progress)
    rows = model.select(ids, kind=kind)
    return rows if 4 * len(rows) * rows.shape[1] > COPIED_BYTES else rows[:]


def check_texts(model: Encoder, texts: Sequence[str]) -> None:
    """Check, before all documents are encoded, that there is a text to encode.

    Raises:
        InvalidArgument: If a model encodes documents and all of them are empty.
    """
    model = encoder_of(model, "document")
    if isinstance(model, PrecomputedVectors) or any(text.strip() for text in texts):
        return
    problem = f"None of {count_text(len(texts), 'document')} has a text"
    remedy = "Pass the stored vectors of the documents in place of the model, or add the texts."
    raise InvalidArgument(f"{problem}, so {model.info.name} cannot encode them. {remedy}")


def _not_finite(embeddings: Embeddings) -> list[int]:
    rows: list[int] = np.flatnonzero(~np.isfinite(embeddings).all(axis=1)).tolist()
    return rows


def encode_each(
    n_texts: int, encode: Callable[[slice], Embeddings]
) -> tuple[Sequence[Embeddings], float]:
    """Encode texts one by one; return the embeddings and the median milliseconds.

    Args:
        n_texts: Number of texts, at least one.
        encode: Encodes the texts in a slice.
    """
    embeddings, times = [], []
    for number in range(n_texts):
        start = time.perf_counter()
        embeddings.append(encode(slice(number, number + 1)))
        times.append((time.perf_counter() - start) * 1000)
    return embeddings, float(np.median(times))


def embed_documents(
    model: Encoder, documents: Mapping[str, Document], *, on_progress: OnProgress | None = None
) -> Embeddings:
    """Return the embeddings of documents, [n, full_dim]."""
    texts = [document.content for document in documents.values()]
    return embed(model, list(documents), texts, kind="document", on_progress=on_progress)


def embed_batches(
    model: Encoder,
    documents: Iterable[tuple[str, Document]],
    *,
    length: int | None = None,
    on_progress: OnProgress | None = None,
    before: int = 0,
) -> Iterator[tuple[dict[str, Document], Embeddings]]:
    """Yield batches of documents by id, with their embeddings [n, full_dim].

    At the end, one warning names the number of documents with a zero vector.

    Args:
        model: An encoder or precomputed vectors.
        documents: Ids and documents, read batch by batch.
        length: Number of documents, if known.
        on_progress: Called with the numbers of encoded and of all documents, also within a batch.
            If the total is unknown, it is the number of documents read so far.
        before: Number of documents that were encoded earlier; they count as encoded.
    """
    rest, first, empty = iter(documents), before, list[str]()
    while batch := dict(islice(rest, _BATCH)):
        total = max(before + (length or 0), first + len(batch))

        def within(done: int, _: int, first: int = first, total: int = total) -> None:
            if on_progress is not None:
                on_progress(first + done, total)

        embeddings = embed_documents(model, batch, on_progress=within)
        empty += zero_rows(list(batch), embeddings)
        yield batch, embeddings
        within(len(batch), total)  # also after the caller has stored the batch
        first += len(batch)
    warn_of_zero_vectors(empty)


def zero_rows(ids: Sequence[str], embeddings: Embeddings) -> list[str]:
    """Return the ids of documents whose vector is zero."""
    return [ids[int(row)] for row in np.flatnonzero(~embeddings.any(axis=1))]


def warn_of_zero_vectors(ids: Sequence[str]) -> None:
    """Log that documents have zero vectors, which no search finds by its text."""
    if ids:
        _logger.warning(
            "%s with a zero vector, such as %r: the score is 0 for every query. The texts are "
            "empty, or the model knows none of the words.",
            *(count_text(len(ids), "document"), ids[0]),
        )


def embed_timed(
    model: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    kind: Kind,
    on_progress: OnProgress | None = None,
) -> tuple[Embeddings, float | None]:
    """Return the result of ``embed``, and the milliseconds for encoding one text.

    The time is measured on the first texts, which are not encoded again. A cached encoder reports
    its stored time instead. For precomputed vectors the time is None.

    Args:
        model: The encoder.
        ids: [n].
        texts: [n], at least one.
        kind: "query" or "document"; each may have its own prompt.
        on_progress: Called with the numbers of encoded and of all texts.

    Raises:
        DataError: As in ``embed``.
        ModelError: As in ``embed``.
    """

    def encode(rows: slice, on_progress: OnProgress | None = None) -> Embeddings:
        return embed(model, ids[rows], texts[rows], kind=kind, on_progress=on_progress)

    model = encoder_of(model, kind)
    if isinstance(model, PrecomputedVectors):
        return encode(slice(None)), None
    stored_ms = model.encode_ms(texts, kind=kind) if isinstance(model, TimedEncoder) else None
    if stored_ms is not None:
        return encode(slice(None), on_progress), stored_ms
    parts, milliseconds = encode_each(min(TIMED, len(texts)), encode)
    if len(texts) > len(parts):
        parts = [*parts, encode(slice(len(parts), None), on_progress)]
    return np.concatenate(parts), milliseconds
