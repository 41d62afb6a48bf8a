"""Qdrant: named vectors, and one query with nested prefetches."""

from __future__ import annotations

from textwrap import indent

from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.python_client import columns, vectors_part
from nestvec.export.recipes.request import EF_CONSTRUCTION, RESULTS, M, RecipeRequest, StageField

_DISTANCES = {"ip": "DOT", "cosine": "COSINE"}


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    stored = request.stored()
    parts = (
        vectors_part(stored),
        RecipePart("Collection", "python", _collection(request, quantizer)),
        RecipePart("Documents", "python", _documents(request)),
        RecipePart("Query", "python", _query(request, quantizer)),
    )
    notes = ("Ids of points are UUIDs, computed from the ids of documents.",)
    return parts, notes


def _collection(request: RecipeRequest, quantizer: EngineQuantizer) -> str:
    seen: dict[str, str] = {}
    for number, field in enumerate(request.fields()):
        seen.setdefault(field.name, _vector_params(request, field, quantizer, indexed=number == 0))
    vectors = "\n".join(seen.values())
    return f"""\
from qdrant_client import QdrantClient, models

client = QdrantClient("http://localhost:6333")
client.create_collection(
    "{request.name}",
    vectors_config={{
{indent(vectors, " " * 8)}
    }},
)
client.create_payload_index("{request.name}", "category", models.PayloadSchemaType.KEYWORD)"""


def _vector_params(
    request: RecipeRequest, field: StageField, quantizer: EngineQuantizer, *, indexed: bool
) -> str:
    half = ", datatype=models.Datatype.FLOAT16" if field.stage.precision == "float16" else ""
    distance = f"distance=models.Distance.{_DISTANCES[request.metric]}"
    lines = [f'"{field.name}": models.VectorParams(', f"    size={field.dim}, {distance}{half},"]
    if not indexed:
        lines.append("    hnsw_config=models.HnswConfigDiff(m=0), on_disk=True,  # no graph")
        return "\n".join([*lines, "),"])
    lines.append(f"    hnsw_config=models.HnswConfigDiff(m={M}, ef_construct={EF_CONSTRUCTION}),")
    if quantizer.settings:
        lines.append(f"    quantization_config={quantizer.settings}, on_disk=True,")
    return "\n".join([*lines, "),"])


def _documents(request: RecipeRequest) -> str:
    return f"""\
from uuid import NAMESPACE_URL, uuid5

stored = {{{columns(request.stored())}}}
client.upload_points(
    "{request.name}",
    [
        models.PointStruct(
            id=str(uuid5(NAMESPACE_URL, id_)),
            vector={{name: rows[n].tolist() for name, rows in stored.items()}},
            payload={{"id": id_, "category": "news"}},
        )
        for n, id_ in enumerate(ids)
    ],
    wait=True,
)"""


def _query(request: RecipeRequest, quantizer: EngineQuantizer) -> str:
    """Return the query: each stage is the prefetch of the next one."""
    *earlier, last = request.fields()
    arguments = ""
    for field in earlier:
        arguments = _stage(request, field, quantizer, arguments, is_last=False)
        arguments = f"prefetch=models.Prefetch(\n{indent(arguments, ' ' * 4)}\n),\n"
    arguments = _stage(request, last, quantizer, arguments, is_last=True)
    where = (
        "where = None  # or models.Filter(must=[models.FieldCondition("
        'key="category", match=models.MatchValue(value="news"))])\n'
    )
    exact = (
        "exact = models.SearchParams(\n    exact=True,"
        " quantization=models.QuantizationSearchParams(ignore=True)\n)\n"
    )
    call = f'hits = client.query_points(\n    "{request.name}",\n{indent(arguments, " " * 4)}\n)'
    return f"{where}{exact if earlier else ''}{call}.points"


def _stage(
    request: RecipeRequest,
    field: StageField,
    quantizer: EngineQuantizer,
    prefetch: str,
    *,
    is_last: bool,
) -> str:
    """Return the arguments of a stage, which differ between a query and a prefetch."""
    settings, where = ("search_params", "query_filter") if is_last else ("params", "filter")
    lines = [f"query=prefix(query, {field.dim}).tolist(),", f'using="{field.name}",']
    if prefetch:
        lines.append(f"{settings}=exact,")
    else:
        codes = ", quantization=models.QuantizationSearchParams(rescore=False)"
        more = codes if quantizer.settings else ""
        lines.append(f"{settings}=models.SearchParams(hnsw_ef={request.ef_search}{more}),")
        lines.append(f"{where}=where,")
    lines.append(f"limit={field.stage.keep or RESULTS},")
    return prefetch + "\n".join(lines)


def _turbo(bits: str) -> EngineQuantizer:
    config = f"models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.{bits}"
    name = f"TurboQuant with bits={bits.removeprefix('BITS')}"
    return EngineQuantizer(name, f"models.TurboQuantization(turbo={config}, always_ram=True))")


RECIPE = EngineRecipe(
    version="Qdrant 1.18; run with the local mode of qdrant-client 1.20, not with a server",
    quantizers={
        "float32": EngineQuantizer("float32", is_exact=True),
        "float16": EngineQuantizer("float16", is_exact=True),
        "int8": EngineQuantizer(
            "scalar quantization (int8)",
            "models.ScalarQuantization(\n        scalar=models.ScalarQuantizationConfig(\n"
            "            type=models.ScalarType.INT8, quantile=0.99, always_ram=True\n"
            "        )\n    )",
        ),
        "int4": _turbo("BITS4"),
        "int2": _turbo("BITS2"),
        "binary": _turbo("BITS1"),
        "sign": EngineQuantizer(
            "binary quantization (sign bits)",
            "models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))",
        ),
        "pq4": EngineQuantizer(
            "product quantization (x16)",
            "models.ProductQuantization(\n        product=models.ProductQuantizationConfig(\n"
            "            compression=models.CompressionRatio.X16, always_ram=True\n"
            "        )\n    )",
        ),
    },
    limits=EngineLimits(dims=65_535),
    write=_write,
    stores_float16=True,
)
