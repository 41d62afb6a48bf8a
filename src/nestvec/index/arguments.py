"""Parse and check the arguments of an index: operating points, plans, filters and documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nestvec.codec.arrays import as_embeddings
from nestvec.codec.prefix import as_float32
from nestvec.codec.quantizer import check_codable
from nestvec.data.metadata import MetadataReader
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument, ModelMismatch, refuse_string
from nestvec.models.base import as_texts
from nestvec.models.differences import differences, same_model
from nestvec.models.info import check_truncation
from nestvec.types import Document, Embeddings, ModelInfo, OperatingPoint


@runtime_checkable
class PlannedPoint(Protocol):
    """An operating point that was chosen for a model, such as a ``Plan``."""

    @property
    def point(self) -> OperatingPoint:
        """The chosen operating point."""
        ...

    @property
    def model(self) -> ModelInfo:
        """The model of the curve on which the point was chosen."""
        ...


def point_for(given: PlannedPoint | OperatingPoint | str, model: ModelInfo) -> OperatingPoint:
    """Return the operating point of a plan, a point or a text, checked for a model.

    Raises:
        InvalidArgument: If the point is wider than the model, the model's embeddings must not be
            truncated, a stage's dim does not fit its precision, or the text cannot be parsed.
        ModelMismatch: If the plan is for another model.
    """
    if isinstance(given, PlannedPoint) and not same_model(given.model, model):
        raise ModelMismatch(
            f"the plan is for {given.model.identity}, not for {model.identity}. "
            f"Different: {differences(given.model, model, 'plan')}. "
            f"Plan with a curve of this model, or pass the point '{given.point}'."
        )
    if isinstance(given, PlannedPoint):
        point = given.point
    else:
        point = OperatingPoint.parse(given) if isinstance(given, str) else given
    full_dim = model.full_dim
    widest = max(stage.dim for stage in point.stages)
    if widest > full_dim:
        problem = f"{point}: dim={widest} is larger than full_dim={full_dim} of {model.name}."
        raise InvalidArgument(f"{problem} Choose a dim of at most {full_dim}.")
    check_truncation(model, [point])
    for stage in point.stages:
        check_codable(*stage.representation)
    return point


def parse_search_options(
    where: str | None, point: OperatingPoint | str | None, model: ModelInfo
) -> tuple[Condition | None, OperatingPoint | None]:
    """Parse a filter and an operating point; None is returned as None.

    Raises:
        InvalidArgument: If one of them cannot be parsed, or the model's embeddings must not be
            truncated and the point does so.
    """
    condition = None if where is None else Where.parse(where)
    parsed = OperatingPoint.parse(point) if isinstance(point, str) else point
    if parsed is not None:
        check_truncation(model, [parsed])
    return condition, parsed


def documents_of(
    ids: Sequence[str],
    texts: Sequence[str] | None,
    *,
    titles: Sequence[str] | None,
    metadata: Sequence[Mapping[Any, Any]] | None,
) -> dict[str, Document]:
    """Return documents by id from lists of their ids, texts, titles and metadata.

    Raises:
        InvalidArgument: If the lists differ in length, an id is repeated, or a value has a type
            that cannot be stored.
    """
    for name, values in (("ids", ids), ("texts", texts), ("titles", titles)):
        refuse_string(values, name)
        _check(name, values, len(ids), str)
    _check("metadata", metadata, len(ids), dict)
    counts = Counter(ids)
    if len(counts) != len(ids):
        repeated = next(id_ for id_, count in counts.items() if count > 1)
        raise InvalidArgument(f"id {repeated!r} is repeated. Pass each id once.")
    reader = MetadataReader(strict=True)
    documents = {
        id_: Document(
            texts[number] if texts is not None else "",
            titles[number] if titles is not None else "",
            reader.read(id_, metadata[number]) if metadata is not None else {},
        )
        for number, id_ in enumerate(ids)
    }
    reader.warn("metadata")
    return documents


def read_queries(queries: object) -> list[str] | Embeddings:
    """Return queries as a list of texts, or as vectors [n, full_dim].

    Args:
        queries: A text or a list of texts, or one or several vectors as an array, a tensor or
            lists. A single text or vector is a batch of one.

    Raises:
        InvalidArgument: If the queries are neither texts nor vectors, or both, or a text is empty.
    """
    if isinstance(queries, str):
        return _not_empty([queries])
    first = next(iter(queries), None) if isinstance(queries, Sequence) else None
    if isinstance(first, str) or (first is None and isinstance(queries, Sequence)):
        return _not_empty(as_texts(queries, name="queries"))
    if isinstance(queries, np.ndarray) and queries.dtype.kind in "UO":
        return _not_empty(as_texts(queries, name="queries"))
    embeddings = as_embeddings(queries, name="queries")
    return embeddings[None] if embeddings.ndim == 1 else embeddings


def _not_empty(texts: list[str]) -> list[str]:
    for number, text in enumerate(texts):
        if not text.strip():
            problem = f"queries[{number}] is empty ({text!r:.20})."
            raise InvalidArgument(f"{problem} Pass a text with at least one word.")
    return texts


def given_vectors(embeddings: object, ids: Sequence[str]) -> Embeddings:
    """Check the vectors of documents, and return them as float32.

    Raises:
        InvalidArgument: If there is not one vector per document, or a vector is zero: its score
            is 0 for every query.
    """
    vectors = as_float32(as_embeddings(embeddings))
    if vectors.ndim != 2 or len(vectors) != len(ids):
        problem = f"embeddings have shape {vectors.shape} for {len(ids):,} documents."
        raise InvalidArgument(f"{problem} Pass an array of shape [n, full_dim].")
    empty = np.flatnonzero(~vectors.any(axis=1))
    if len(empty):
        row = int(empty[0])
        problem = f"vector {row} (id {ids[row]!r}) is zero."
        raise InvalidArgument(f"{problem} Encode the document again, or omit the document.")
    return vectors


def _check(name: str, values: Sequence[Any] | None, n: int, kind: type) -> None:
    if values is None:
        return
    if len(values) != n:
        raise InvalidArgument(f"{len(values):,} {name} for {n:,} ids. Pass one item per document.")
    for number, value in enumerate(values):
        if not isinstance(value, kind):
            found = type(value).__name__
            problem = f"{name}[{number}] has type {found}."
            raise InvalidArgument(f"{problem} Pass a {kind.__name__}.")
