"""Elasticsearch: ``dense_vector`` fields, a kNN search on the first, and rescorers."""

from __future__ import annotations

from typing import Any

from nestvec.export.recipes.blocks import (
    VECTORS_NOTE,
    console,
    document_part,
    prefix_part,
    query_placeholder,
    rescorers,
)
from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.request import EF_CONSTRUCTION, RESULTS, M, RecipeRequest, StageField

_SIMILARITY = {"ip": "dot_product", "cosine": "cosine"}
_LEAST_BBQ_DIMS = 64
_INT4 = EngineQuantizer("int4_hnsw (4 bits)", "int4_hnsw")
_BBQ = EngineQuantizer("bbq_hnsw (1 bit)", "bbq_hnsw")
_FLOAT = EngineQuantizer("hnsw (float32)", "hnsw", is_exact=True)


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    kind, notes = quantizer.settings, []
    if kind == "bbq_hnsw" and request.first.dim < _LEAST_BBQ_DIMS:
        kind = "int8_hnsw"
        notes.append(
            f"bbq_hnsw needs {_LEAST_BBQ_DIMS} dims, and stage {request.first} has "
            f"{request.first.dim}. The recipe uses int8_hnsw, which needs more memory."
        )
    elif kind == "int4_hnsw" and request.first.dim % 2:
        kind = "int8_hnsw"
        notes.append("int4_hnsw needs an even number of dims. The recipe uses int8_hnsw.")
    fields = request.stored()
    body = {
        "mappings": {
            "properties": {
                "category": {"type": "keyword"},
                **{name: _field(request, name, dim, kind) for name, dim in fields.items()},
            }
        }
    }
    parts = (
        prefix_part(fields),
        console("Index", f"PUT /{request.name}", body),
        document_part(request, fields),
        console("Query", f"POST /{request.name}/_search", _search(request, kind)),
    )
    notes.append(f"{VECTORS_NOTE} Replace match_all by a filter, such as a term query on category.")
    return parts, tuple(notes)


def _field(request: RecipeRequest, name: str, dim: int, kind: str) -> dict[str, Any]:
    field: dict[str, Any] = {"type": "dense_vector", "dims": dim}
    if name != request.fields()[0].name:
        return field | {"index": False}
    options = {"type": kind, "m": M, "ef_construction": EF_CONSTRUCTION}
    similarity = _SIMILARITY[request.metric]
    return field | {"index": True, "similarity": similarity, "index_options": options}


def _search(request: RecipeRequest, kind: str) -> dict[str, Any]:
    first, *later = request.fields()
    knn: dict[str, Any] = {
        "field": first.name,
        "query_vector": query_placeholder(first.dim),
        "k": request.candidates,
        "num_candidates": request.ef_search,
        "filter": {"match_all": {}},
    }
    if kind != "hnsw":
        knn["rescore_vector"] = {"oversample": 0}  # later stages rescore, as planned
    body: dict[str, Any] = {"size": RESULTS, "_source": ["category"], "knn": knn}
    return body | ({"rescore": rescorers(request, [_script(f) for f in later])} if later else {})


def _script(field: StageField) -> dict[str, Any]:
    """Return the script of the exact score, which must not be negative."""
    source = f"dotProduct(params.query, '{field.name}') + 1.0"
    return {"source": source, "params": {"query": query_placeholder(field.dim)}}


RECIPE = EngineRecipe(
    version="Elasticsearch 9; checked with the types of elasticsearch-py 9.5",
    quantizers={
        "float32": _FLOAT,
        "float16": _FLOAT,
        "int8": EngineQuantizer("int8_hnsw (8 bits)", "int8_hnsw"),
        "int4": _INT4,
        "int2": _INT4,
        "binary": _BBQ,
        "sign": _BBQ,
        "pq4": _INT4,
    },
    limits=EngineLimits(dims=4_096, candidates=10_000),
    write=_write,
    float_codes=("float32",),
)
