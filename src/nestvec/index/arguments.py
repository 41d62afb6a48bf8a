"""Read what users pass to an index: operating points and plans, filters, lists of documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nestvec.codec.arrays import as_embeddings
from nestvec.codec.prefix import as_float32
from nestvec.codec.quantizer import check_codable
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.models.base import as_texts
from nestvec.types import Document, Embeddings, ModelInfo, OperatingPoint


@runtime_checkable
class PlannedPoint(Protocol):
    """An operating point that was chosen for a model: what an index needs of a ``Plan``."""

    @property
    def point(self) -> OperatingPoint:
        """The chosen operating point."""
        ...

    @property
    def model(self) -> ModelInfo:
        """The model whose curve it was chosen on."""
        ...


def point_for(asked: PlannedPoint | OperatingPoint | str, model: ModelInfo) -> OperatingPoint:
    """Return the point that is asked for.

    Raises:
        InvalidArgument: If it is wider than the model, a stage's dim cannot be coded, or its text
            cannot be read.
        ModelMismatch: If it is a plan for another model.
    """
    if isinstance(asked, PlannedPoint) and asked.model.fingerprint != model.fingerprint:
        raise ModelMismatch(
            f"the plan is of {asked.model.identity}, not of {model.identity}: "
            f"plan on the latter's curve, or name the point {asked.point} itself"
        )
    if isinstance(asked, PlannedPoint):
        point = asked.point
    else:
        point = OperatingPoint.parse(asked) if isinstance(asked, str) else asked
    widest = max(stage.dim for stage in point.stages)
    if widest > model.full_dim:
        raise InvalidArgument(f"{point}: dim {widest} > full_dim {model.full_dim} of {model.name}")
    for stage in point.stages:
        check_codable(*stage.representation)
    return point


def read_asked(
    where: str | None, point: OperatingPoint | str | None
) -> tuple[Condition | None, OperatingPoint | None]:
    """Read a filter and an operating point; None stays None.

    Raises:
        InvalidArgument: If one of them cannot be read.
    """
    condition = None if where is None else Where.parse(where)
    return condition, OperatingPoint.parse(point) if isinstance(point, str) else point


def documents_of(
    ids: Sequence[str],
    texts: Sequence[str] | None,
    *,
    titles: Sequence[str] | None,
    metadata: Sequence[Mapping[Any, Any]] | None,
) -> dict[str, Document]:
    """Join the lists to documents by id.

    Raises:
        InvalidArgument: If they differ in length, an id stands twice, or a value is of a kind
            that is not kept.
    """
    for name, values in (("ids", ids), ("texts", texts), ("titles", titles)):
        if isinstance(values, str):
            raise InvalidArgument(f"{name} is one string: give a list of them")
        _check(name, values, len(ids), str)
    _check("metadata", metadata, len(ids), dict)
    counts = Counter(ids)
    if len(counts) != len(ids):
        twice = next(id_ for id_, count in counts.items() if count > 1)
        raise InvalidArgument(f"id {twice!r} stands twice")
    documents = {}
    for number, id_ in enumerate(ids):
        known = metadata[number] if metadata is not None else {}
        for field, value in known.items():
            if not isinstance(field, str) or not isinstance(value, str | int | float):
                kind = type(value).__name__
                problem = f"metadata of {id_!r}: {field!r} is a {kind}, not a string or number"
                raise InvalidArgument(problem)
        documents[id_] = Document(
            texts[number] if texts is not None else "",
            titles[number] if titles is not None else "",
            known,
        )
    return documents


def read_queries(queries: object) -> list[str] | Embeddings:
    """Return queries as texts, or as vectors [n, full_dim]; one of them is a batch of one.

    Args:
        queries: A string or a list of strings; or a vector or vectors, as arrays, tensors or lists.

    Raises:
        InvalidArgument: If they are neither texts nor vectors, or mixed.
    """
    if isinstance(queries, str):
        return [queries]
    first = next(iter(queries), None) if isinstance(queries, Sequence) else None
    if isinstance(first, str) or (first is None and isinstance(queries, Sequence)):
        return as_texts(queries, name="queries")
    if isinstance(queries, np.ndarray) and queries.dtype.kind in "UO":
        return as_texts(queries, name="queries")
    embeddings = as_embeddings(queries, name="queries")
    return embeddings[None] if embeddings.ndim == 1 else embeddings


def given_vectors(embeddings: object, ids: Sequence[str]) -> Embeddings:
    """Return vectors as float32, once there is one for each document.

    Raises:
        InvalidArgument: If there is not, or one is all zero, so that no search would find it.
    """
    vectors = as_float32(as_embeddings(embeddings))
    if vectors.ndim != 2 or len(vectors) != len(ids):
        problem = f"embeddings of shape {vectors.shape} for {len(ids):,} documents"
        raise InvalidArgument(f"{problem}: give [n, full_dim]")
    empty = np.flatnonzero(~vectors.any(axis=1))
    if len(empty):
        row = int(empty[0])
        raise InvalidArgument(f"vector {row} (id {ids[row]!r}) is all zero: leave it out")
    return vectors


def _check(name: str, values: Sequence[Any] | None, n: int, kind: type) -> None:
    if values is None:
        return
    if len(values) != n:
        raise InvalidArgument(f"{len(values):,} {name} for {n:,} ids")
    for number, value in enumerate(values):
        if not isinstance(value, kind):
            found = type(value).__name__
            raise InvalidArgument(f"{name}[{number}] is a {found}, not a {kind.__name__}")
