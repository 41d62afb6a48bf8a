"""Encode texts once, and know what one of them takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nestvec.models.load import embed
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.timing import TIMED, encode_each
from nestvec.types import Embeddings, Encoder, Kind, OnProgress, TimedEncoder


def embed_timed(
    model: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    kind: Kind,
    on_progress: OnProgress | None = None,
) -> tuple[Embeddings, float | None]:
    """Return what ``models.load.embed`` does, and the milliseconds of encoding one text alone.

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
