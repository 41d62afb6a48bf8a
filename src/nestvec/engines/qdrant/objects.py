"""Convert request bodies of Qdrant's REST API to the classes of Qdrant Edge."""

from __future__ import annotations

from functools import cache
from typing import Any

from nestvec.engines.qdrant.requests import Body, as_filter
from nestvec.errors import require


@cache
def library() -> Any:
    """Return the module of Qdrant Edge.

    Raises:
        MissingExtra: If it is not installed.
    """
    return require("qdrant_edge", extra="qdrant")


def config(vectors: Body, optimizers: Body) -> Any:
    """Return the configuration of a shard."""
    edge = library()
    return edge.EdgeConfig(
        vectors={name: _vector_params(values) for name, values in vectors.items()},
        payload_memory=edge.Memory.Cold,
        optimizers=edge.EdgeOptimizersConfig(**optimizers),
    )


def query(body: Body) -> Any:
    """Return a query."""
    edge = library()
    return edge.QueryRequest(**_query(body))


def filter_of(body: Body | None) -> Any:
    """Return a filter; None without a body."""
    if body is None:
        return None
    parts = as_filter(body)
    return library().Filter(
        **{part: [_condition(each) for each in conditions] for part, conditions in parts.items()}
    )


def update(body: Body) -> Any:
    """Return a change: its kind is the only key of the body."""
    edge, ((kind, values),) = library(), body.items()
    operations = edge.UpdateOperation
    match kind:
        case "upsert":
            points = [
                edge.Point(point["id"], point["vector"], point["payload"]) for point in values
            ]
            return operations.upsert_points(points)
        case "delete":
            return operations.delete_points(values)
        case "update_vectors":
            # The filter is for other processes, and this process holds the lock of the index.
            return operations.update_vectors(
                [edge.PointVectors(point["id"], point["vector"]) for point in values["points"]]
            )
        case "create_vector":
            return operations.create_dense_vector(
                values["name"],
                values["size"],
                edge.Distance.Dot,
                datatype=_datatype(values["datatype"]),
            )
        case "delete_vector":
            return operations.delete_vector_name(values)
        case "create_index":
            schema = getattr(edge.PayloadSchemaType, values["field_schema"].capitalize())
            return operations.create_field_index(values["field_name"], schema)
    raise TypeError(f"{kind} is not a known change")


def _query(body: Body) -> dict[str, Any]:
    edge = library()
    arguments: dict[str, Any] = {
        "limit": body["limit"],
        "query": edge.Query.Nearest(body["query"], using=body["using"]),
        "filter": filter_of(body.get("filter")),
        "params": _search_params(body["params"]),
    }
    if "prefetch" in body:
        arguments["prefetches"] = [edge.Prefetch(**_query(body["prefetch"]))]
    return arguments


def _search_params(body: Body) -> Any:
    edge = library()
    quantization = body.get("quantization")
    if quantization is not None:
        quantization = edge.QuantizationSearchParams(**quantization)
    return edge.SearchParams(
        hnsw_ef=body.get("hnsw_ef"), exact=body.get("exact", False), quantization=quantization
    )


def _condition(body: Body) -> Any:
    edge = library()
    if "has_id" in body:
        return edge.HasIdCondition(set(body["has_id"]))
    if "has_vector" in body:
        return edge.HasVectorCondition(body["has_vector"])
    if "range" in body:
        return edge.FieldCondition(body["key"], range=edge.RangeFloat(**body["range"]))
    if "match" in body:
        return edge.FieldCondition(body["key"], match=edge.MatchAny(body["match"]["any"]))
    return filter_of(body)


def _vector_params(body: Body) -> Any:
    edge = library()
    return edge.EdgeVectorParams(
        size=body["size"],
        distance=getattr(edge.Distance, body["distance"]),
        datatype=_datatype(body["datatype"]),
        hnsw_config=edge.HnswIndexConfig(**body["hnsw_config"]),
        quantization_config=_quantization(body.get("quantization_config")),
        memory=_memory(body["memory"]),
    )


def _quantization(body: Body | None) -> Any:
    edge = library()
    match body:
        case None:
            return None
        case {"scalar": {"memory": memory}}:
            return edge.ScalarQuantizationConfig(
                type=edge.ScalarType.Int8, quantile=None, memory=_memory(memory)
            )
        case {"turbo": {"bits": bits, "memory": memory}}:
            size = getattr(edge.TurboQuantBitSize, bits.capitalize())
            return edge.TurboQuantQuantizationConfig(bits=size, memory=_memory(memory))
    raise TypeError(f"{body} is not a known quantization")


def _memory(name: str) -> Any:
    return getattr(library().Memory, name.capitalize())


def _datatype(name: str) -> Any:
    return getattr(library().VectorStorageDatatype, name.capitalize())
