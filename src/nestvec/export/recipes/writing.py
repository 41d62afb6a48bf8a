"""Write the recipe of an operating point for an engine."""

from __future__ import annotations

import re
from importlib import import_module
from typing import get_args

from nestvec.engines.registry import engines
from nestvec.errors import InvalidArgument
from nestvec.export.recipes.engine_recipe import EngineQuantizer, EngineRecipe
from nestvec.export.recipes.parts import Recipe
from nestvec.export.recipes.request import Metric, RecipeRequest
from nestvec.types import OperatingPoint, Precision

RECIPE_ENGINES = (
    "pgvector",
    "milvus",
    "lancedb",
    "qdrant",
    "elasticsearch",
    "opensearch",
    "weaviate",
    "vespa",
    "azure",
)
METRICS: tuple[Metric, ...] = get_args(Metric)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FLOATS: tuple[Precision, ...] = ("float32", "float16")


def recipe(
    point: OperatingPoint | str,
    full_dim: int,
    engine: str,
    *,
    name: str = "docs",
    metric: Metric = "ip",
) -> Recipe:
    """Write code that stores vectors in an engine and searches them as an operating point does.

    The first stage is an index of vectors, truncated and normalized again. Later stages score the
    candidates exactly. Notes describe what the engine does differently.

    Args:
        point: The operating point.
        full_dim: Number of dimensions of the model's vectors.
        engine: One of ``RECIPE_ENGINES``.
        name: Name of the table, collection or index.
        metric: Metric of the index: "ip" or "cosine". The order of results is the same.

    Returns:
        The code and the notes.

    Raises:
        InvalidArgument: If the engine is unknown, a name is invalid, or the engine cannot store
            the vectors or return the candidates.

    Example:
        >>> print(recipe("128:float16@200>768:float32", 768, "pgvector").parts[0].title)
        Schema
    """
    point = OperatingPoint.parse(point) if isinstance(point, str) else point
    described = _described(engine)
    if metric not in METRICS:
        raise InvalidArgument(f"metric {metric!r} is not one of {', '.join(METRICS)}.")
    if not _NAME.fullmatch(name):
        rule = "Use 1 to 40 lowercase letters, digits and _, starting with a letter"
        raise InvalidArgument(f"name {name!r} is not valid in every engine. {rule}.")
    request = RecipeRequest(point, full_dim, name, metric)
    _check(request, engine, described)
    quantizer = described.quantizers[request.first.precision]
    parts, notes = described.write(request, quantizer)
    common = (*_quantizer_notes(request, engine, quantizer), *_stored_notes(request, described))
    return Recipe(engine, described.version, str(point), parts, (*common, *notes), described.tested)


def _described(engine: str) -> EngineRecipe:
    if engine not in RECIPE_ENGINES:
        known = ", ".join(RECIPE_ENGINES)
        raise InvalidArgument(f"There is no recipe for engine {engine!r}. Choose one of {known}.")
    described: EngineRecipe = import_module(f"nestvec.export.recipes.{engine}").RECIPE
    return described


def _check(request: RecipeRequest, engine: str, described: EngineRecipe) -> None:
    widest = max(stage.dim for stage in request.point.stages)
    if widest > request.full_dim:
        problem = f"A stage of {request.point} has {widest} dims, more than full_dim"
        raise InvalidArgument(f"{problem}={request.full_dim}. Choose a point with fewer dims.")
    dims, candidates = described.limits
    stored = request.full_dim if described.stores_full else widest
    if dims is not None and stored > dims:
        problem = f"{engine} stores vectors of at most {dims:,} dims, and {request.point} needs"
        raise InvalidArgument(f"{problem} {stored:,}. Choose a point or a model with fewer dims.")
    if candidates is not None and request.candidates > candidates:
        problem = f"A search of {engine} returns at most {candidates:,} documents, and"
        keep = f"{request.point} keeps {request.candidates:,}"
        raise InvalidArgument(f"{problem} {keep}. Choose a point with a smaller keep.")


def _quantizer_notes(request: RecipeRequest, engine: str, quantizer: EngineQuantizer) -> list[str]:
    if quantizer.is_exact:
        return []
    stage = request.first
    run = "save the results of this query as a TREC run, and pass it to nestvec evaluate --run FILE"
    own = f"run nestvec evaluate --engine {engine}, or " if engine in engines() else ""
    return [
        f"Not measured: {engine} has no {stage.precision} codes of nestvec. The index of stage "
        f"{stage} uses another quantizer: {quantizer.name}.",
        f"Measure the loss on your data: {own}{run}.",
    ]


def _stored_notes(request: RecipeRequest, described: EngineRecipe) -> list[str]:
    first, *later = request.point.stages
    if described.skips_middle:
        later = later[-1:]
    stored = _FLOATS if described.stores_float16 else _FLOATS[:1]
    wider = [stage for stage in later if stage.precision not in stored]
    if first.precision == "float16" and first.precision not in described.float_codes:
        wider.insert(0, first)
    if not wider:
        return []
    named = ", ".join(map(str, wider))
    return [
        f"Stored with more bits than planned: {named}. This loses nothing, but needs more space."
    ]
