"""OpenSearch: ``knn_vector`` fields, a kNN query on the first, and rescorers."""

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

_SPACES = {"ip": "innerproduct", "cosine": "cosinesimil"}


def _encoder(bits: int) -> dict[str, Any]:
    parameters: dict[str, Any] = {"bits": bits, "random_rotation": True}
    if bits == 1:
        parameters["enable_adc"] = True  # full precision of the query
    return {"method": _faiss({"name": "binary", "parameters": parameters})}


def _faiss(encoder: dict[str, Any] | None = None) -> dict[str, Any]:
    parameters: dict[str, Any] = {"m": M, "ef_construction": EF_CONSTRUCTION}
    if encoder is not None:
        parameters["encoder"] = encoder
    return {"name": "hnsw", "engine": "faiss", "parameters": parameters}


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    fields = request.stored()
    properties: dict[str, Any] = {"category": {"type": "keyword"}}
    for number, (name, dim) in enumerate(fields.items()):
        settings = quantizer.settings if number == 0 else {"method": {"name": "flat"}}
        space = _SPACES[request.metric]
        properties[name] = {
            "type": "knn_vector",
            "dimension": dim,
            "space_type": space,
            **settings,
        }
    index = {
        "settings": {"index": {"knn": True}},
        "mappings": {"properties": properties},
    }
    parts = (
        prefix_part(fields),
        console("Index", f"PUT /{request.name}", index),
        document_part(request, fields),
        console("Query", f"POST /{request.name}/_search", _search(request, quantizer)),
    )
    notes = [
        f"{VECTORS_NOTE} Replace match_all by a filter, such as a term query on category.",
        "Every shard returns and rescores its own candidates, so the shortlist is longer with "
        "several shards.",
    ]
    if len(fields) > 1:
        notes.append(
            "The method flat builds no graph for the fields of later stages. It needs OpenSearch "
            "3.6 or later."
        )
    return parts, tuple(notes)


def _search(request: RecipeRequest, quantizer: EngineQuantizer) -> dict[str, Any]:
    first, *later = request.fields()
    knn: dict[str, Any] = {
        "vector": query_placeholder(first.dim),
        "k": request.candidates,
        "filter": {"match_all": {}},
    }
    if "method" in quantizer.settings:  # Lucene's engine tracks k candidates
        knn["method_parameters"] = {"ef_search": request.ef_search}
    if not quantizer.is_exact:
        knn["rescore"] = False  # later stages rescore, as planned
    body: dict[str, Any] = {
        "size": RESULTS,
        "_source": ["category"],
        "query": {"knn": {first.name: knn}},
    }
    scripts = [_script(request, field) for field in later]
    return body | ({"rescore": rescorers(request, scripts)} if later else {})


def _script(request: RecipeRequest, field: StageField) -> dict[str, Any]:
    """Return the script of the exact score."""
    parameters = {
        "field": field.name,
        "query_value": query_placeholder(field.dim),
        "space_type": _SPACES[request.metric],
    }
    return {"lang": "knn", "source": "knn_score", "params": parameters}


_ONE_BIT = EngineQuantizer("the Faiss encoder binary with 1 bit and a rotation", _encoder(1))
_TWO_BITS = EngineQuantizer(
    "the Faiss encoder binary with 2 bits and a random rotation", _encoder(2)
)
RECIPE = EngineRecipe(
    version="OpenSearch 3.6; the requests are checked for their form only",
    quantizers={
        "float32": EngineQuantizer("float32", {"method": _faiss()}, is_exact=True),
        "float16": EngineQuantizer(
            "the Faiss encoder sq (float16)",
            {"method": _faiss({"name": "sq", "parameters": {"type": "fp16"}})},
            is_exact=True,
        ),
        "int8": EngineQuantizer(
            "Lucene's scalar quantization (compression_level 4x)",
            {"mode": "on_disk", "compression_level": "4x"},
        ),
        "int4": EngineQuantizer("the Faiss encoder binary with 4 bits and a rotation", _encoder(4)),
        "int2": _TWO_BITS,
        "binary": _ONE_BIT,
        "sign": _ONE_BIT,
        "pq4": _TWO_BITS,
    },
    limits=EngineLimits(dims=16_000, candidates=10_000),
    write=_write,
)
