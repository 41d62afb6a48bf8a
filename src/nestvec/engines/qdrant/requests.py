"""Request bodies in the form of Qdrant's REST API.

``objects`` converts a body to the classes of Edge, and ``qdrant_server`` converts it to those of
qdrant-client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nestvec.engines.filters.qdrant import FIELDS, VALUES
from nestvec.types import Embeddings

Body = dict[str, Any]
PAYLOAD_INDEXES: tuple[Body, ...] = tuple(
    {"create_index": {"field_name": key, "field_schema": "keyword"}} for key in (FIELDS, VALUES)
)


class Step(NamedTuple):
    """One stage of a search of one query.

    Attributes:
        vector: The query's prefix, [dim].
        using: The name of the vector that is searched.
        limit: Number of points to return.
    """

    vector: Embeddings
    using: str
    limit: int


def exhaustive(step: Step, where: Body | None, allowed: Sequence[str] | None) -> Body:
    """Return a query that scores all points, or those of a shortlist.

    Args:
        step: The stage.
        where: Score only points that match this filter.
        allowed: The ids of the shortlist; None for all points.
    """
    if allowed is not None:
        where = {"must": [{"has_id": list(allowed)}]}  # the shortlist matches ``where`` already
    return _nearest(step, where, {"exact": True})


def approximate(steps: Sequence[Step], where: Body | None, params: Body) -> Body:
    """Return a query that runs all stages: each shortlist is the prefetch of the next stage.

    Args:
        steps: The stages, the first stage first.
        where: Search only points that match this filter.
        params: The parameters of the search in the index of the first stage.
    """
    first, *later = steps
    body = _nearest(first, where, params)
    for step in later:
        body = {**_nearest(step, None, {"exact": True}), "prefetch": body}
    return body


def as_filter(body: Body) -> Body:
    """Return a filter; a condition alone is wrapped in one."""
    return body if body.keys() & {"must", "should", "must_not"} else {"must": [body]}


def search_params(hnsw_ef: int, oversampling: float | None) -> Body:
    """Return the parameters of a search in an index.

    Args:
        hnsw_ef: Number of candidates that the search keeps. Below the limit of the query, the
            shortlist would be less exact without notice.
        oversampling: Number of candidates for each result that the original vectors rescore.
            Without a value, Edge would fetch one. None to search vectors that are not quantized:
            Edge keeps quantized vectors if the new configuration has none.
    """
    quantization: Body = {"ignore": True}
    if oversampling is not None:
        quantization = {"rescore": True, "oversampling": oversampling}
    return {"hnsw_ef": hnsw_ef, "quantization": quantization}


def _nearest(step: Step, where: Body | None, params: Body) -> Body:
    body = {"query": step.vector.tolist(), "using": step.using, "limit": step.limit}
    return body | {"params": params} | ({} if where is None else {"filter": where})
