"""Azure AI Search: one vector field, which the service truncates, quantizes and rescores."""

from __future__ import annotations

from typing import Any

from nestvec.export.recipes.blocks import console, prefix_part, query_placeholder
from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.request import RESULTS, RecipeRequest

_VERSION = "2026-04-01"
_LARGEST_M, _EF_CONSTRUCTION = 10, 400
_LEAST_EF_SEARCH, _LARGEST_EF_SEARCH = 100, 1_000
_TYPES = {"float16": "Edm.Half"}
_INT8: dict[str, Any] = {
    "kind": "scalarQuantization",
    "scalarQuantizationParameters": {"quantizedDataType": "int8"},
}


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    last = request.fields()[-1]
    index = request.name.replace("_", "-")
    vector = {
        "name": last.name,
        "type": f"Collection({_TYPES.get(last.stage.precision, 'Edm.Single')})",
        "searchable": True,
        "retrievable": False,
        "dimensions": last.dim,
        "vectorSearchProfile": "nestvec",
    }
    fields = [
        {"name": "id", "type": "Edm.String", "key": True},
        {"name": "category", "type": "Edm.String", "filterable": True},
        vector,
    ]
    body = {"name": index, "fields": fields, "vectorSearch": _vectors(request, quantizer)}
    document = {
        "@search.action": "mergeOrUpload",
        "id": "ID",
        "category": "news",
        last.name: f"VECTOR_{last.dim}",
    }
    parts = (
        prefix_part({last.name: last.dim}),
        console("Index", f"PUT /indexes/{index}?api-version={_VERSION}", body),
        console(
            "Documents",
            f"POST /indexes/{index}/docs/index?api-version={_VERSION}",
            {"value": [document]},
        ),
        console(
            "Query", f"POST /indexes/{index}/docs/search?api-version={_VERSION}", _search(request)
        ),
    )
    return parts, tuple(_notes(request, quantizer))


def _vectors(request: RecipeRequest, quantizer: EngineQuantizer) -> dict[str, Any]:
    parameters = {
        "m": _LARGEST_M,
        "efConstruction": _EF_CONSTRUCTION,
        "efSearch": _ef_search(request),
        "metric": _metric(request),
    }
    algorithm = {"name": "graph", "kind": "hnsw", "hnswParameters": parameters}
    profile = {"name": "nestvec", "algorithm": "graph"}
    settings = _compression(request, quantizer)
    if not settings:
        return {"algorithms": [algorithm], "profiles": [profile]}
    return {
        "algorithms": [algorithm],
        "compressions": [{"name": "codes", **settings}],
        "profiles": [profile | {"compression": "codes"}],
    }


def _compression(request: RecipeRequest, quantizer: EngineQuantizer) -> dict[str, Any]:
    first, last = request.fields()[0], request.fields()[-1]
    if len(request.point.stages) == 1:
        settings = dict(quantizer.settings or {})
        return settings | {"rescoringOptions": {"enableRescoring": False}} if settings else {}
    settings = dict(quantizer.settings or _INT8)
    if first.dim < last.dim:
        settings["truncationDimension"] = first.dim
    settings["rescoringOptions"] = {
        "enableRescoring": True,
        "defaultOversampling": _oversampling(request),
        "rescoreStorageMethod": "preserveOriginals",
    }
    return settings


def _search(request: RecipeRequest) -> dict[str, Any]:
    last = request.fields()[-1]
    query: dict[str, Any] = {
        "kind": "vector",
        "vector": query_placeholder(last.dim),
        "fields": last.name,
        "k": RESULTS,
    }
    if len(request.point.stages) > 1:
        query["oversampling"] = _oversampling(request)
    return {
        "select": "id,category",
        "filter": "category eq 'news'",
        "vectorFilterMode": "preFilter",
        "vectorQueries": [query],
    }


def _oversampling(request: RecipeRequest) -> float:
    return max(1.0, request.candidates / RESULTS)


def _metric(request: RecipeRequest) -> str:
    """Return the metric: cosine for prefixes, which the service may not normalize again."""
    return "dotProduct" if request.metric == "ip" and not _truncates(request) else "cosine"


def _truncates(request: RecipeRequest) -> bool:
    return request.first.dim < request.point.stages[-1].dim


def _ef_search(request: RecipeRequest) -> int:
    return min(_LARGEST_EF_SEARCH, max(_LEAST_EF_SEARCH, request.candidates))


def _notes(request: RecipeRequest, quantizer: EngineQuantizer) -> list[str]:
    last = request.fields()[-1].dim
    notes = [
        f"VECTOR_{last} and QUERY_{last} stand for lists of numbers. Send the requests to "
        f"https://SERVICE.search.windows.net with the header api-key or a bearer token. Replace "
        f"the filter by your own, or remove it.",
        f"oversampling is keep divided by k. Change it together with k={RESULTS}.",
    ]
    stages = request.point.stages
    if len(stages) > 2:
        middle = ", ".join(str(stage) for stage in stages[1:-1])
        notes.append(
            f"No stage {middle}: all {request.candidates:,} candidates are scored with the last "
            f"stage, which reads more vectors and finds at least as much."
        )
    if len(stages) > 1 and quantizer.settings is None:
        notes.append(
            "Truncation needs a quantizer there: the recipe uses scalarQuantization (int8). Its "
            "loss is not measured."
        )
    if _truncates(request) and request.metric == "ip":
        notes.append("The metric is cosine, so that prefixes need not have unit length.")
    if request.candidates > _LARGEST_EF_SEARCH:
        notes.append(
            f"efSearch is at most {_LARGEST_EF_SEARCH:,}, below the {request.candidates:,} "
            f"candidates: count the results."
        )
    return notes


_ONE_BIT = EngineQuantizer("binaryQuantization (1 bit)", {"kind": "binaryQuantization"})
RECIPE = EngineRecipe(
    version=f"REST API {_VERSION}; checked with the models of azure-search-documents 12.0",
    quantizers={
        "float32": EngineQuantizer("float32", is_exact=True),
        "float16": EngineQuantizer("float16", is_exact=True),
        "int8": EngineQuantizer("scalarQuantization (int8)", _INT8),
        "int4": EngineQuantizer("scalarQuantization (int8)", _INT8),
        "int2": EngineQuantizer("scalarQuantization (int8)", _INT8),
        "binary": _ONE_BIT,
        "sign": _ONE_BIT,
        "pq4": EngineQuantizer("scalarQuantization (int8)", _INT8),
    },
    limits=EngineLimits(dims=4_096, candidates=None),
    write=_write,
    stores_float16=True,
    skips_middle=True,
)
