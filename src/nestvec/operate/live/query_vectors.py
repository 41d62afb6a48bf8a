"""Convert queries to vectors for a table that other programs wrote, which records no model."""

from __future__ import annotations

from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings, Encoder


def encode_queries(
    queries: list[str] | Embeddings, model: Encoder | None, *, dim: int, place: str
) -> Embeddings:
    """Return the vectors of queries, [n, dim].

    Args:
        queries: Texts, or vectors.
        model: The model of the vectors of the table; None if there is none.
        dim: Number of dimensions of the vectors of the table.
        place: The table, for error messages.

    Raises:
        InvalidArgument: If texts have no model, or the vectors have another width.
    """
    if isinstance(queries, list):
        if model is None:
            problem = f"the log has texts, and {place} records no model."
            remedy = "Pass the model of its vectors: --model MODEL. Or log the vectors."
            raise InvalidArgument(f"{problem} {remedy}")
        queries = model.encode(queries, kind="query")
    width = queries.shape[1]
    if width != dim:
        problem = f"the vectors of the queries have {width} dims, and those of {place} have {dim}."
        raise InvalidArgument(f"{problem} Use the model of the documents.")
    return queries
