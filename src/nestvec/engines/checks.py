"""Check the arguments of an engine's methods, alike in all engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nestvec.codec.prefix import as_float32
from nestvec.engines.manifest import Manifest
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.types import Document, Embeddings, OperatingPoint


def check_search(
    manifest: Manifest, embeddings: Embeddings, k: int, point: OperatingPoint | None
) -> Embeddings:
    """Check the arguments of ``Engine.search``, and return the queries as float32.

    Raises:
        InvalidArgument: If k is below 1, the index cannot be searched by the point, or a query
            contains NaN or infinity.
        ModelMismatch: If the queries are not [n, full_dim].
    """
    embeddings = as_float32(embeddings)
    stored = manifest.model
    if point is not None:
        manifest.check_point(point)
    if k < 1:
        raise InvalidArgument(f"k={k} is smaller than 1. Choose a k of at least 1.")
    if embeddings.ndim != 2 or embeddings.shape[1] != stored.full_dim:
        raise ModelMismatch(
            f"queries have shape {embeddings.shape}, but the index of {stored.name} requires "
            f"[n, {stored.full_dim}]. Encode at full width; the index truncates the vectors."
        )
    if not np.isfinite(embeddings).all():
        raise InvalidArgument("a query vector contains NaN or infinity. Encode the query again.")
    return embeddings


def check_added(
    manifest: Manifest, added: Mapping[str, Document], embeddings: Embeddings
) -> Embeddings:
    """Check the arguments of ``Engine.add``, and return the vectors as float32.

    Raises:
        InvalidArgument: If there is not one vector of full width per document, or a vector
            contains NaN or infinity.
    """
    embeddings = as_float32(embeddings)
    expected = (len(added), manifest.model.full_dim)
    if embeddings.shape != expected:
        problem = f"embeddings have shape {embeddings.shape} for {expected[0]} documents."
        raise InvalidArgument(f"{problem} Pass an array of shape {expected}.")
    invalid = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(invalid):
        row = int(invalid[0])
        more = f" ({len(invalid) - 1:,} more rows do, too)" if len(invalid) > 1 else ""
        id_ = list(added)[row]
        problem = f"vector {row} (id {id_!r}) contains NaN or infinity{more}."
        raise InvalidArgument(f"{problem} Encode the document again, or omit the document.")
    return embeddings


def existing_id(ids: Sequence[str]) -> InvalidArgument:
    """Return the error of adding documents whose ids exist."""
    more = f" and {len(ids) - 1:,} more" if len(ids) > 1 else ""
    verb = "are" if len(ids) > 1 else "is"
    return InvalidArgument(
        f"id {ids[0]!r}{more} {verb} already in the index. Use upsert to replace documents."
    )
