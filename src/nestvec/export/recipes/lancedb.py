"""LanceDB: one column for each stage, an index on the first, and rescoring in the client."""

from __future__ import annotations

from collections.abc import Callable

from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.python_client import columns, divisor_near, later_searches, vectors_part
from nestvec.export.recipes.request import RecipeRequest

_METRICS = {"ip": "dot", "cosine": "cosine"}


def _config(name: str) -> Callable[[int, str], str]:
    return lambda dim, metric: f'{name}(distance_type="{metric}")'


def _product_codes(dim: int, metric: str) -> str:
    return f'IvfPq(distance_type="{metric}", num_sub_vectors={divisor_near(dim, dim // 4)})'


def _one_bit_codes(dim: int, metric: str) -> str:
    return _config("HnswSq" if dim % 8 else "IvfRq")(dim, metric)


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    stored = request.stored()
    config = quantizer.settings(request.first.dim, _METRICS[request.metric])
    parts = (
        vectors_part(stored),
        RecipePart("Table", "python", _table(request)),
        RecipePart("Index, after the first load", "python", _index(request, config)),
        RecipePart("Query", "python", _query(request)),
    )
    notes = ["maximum_nprobes(0) searches further partitions until there are enough candidates."]
    if len(request.point.stages) > 1:
        notes.append("LanceDB has no search in stages: NumPy rescores the candidates.")
    if request.first.precision in ("binary", "sign") and request.first.dim % 8:
        notes.append(
            f"IvfRq needs a multiple of 8 dims, and stage {request.first} has {request.first.dim}. "
            f"The recipe uses HnswSq, which needs more memory."
        )
    return parts, tuple(notes)


def _table(request: RecipeRequest) -> str:
    stored = request.stored()
    halves = {f.name for f in request.fields() if f.stage.precision == "float16"}
    fields = "\n".join(
        f'        pa.field("{name}", pa.list_(pa.float{16 if name in halves else 32}(), {dim})),'
        for name, dim in stored.items()
    )
    return f"""\
import lancedb
import pyarrow as pa

db = lancedb.connect("data/lancedb")
schema = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("category", pa.string()),
{fields}
    ]
)
stored = {{{columns(stored)}}}
arrays = [
    pa.FixedSizeListArray.from_arrays(
        pa.array(
            rows.ravel().astype(schema.field(name).type.value_type.to_pandas_dtype())
        ),
        rows.shape[1],
    )
    for name, rows in stored.items()
]
rows = pa.table([pa.array(ids), pa.array(["news"] * len(ids)), *arrays], schema=schema)
table = db.create_table("{request.name}", rows)"""


def _index(request: RecipeRequest, config: str) -> str:
    kind = config.partition("(")[0]
    return f"""\
from lancedb.index import {kind}

table.create_index("{request.fields()[0].name}", config={config})
table.optimize()"""


def _query(request: RecipeRequest) -> str:
    fields = request.fields()
    first, later = fields[0], later_searches(fields)
    names = ", ".join(
        f'"{name}"' for name in dict.fromkeys(["id", *(name for name, _, _ in later)])
    )
    lines = [
        "where = None  # or a filter, such as \"category = 'news'\"",
        f'search = table.search(prefix(query, {first.dim}), vector_column_name="{first.name}")',
        f'search = search.distance_type("{_METRICS[request.metric]}")',
        f"search = search.limit({request.candidates}).ef({2 * request.ef_search})",
        "search = search.maximum_nprobes(0)",
        "if where:",
        "    search = search.where(where, prefilter=True)",
        f'found = search.select([{names}, "_distance"]).to_arrow()',
    ]
    for name, dim, keep in later:
        lines += [
            f'codes = np.stack(found["{name}"].to_numpy()).astype(np.float32)',
            f'best = np.argsort(-(codes @ prefix(query, {dim})), kind="stable")[:{keep}]',
            "found = found.take(best)",
        ]
    return "\n".join([*lines, 'hits = found["id"].to_pylist()'])


_SCALAR = EngineQuantizer("IVF_HNSW_SQ (8 bits)", _config("HnswSq"))
_FLAT = EngineQuantizer("IVF_FLAT", _config("IvfFlat"), is_exact=True)
_ONE_BIT = EngineQuantizer("IVF_RQ (1 bit, rotated)", _one_bit_codes)
RECIPE = EngineRecipe(
    version="LanceDB 0.40",
    quantizers={
        "float32": _FLAT,
        "float16": _FLAT,
        "int8": _SCALAR,
        "int4": _SCALAR,
        "int2": _SCALAR,
        "binary": _ONE_BIT,
        "sign": _ONE_BIT,
        "pq4": EngineQuantizer("IVF_PQ with 2 bits a dim", _product_codes),
    },
    limits=EngineLimits(),
    write=_write,
    stores_float16=True,
    tested=True,
)
