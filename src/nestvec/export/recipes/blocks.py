"""Blocks of code that the recipes of several engines share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.request import RecipeRequest

VECTORS_NOTE = "VECTOR_n and QUERY_n stand for the first n dims of a vector, as a list of numbers."


def console(title: str, line: str, body: Mapping[str, Any]) -> RecipePart:
    """Return a part that sends a JSON body by HTTP."""
    return RecipePart(title, "console", f"{line}\n{json.dumps(body, indent=2)}")


def query_placeholder(dim: int) -> str:
    """Return the text that stands for the prefix of a query in JSON."""
    return f"QUERY_{dim}"


def prefix_part(fields: Mapping[str, int]) -> RecipePart:
    """Return the Python function that computes the stored vectors and those of queries."""
    used = "\n".join(f"#   {name}: prefix(vectors, {dim})" for name, dim in fields.items())
    text = f'''\
import numpy as np


def prefix(vectors, dim):
    """Return the first dims of vectors [..., full_dim], normalized to unit length."""
    parts = np.asarray(vectors, dtype=np.float32)[..., :dim]
    lengths = np.linalg.norm(parts, axis=-1, keepdims=True)
    return parts / np.maximum(lengths, 1e-30)


# Fields of the documents, from their vectors [n, full_dim]:
{used}'''
    return RecipePart("Vectors of documents and queries", "python", text)


def document_part(request: RecipeRequest, fields: Mapping[str, int]) -> RecipePart:
    """Return the request of Elasticsearch and OpenSearch that adds a document."""
    vectors = {name: f"VECTOR_{dim}" for name, dim in fields.items()}
    body = {"category": "news", **vectors}
    return console("Document", f"PUT /{request.name}/_doc/ID", body)


def rescorers(request: RecipeRequest, scripts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rescorers of Elasticsearch and OpenSearch.

    Args:
        request: What the recipe is written for.
        scripts: The script that scores each later stage.
    """
    windows = [stage.keep for stage in request.point.stages[:-1]]
    weights = {"query_weight": 0.0, "rescore_query_weight": 1.0}
    found = []
    for script, window in zip(scripts, windows, strict=True):
        query = {"script_score": {"query": {"match_all": {}}, "script": script}}
        found.append({"window_size": window, "query": {"rescore_query": query, **weights}})
    return found
