"""PostgreSQL with pgvector: the statements that nestvec's own engine runs."""

from __future__ import annotations

import re
from dataclasses import replace

from nestvec.engines.manifest import Stored
from nestvec.engines.pgvector.connection import SESSION
from nestvec.engines.pgvector.indexes import EF_CONSTRUCTION, M
from nestvec.engines.pgvector.statements import (
    LARGEST_EF_SEARCH,
    MAX_INDEXED_DIMS,
    TYPES,
    VectorColumn,
    can_index,
    index_definition,
    search_statement,
)
from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.request import RESULTS, RecipeRequest
from nestvec.sources.postgresql import quoted
from nestvec.types import OperatingPoint

_HALF = EngineQuantizer("halfvec (float16), which is more exact than planned and needs more memory")
_CLAUSE = re.compile(r" (FROM|WHERE|ORDER BY) ")
_FILTER = 'true /* or a filter, such as metadata @> \'{"category": "news"}\' */'


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    point = _supported(request.point)
    stored: Stored = "float32" if any(s.precision == "float32" for s in point.stages) else "float16"
    vectors = VectorColumn(quoted("embedding"), stored, request.full_dim)
    table = quoted(request.name)
    indexed = can_index(point)
    schema = (
        f"CREATE EXTENSION IF NOT EXISTS vector;\n"
        f"CREATE TABLE {table} (\n"
        f'    id text COLLATE "C" PRIMARY KEY,\n'
        f"    metadata jsonb NOT NULL DEFAULT '{{}}',\n"
        f"    embedding {TYPES[stored]}({request.full_dim}) NOT NULL\n"
        f");\n"
        f"CREATE INDEX ON {table} USING gin (metadata);"
    )
    parts = [RecipePart("Schema", "sql", schema)]
    if indexed:
        definition = index_definition(vectors, point.stages[0].representation)
        index = (
            f"CREATE INDEX ON {table} USING hnsw\n"
            f"    ({definition})\n"
            f"    WITH (m = {M}, ef_construction = {EF_CONSTRUCTION});\n"
            f"ANALYZE {table};"
        )
        parts.append(RecipePart("Index, after the first load", "sql", _by_metric(index, request)))
        parts.append(RecipePart("Settings of each connection", "sql", _settings(request)))
    query = _query(table, vectors, point, indexed=indexed)
    parts.append(RecipePart("Query", "sql", _by_metric(query, request)))
    return tuple(parts), tuple(_notes(request, point, indexed=indexed))


def _supported(point: OperatingPoint) -> OperatingPoint:
    """Return the point with float16 in the place of precisions that pgvector lacks."""
    stages = [
        stage if stage.precision in TYPES else replace(stage, precision="float16")
        for stage in point.stages
    ]
    return OperatingPoint(tuple(stages))


def _settings(request: RecipeRequest) -> str:
    ef_search = min(LARGEST_EF_SEARCH, request.ef_search)
    settings = {"hnsw.ef_search": str(ef_search), **SESSION}
    return "\n".join(f"SET {name} = '{value}';" for name, value in settings.items())


def _query(table: str, vectors: VectorColumn, point: OperatingPoint, *, indexed: bool) -> str:
    """Return the statement with numbered parameters, one line for each stage."""
    statement = search_statement(
        table, vectors, point.stages, RESULTS, condition=(_FILTER, []), indexed=indexed
    )
    *between, end = statement.text.split("%b")
    placeholders = [
        f"binary_quantize(${number}::vector({dim}))"
        if kind == "bit"
        else f"${number}::{kind}({dim})"
        for number, (dim, kind) in enumerate(statement.queries, 1)
    ]
    text = "".join(map("".join, zip(between, placeholders, strict=True))) + end
    text = _CLAUSE.sub(_on_a_line, text)
    parameters = ", ".join(
        f"${number}: the first {dim} dims" for number, (dim, _) in enumerate(statement.queries, 1)
    )
    return f"-- Parts of the query vector, each normalized to unit length: {parameters}\n{text};"


def _on_a_line(clause: re.Match[str]) -> str:
    """Begin a line, indented by the number of subqueries around the clause."""
    before = clause.string[: clause.start()]
    depth = before.count("(SELECT") - before.count(") AS s")
    return f"\n{'    ' * depth}{clause[1]} "


def _by_metric(text: str, request: RecipeRequest) -> str:
    if request.metric == "ip":
        return text
    return text.replace("<#>", "<=>").replace("_ip_ops", "_cosine_ops")


def _notes(request: RecipeRequest, point: OperatingPoint, *, indexed: bool) -> list[str]:
    notes = [
        "Store vectors of unit length. PostgreSQL truncates them and normalizes the prefix again."
    ]
    first = point.stages[0]
    if indexed:
        notes.append(
            f"The third column is the number of candidates. If it is below {request.candidates:,} "
            f"although more documents match the filter, repeat the query after SET LOCAL "
            f"enable_indexscan = off."
        )
    else:
        limit = MAX_INDEXED_DIMS[first.precision]
        notes.append(
            f"No index: pgvector indexes at most {limit:,} dims of {first.precision}, and stage "
            f"{first} has {first.dim:,}. Every search scans the table. Choose a first stage with "
            f"fewer dims."
        )
    if request.first.precision == "binary":
        notes.append(
            "pgvector's binary_quantize keeps only signs. To use it, measure and plan points of "
            "the precision sign."
        )
    if indexed and request.candidates > LARGEST_EF_SEARCH:
        notes.append(
            f"hnsw.ef_search is at most {LARGEST_EF_SEARCH:,}. The iterative scan continues until "
            f"it has {request.candidates:,} candidates."
        )
    return notes


RECIPE = EngineRecipe(
    version="pgvector 0.8",
    quantizers={
        "float32": EngineQuantizer("vector", is_exact=True),
        "float16": EngineQuantizer("halfvec", is_exact=True),
        "int8": _HALF,
        "int4": _HALF,
        "int2": _HALF,
        "binary": _HALF,
        "sign": EngineQuantizer("bit (sign bits, Hamming distance)", is_exact=True),
        "pq4": _HALF,
    },
    limits=EngineLimits(dims=16_000),
    write=_write,
    stores_float16=True,
    stores_full=True,
    tested=True,
)
