"""Weaviate: one named vector for each stage, and one query for each stage."""

from __future__ import annotations

from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.python_client import columns, divisor_near, later_searches, vectors_part
from nestvec.export.recipes.request import EF_CONSTRUCTION, M, RecipeRequest, StageField

_DISTANCES = {"ip": "DOT", "cosine": "COSINE"}


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    fields = request.fields(separate=True)
    stored = {field.name: field.dim for field in fields}
    parts = (
        vectors_part(stored),
        RecipePart("Collection", "python", _collection(request, stored, quantizer)),
        RecipePart("Documents", "python", _documents(stored)),
        RecipePart("Query", "python", _query(request, fields)),
    )
    notes = ["Ids of objects are UUIDs, computed from the ids of documents."]
    if len(fields) > 1:
        notes.append(
            "Weaviate has no search in stages: the query is one call for each stage, and the ids "
            "of the shortlist are a filter of the next call."
        )
    if not quantizer.is_exact:
        notes.append(
            "Weaviate rescores the candidates of the first stage with the stored prefix, which "
            "reads more than planned."
        )
    return parts, tuple(notes)


def _collection(request: RecipeRequest, stored: dict[str, int], quantizer: EngineQuantizer) -> str:
    distance = f"distance_metric=VectorDistances.{_DISTANCES[request.metric]}"
    vectors = []
    for number, (name, dim) in enumerate(stored.items()):
        if number == 0:
            codes = quantizer.settings.format(
                limit=request.candidates, segments=divisor_near(dim, dim // 4)
            )
            index = (
                f"hnsw(\n                {distance}, ef={request.ef_search}, "
                f"ef_construction={EF_CONSTRUCTION}, max_connections={M},\n"
                f"                quantizer=Configure.VectorIndex.Quantizer.{codes},\n            )"
            )
        else:
            index = f"flat(\n                {distance}, quantizer={_NONE}\n            )"
        vectors.append(
            f"        Configure.Vectors.self_provided(\n"
            f'            name="{name}",\n'
            f"            vector_index_config=Configure.VectorIndex.{index},\n"
            f"        ),"
        )
    lines = "\n".join(vectors)
    return f"""\
import weaviate
from weaviate.classes.config import Configure, DataType, Property, VectorDistances

client = weaviate.connect_to_local()
docs = client.collections.create(
    "{request.name.capitalize()}",
    properties=[
        Property(name="doc_id", data_type=DataType.TEXT),
        Property(name="category", data_type=DataType.TEXT),
    ],
    vector_config=[
{lines}
    ],
)"""


def _documents(stored: dict[str, int]) -> str:
    return f"""\
from weaviate.util import generate_uuid5

stored = {{{columns(stored)}}}
with docs.batch.fixed_size(batch_size=200) as batch:
    for n, id_ in enumerate(ids):
        batch.add_object(
            properties={{"doc_id": id_, "category": "news"}},
            uuid=generate_uuid5(id_),
            vector={{name: rows[n].tolist() for name, rows in stored.items()}},
        )"""


def _query(request: RecipeRequest, fields: tuple[StageField, ...]) -> str:
    first, later = fields[0], later_searches(fields)
    lines = [
        "from weaviate.classes.query import Filter",
        "",
        'where = None  # or a filter, such as Filter.by_property("category").equal("news")',
        "hits = docs.query.near_vector(",
        f"    prefix(query, {first.dim}).tolist(),",
        f'    target_vector="{first.name}",',
        f"    limit={request.candidates},",
        "    filters=where,",
        ").objects",
    ]
    for name, dim, keep in later:
        lines += [
            "hits = docs.query.near_vector(",
            f"    prefix(query, {dim}).tolist(),",
            f'    target_vector="{name}",',
            f"    limit={keep},",
            "    filters=Filter.by_id().contains_any([hit.uuid for hit in hits]),",
            ").objects",
        ]
    return "\n".join(lines)


_NONE = "Configure.VectorIndex.Quantizer.none()"
_ROTATED = EngineQuantizer("rotational quantization (8 bits)", "rq(bits=8, rescore_limit={limit})")
_FLOAT = EngineQuantizer("float32", "none()", is_exact=True)
RECIPE = EngineRecipe(
    version="Weaviate 1.33; checked with the models of weaviate-client 4.24",
    quantizers={
        "float32": _FLOAT,
        "float16": _FLOAT,
        "int8": _ROTATED,
        "int4": _ROTATED,
        "int2": _ROTATED,
        "binary": EngineQuantizer(
            "rotational quantization (1 bit)", "rq(bits=1, rescore_limit={limit})"
        ),
        "sign": EngineQuantizer("binary quantization (sign bits)", "bq(rescore_limit={limit})"),
        "pq4": EngineQuantizer("product quantization (2 bits a dim)", "pq(segments={segments})"),
    },
    limits=EngineLimits(dims=65_535, candidates=10_000),
    write=_write,
    float_codes=("float32",),
)
