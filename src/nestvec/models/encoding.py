"""Encode texts by any encoder: checked, timed, or in batches that can each be kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Document, Embeddings, Encoder, Kind, OnProgress, TimedEncoder

TIMED = 32  # texts
_BATCH = 1_024  # documents: the most that an interrupt loses
_CHECKED = 16_384  # rows at a time, so that what is mapped need not fit in memory


def embed(
    model: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    kind: Kind,
    on_progress: OnProgress | None = None,
) -> Embeddings:
    """Return the embeddings of texts: looked up by id where they exist, else encoded.

    Args:
        model: What ``load_model`` gives, or any other encoder.
        ids: [n].
        texts: [n], in the same order.
        kind: Queries and documents may have different prompts.
        on_progress: Called as the work goes on.

    Returns:
        float32 [n, full_dim], as the model gives them.

    Raises:
        InvalidArgument: If there are not as many ids as texts.
        DataError: If the vectors of a folder lack an id.
        ModelError: If the model gives another shape, or NaN or infinite numbers.
    """
    if len(ids) != len(texts):
        raise InvalidArgument(f"{len(ids)} ids for {len(texts)} texts")
    if isinstance(model, PrecomputedVectors):
        return model.take(ids, kind=kind)
    embeddings = np.asarray(
        model.encode(texts, kind=kind, on_progress=on_progress), dtype=np.float32
    )
    expected = (len(texts), model.info.full_dim)
    if embeddings.shape != expected:
        shape = f"{list(embeddings.shape)}, not {list(expected)}"
        raise ModelError(f"{model.info.name}: gave embeddings of shape {shape}")
    bad = [
        start + row
        for start in range(0, len(embeddings), _CHECKED)
        for row in _spoilt(embeddings[start : start + _CHECKED])
    ]
    if bad:
        first = f"{len(bad)} of {len(ids)} texts, the first is {ids[bad[0]]!r}"
        raise ModelError(f"{model.info.name}: gave NaN or infinite numbers for {first}")
    return embeddings


def _spoilt(embeddings: Embeddings) -> list[int]:
    rows: list[int] = np.flatnonzero(~np.isfinite(embeddings).all(axis=1)).tolist()
    return rows


def encode_each(
    n_texts: int, encode: Callable[[slice], Embeddings]
) -> tuple[Sequence[Embeddings], float]:
    """Encode texts one by one; return what comes of each, and the median milliseconds.

    Args:
        n_texts: How many, at least one.
        encode: Encodes the texts at some positions.
    """
    encoded, times = [], []
    for number in range(n_texts):
        start = time.perf_counter()
        encoded.append(encode(slice(number, number + 1)))
        times.append((time.perf_counter() - start) * 1000)
    return encoded, float(np.median(times))


def encoded(
    model: Encoder, documents: Mapping[str, Document], *, on_progress: OnProgress | None = None
) -> Embeddings:
    """Return the embeddings of documents by id, [n, full_dim]."""
    texts = [document.content for document in documents.values()]
    return embed(model, list(documents), texts, kind="document", on_progress=on_progress)


def encoded_batches(
    model: Encoder,
    documents: Iterable[tuple[str, Document]],
    *,
    length: int | None = None,
    on_progress: OnProgress | None = None,
    before: int = 0,
) -> Iterator[tuple[dict[str, Document], Embeddings]]:
    """Yield documents by id, a batch at a time, and their embeddings [n, full_dim].

    Args:
        model: What encodes, or has the vectors.
        documents: Ids and documents; read as they are needed.
        length: How many there are, if that is known.
        on_progress: Called with documents encoded and in total, also within a batch; while the
            total is not known, with the number seen so far.
        before: How many were encoded earlier; they count as done.
    """
    rest, first = iter(documents), before
    while batch := dict(islice(rest, _BATCH)):
        total = max(before + (length or 0), first + len(batch))

        def within(done: int, _: int, first: int = first, total: int = total) -> None:
            if on_progress is not None:
                on_progress(first + done, total)

        yield batch, encoded(model, batch, on_progress=within)
        within(len(batch), total)  # also where there was nothing to encode, and once it is kept
        first += len(batch)


def embed_timed(
    model: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    kind: Kind,
    on_progress: OnProgress | None = None,
) -> tuple[Embeddings, float | None]:
    """Return what ``embed`` does, and the milliseconds of encoding one text alone.

    The time is that of the first texts, which are then not encoded again; where there is a cache,
    it remembers the model's own. None where vectors exist already.

    Args:
        model: What encodes.
        ids: [n].
        texts: [n], at least one.
        kind: Queries and documents may have different prompts.
        on_progress: Called as the work goes on.

    Raises:
        DataError: As ``embed``.
        ModelError: As ``embed``.
    """

    def encode(rows: slice, on_progress: OnProgress | None = None) -> Embeddings:
        return embed(model, ids[rows], texts[rows], kind=kind, on_progress=on_progress)

    if isinstance(model, PrecomputedVectors):
        return encode(slice(None)), None
    remembered = model.encode_ms(texts, kind=kind) if isinstance(model, TimedEncoder) else None
    if remembered is not None:
        return encode(slice(None), on_progress), remembered
    parts, milliseconds = encode_each(min(TIMED, len(texts)), encode)
    if len(texts) > len(parts):
        parts = [*parts, encode(slice(len(parts), None), on_progress)]
    return np.concatenate(parts), milliseconds
