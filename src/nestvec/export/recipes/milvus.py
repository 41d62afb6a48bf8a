"""Milvus: one vector field for each stage, and one search for each stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.python_client import columns, divisor_near, later_searches, vectors_part
from nestvec.export.recipes.request import EF_CONSTRUCTION, M, RecipeRequest, StageField

_METRICS = {"ip": "IP", "cosine": "COSINE"}
_GRAPH: dict[str, Any] = {"M": M, "efConstruction": EF_CONSTRUCTION}
_LISTS, _PROBES = 1_024, 128


def _graph(kind: str, **more: Any) -> Callable[[int], tuple[str, dict[str, Any]]]:
    return lambda dim: (kind, {**_GRAPH, **more})


def _product_codes(dim: int) -> tuple[str, dict[str, Any]]:
    return "HNSW_PQ", {**_GRAPH, "m": divisor_near(dim, dim // 4), "nbits": 8}


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    fields = request.fields(separate=True)
    stored = {field.name: field.dim for field in fields}
    index, parameters = quantizer.settings(request.first.dim)
    parts = (
        vectors_part(stored),
        RecipePart("Collection", "python", _collection(request, fields, index, parameters)),
        RecipePart("Documents", "python", _documents(request, stored)),
        RecipePart("Query", "python", _query(request, fields, index)),
    )
    notes = [
        "Milvus has no search in stages: the query is one call for each stage, and the ids of the "
        "shortlist are a filter of the next call."
        if len(fields) > 1
        else "The query is one call."
    ]
    if index == "IVF_RABITQ":
        notes.append(
            f"IVF_RABITQ needs Milvus 2.6 or later. It searches {_PROBES} of {_LISTS:,} lists: "
            f"raise nprobe if it returns fewer than {request.candidates:,} documents."
        )
    return parts, tuple(notes)


def _collection(
    request: RecipeRequest,
    fields: tuple[StageField, ...],
    index: str,
    parameters: dict[str, Any],
) -> str:
    metric = _METRICS[request.metric]
    lines = [
        "from pymilvus import DataType, MilvusClient",
        "",
        'client = MilvusClient("http://localhost:19530")',
        "schema = client.create_schema(auto_id=False)",
        'schema.add_field("id", DataType.VARCHAR, max_length=512, is_primary=True)',
        'schema.add_field("category", DataType.VARCHAR, max_length=512)',
    ]
    indexes = []
    for number, (name, dim) in enumerate({f.name: f.dim for f in fields}.items()):
        lines.append(f'schema.add_field("{name}", DataType.FLOAT_VECTOR, dim={dim})')
        kind, settings = (index, parameters) if number == 0 else ("FLAT", {})
        indexes.append(
            f'indexes.add_index("{name}", index_type="{kind}", metric_type="{metric}", '
            f"params={json.dumps(settings)})"
        )
    lines += ["indexes = client.prepare_index_params()", *indexes]
    lines.append(f'client.create_collection("{request.name}", schema=schema, index_params=indexes)')
    return "\n".join(lines)


def _documents(request: RecipeRequest, stored: dict[str, int]) -> str:
    return f"""\
stored = {{{columns(stored)}}}
client.insert(
    "{request.name}",
    [
        {{
            "id": id_,
            "category": "news",
            **{{name: rows[n].tolist() for name, rows in stored.items()}},
        }}
        for n, id_ in enumerate(ids)
    ],
)
client.flush("{request.name}")"""


def _query(request: RecipeRequest, fields: tuple[StageField, ...], index: str) -> str:
    first, later = fields[0], later_searches(fields)
    width = {"nprobe": _PROBES} if index.startswith("IVF") else {"ef": request.ef_search}
    lines = [
        "import json",
        "",
        'where = ""  # or a filter, such as \'category == "news"\'',
        "hits = client.search(",
        f'    "{request.name}",',
        f"    data=[prefix(query, {first.dim}).tolist()],",
        f'    anns_field="{first.name}",',
        f"    limit={request.candidates},",
        "    filter=where,",
        f"    search_params={json.dumps({'params': width})},",
        ")[0]",
    ]
    for name, dim, keep in later:
        lines += [
            "hits = client.search(",
            f'    "{request.name}",',
            f"    data=[prefix(query, {dim}).tolist()],",
            f'    anns_field="{name}",',
            f"    limit={keep},",
            "    filter=f\"id in {json.dumps([hit['id'] for hit in hits])}\",",
            ")[0]",
        ]
    return "\n".join(lines[0 if later else 2 :])


_SQ6 = EngineQuantizer("HNSW_SQ with SQ6 (6 bits)", _graph("HNSW_SQ", sq_type="SQ6"))
_ONE_BIT = EngineQuantizer(
    "IVF_RABITQ (1 bit, rotated)", lambda dim: ("IVF_RABITQ", {"nlist": _LISTS})
)
RECIPE = EngineRecipe(
    version="Milvus 2.6; run with Milvus Lite 3.2, which does not build all of these indexes",
    quantizers={
        "float32": EngineQuantizer("HNSW", _graph("HNSW"), is_exact=True),
        "float16": EngineQuantizer(
            "HNSW_SQ with FP16", _graph("HNSW_SQ", sq_type="FP16"), is_exact=True
        ),
        "int8": EngineQuantizer("HNSW_SQ with SQ8", _graph("HNSW_SQ", sq_type="SQ8")),
        "int4": _SQ6,
        "int2": _SQ6,
        "binary": _ONE_BIT,
        "sign": _ONE_BIT,
        "pq4": EngineQuantizer("HNSW_PQ with 2 bits a dim", _product_codes),
    },
    limits=EngineLimits(dims=32_768, candidates=16_384),
    write=_write,
)
