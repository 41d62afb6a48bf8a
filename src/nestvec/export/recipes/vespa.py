"""Vespa: one tensor field for each stage, ranked in phases."""

from __future__ import annotations

import json

from nestvec.errors import InvalidArgument
from nestvec.export.recipes.blocks import VECTORS_NOTE, console, prefix_part, query_placeholder
from nestvec.export.recipes.engine_recipe import EngineLimits, EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.request import EF_CONSTRUCTION, RESULTS, M, RecipeRequest, StageField

_MOST_STAGES = 4  # retrieval, and the first, second and global phase
_METRICS = {"ip": "prenormalized-angular", "cosine": "angular"}
_FILTER = "and category contains 'news'"
_CODES = {
    "int8": '''


def int8_codes(vectors):
    """Return the int8 codes of unit vectors [..., dim], each scaled by its largest value."""
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    return np.round(127 * vectors / np.maximum(largest, 1e-30)).astype(np.int8)''',
    "bits": '''


def sign_bits(vectors):
    """Return the signs of vectors [..., dim] as int8 [..., dim / 8]."""
    return np.packbits(np.asarray(vectors) > 0, axis=-1).view(np.int8)''',
}
_USES = {"int8": "int8_codes", "bits": "sign_bits"}


def _write(
    request: RecipeRequest, quantizer: EngineQuantizer
) -> tuple[tuple[RecipePart, ...], tuple[str, ...]]:
    kind = quantizer.settings
    if len(request.point.stages) > _MOST_STAGES:
        problem = f"vespa has {_MOST_STAGES} phases, and {request.point} has"
        raise InvalidArgument(
            f"{problem} {len(request.point.stages)} stages. Choose a point with fewer stages."
        )
    if kind == "bits" and request.first.dim % 8:
        kind = "int8"
    fields = request.fields(separate=kind in _USES)
    first = fields[0]
    stored = {field.name: field.dim for field in fields}
    vectors = prefix_part(stored)
    if kind in _USES:
        plain = f"prefix(vectors, {first.dim})"
        text = vectors.text.replace(
            f"{first.name}: {plain}", f"{first.name}: {_USES[kind]}({plain})"
        )
        vectors = vectors._replace(text=text + _CODES[kind])
    document = {
        "fields": {
            "category": "news",
            **{name: {"values": f"VECTOR_{dim}"} for name, dim in stored.items()},
        }
    }
    parts = (
        vectors,
        RecipePart(f"Schema: {request.name}.sd", "vespa", _schema(request, fields, kind)),
        console("Document", f"POST /document/v1/{request.name}/{request.name}/docid/ID", document),
        console("Query", "POST /search/", _search(request, fields)),
    )
    return parts, tuple(_notes(request, kind, first))


def _schema(request: RecipeRequest, fields: tuple[StageField, ...], kind: str) -> str:
    first, *later = fields
    lines = [f"schema {request.name} {{", f"    document {request.name} {{"]
    lines += ["        field category type string {", "            indexing: summary | attribute"]
    lines += ["            attribute: fast-search", "        }"]
    metric = "hamming" if kind == "bits" else "angular" if kind == "int8" else ""
    lines += _indexed_field(first, kind, metric or _METRICS[request.metric])
    names = {first.name}
    for field in later:
        if field.name in names:
            continue
        names.add(field.name)
        lines += [
            f"        field {field.name} type {_tensor(field.dim, _cells(field))} {{",
            "            indexing: attribute",
            "            attribute: paged",
            "        }",
        ]
    lines += ["    }", *_rank_profile(fields, kind), "}"]
    return "\n".join(lines)


def _indexed_field(first: StageField, kind: str, metric: str) -> list[str]:
    return [
        f"        field {first.name} type {_first_tensor(first, kind)} {{",
        "            indexing: attribute | index",
        "            attribute {",
        f"                distance-metric: {metric}",
        "            }",
        "            index {",
        "                hnsw {",
        f"                    max-links-per-node: {M}",
        f"                    neighbors-to-explore-at-insert: {EF_CONSTRUCTION}",
        "                }",
        "            }",
        "        }",
    ]


def _rank_profile(fields: tuple[StageField, ...], kind: str) -> list[str]:
    """Return the profile with one phase for each stage.

    With four stages, stage 2 ranks all candidates, because there are only three phases.
    """
    first, *later = fields
    inputs = {_input(0, first): _first_tensor(first, kind)}
    expressions = [f"closeness(field, {first.name})"]
    for number, field in enumerate(later, 1):
        inputs[_input(number, field)] = _tensor(field.dim, "float")
        expressions.append(f"sum({_input(number, field)} * attribute({field.name}))")
    keeps = [field.stage.keep for field in fields[:-1]]
    if len(fields) == _MOST_STAGES:
        del expressions[0], keeps[0]
    lines = ["    rank-profile nestvec {", "        inputs {"]
    lines += [f"            {name} {tensor}" for name, tensor in inputs.items()]
    lines += ["        }", "        first-phase {"]
    lines += [f"            expression: {expressions[0]}", "        }"]
    phases = ("second-phase", "global-phase")
    for phase, expression, keep in zip(phases, expressions[1:], keeps, strict=False):
        lines += [f"        {phase} {{", f"            expression: {expression}"]
        lines += [f"            rerank-count: {keep}", "        }"]
    return [*lines, "    }"]


def _search(request: RecipeRequest, fields: tuple[StageField, ...]) -> dict[str, object]:
    first, *later = fields
    settings = json.dumps(
        {
            "targetHits": request.candidates,
            "hnsw.exploreAdditionalHits": request.ef_search - request.candidates,
        }
    )
    where = f"{{{settings[1:-1]}}}nearestNeighbor({first.name}, {_query_name(0, first)})"
    inputs = {f"input.{_input(0, first)}": query_placeholder(first.dim)}
    for number, field in enumerate(later, 1):
        inputs[f"input.{_input(number, field)}"] = query_placeholder(field.dim)
    return {
        "yql": " ".join(("select * from", request.name, "where", where, _FILTER)),
        "hits": RESULTS,
        "ranking.profile": "nestvec",
        **inputs,
    }


def _query_name(number: int, field: StageField) -> str:
    return f"stage_{number + 1}_{field.dim}"


def _input(number: int, field: StageField) -> str:
    return f"query({_query_name(number, field)})"


def _tensor(dim: int, cells: str) -> str:
    return f"tensor<{cells}>(x[{dim}])"


def _cells(field: StageField) -> str:
    return "bfloat16" if field.stage.precision == "float16" else "float"


def _first_tensor(first: StageField, kind: str) -> str:
    if kind == "bits":
        return _tensor(first.dim // 8, "int8")
    return _tensor(first.dim, kind)


def _notes(request: RecipeRequest, kind: str, first: StageField) -> list[str]:
    notes = [
        f"{VECTORS_NOTE} Replace the condition on category by your filter, or remove it.",
        "Every content node returns and ranks its own candidates, so the shortlist is longer with "
        "several nodes.",
    ]
    if kind in _USES:
        notes.append(
            f"Send {first.name} and the query of stage 1 as {_USES[kind]}(prefix(vector, "
            f"{first.dim}))."
        )
    if kind == "bits" and request.first.precision == "binary":
        notes.append(
            "Sign bits are neither rotated nor centered, as nestvec's binary codes are. They can "
            "lose much more."
        )
    if kind == "int8" and request.first.dim % 8:
        notes.append(
            f"Bits need a multiple of 8 dims, and stage {request.first} has {request.first.dim}."
        )
    if any(stage.precision == "float16" for stage in request.point.stages):
        notes.append("float16 is stored as bfloat16, which has 8 bits of precision instead of 11.")
    return notes


_INT8 = EngineQuantizer("a tensor of int8, scaled by the client", "int8")
RECIPE = EngineRecipe(
    version="Vespa 8; the schema is checked with pyvespa 1.2",
    quantizers={
        "float32": EngineQuantizer("a tensor of float", "float", is_exact=True),
        "float16": EngineQuantizer("a tensor of bfloat16", "bfloat16"),
        "int8": _INT8,
        "int4": _INT8,
        "int2": _INT8,
        "binary": EngineQuantizer("sign bits with the Hamming distance", "bits"),
        "sign": EngineQuantizer("sign bits with the Hamming distance", "bits", is_exact=True),
        "pq4": _INT8,
    },
    limits=EngineLimits(),
    write=_write,
    stores_float16=True,
)
