"""The SQL of a search: expressions of a stage, and one statement for all stages.

The first stage orders by the expression of its index, if it has one. Its query is then rounded to
the type of the index. Without an index, and in later stages, the score is that of the codec:

    score(q, x) = <q, x>, q in float32, x rounded to the precision of the stage
    score(q, x) = dim - 2 * (Hamming distance of the sign bits), for sign
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from nestvec.codec.prefix import prefix
from nestvec.engines.filters.postgresql import Compiled
from nestvec.engines.manifest import Stored
from nestvec.types import CodeKey, Embeddings, OperatingPoint, Precision, Stage

TYPES: dict[Precision, str] = {"float32": "vector", "float16": "halfvec", "sign": "bit"}
OPERATOR_CLASSES: dict[Precision, str] = {
    "float32": "vector_ip_ops",
    "float16": "halfvec_ip_ops",
    "sign": "bit_hamming_ops",
}
MAX_INDEXED_DIMS: dict[Precision, int] = {"float32": 2_000, "float16": 4_000, "sign": 64_000}
"""The widest HNSW index of pgvector 0.8 by type."""
LARGEST_EF_SEARCH = 1_000


class VectorColumn(NamedTuple):
    """The column of vectors.

    Attributes:
        column: The quoted name of the column.
        stored: The precision of the column.
        full_dim: The width of the column.
    """

    column: str
    stored: Stored
    full_dim: int

    def expression(self, key: CodeKey) -> str:
        """Return the SQL of the codes of a representation, as an index stores them."""
        dim, precision = key
        column = self.column
        if precision == "sign":
            return f"(binary_quantize(subvector({column}, 1, {dim}))::bit({dim}))"
        if precision == "float16" and self.stored == "float32":
            column = f"{column}::halfvec({self.full_dim})"
        if dim == self.full_dim:
            return f"({column})"
        kind = TYPES[precision]
        return f"(l2_normalize(subvector({column}, 1, {dim}))::{kind}({dim}))"


class Statement(NamedTuple):
    """A search statement.

    Attributes:
        text: SQL that returns rows of an id, the negative score, and the number of candidates of
            the first stage.
        queries: The representations of the query, which are parameters of the statement, in order.
        values: The other parameters, between those of the first stage and of later stages.
    """

    text: str
    queries: tuple[CodeKey, ...]
    values: Sequence[object]

    def parameters(self, query: Embeddings) -> list[object]:
        """Return the parameters for a query [full_dim] of unit length or zero."""
        from pgvector import Bit, Vector

        vectors = ((prefix(query[None], dim)[0], precision) for dim, precision in self.queries)
        return [
            *self.values,
            *(Bit(each > 0) if name == "sign" else Vector(each) for each, name in vectors),
        ]


def search_statement(
    table: str,
    vectors: VectorColumn,
    stages: Sequence[Stage],
    k: int,
    *,
    condition: Compiled | None,
    indexed: bool,
) -> Statement:
    """Return the statement that runs all stages.

    Args:
        table: The quoted name of the table.
        vectors: The column of vectors.
        stages: The stages of the operating point.
        k: Number of results.
        condition: The compiled filter; None for all documents.
        indexed: Order the first stage by the expression of its index.
    """
    text, values = ("true", []) if condition is None else condition
    first, *later = stages
    statement = _search_text(table, vectors, tuple(stages), k, text, indexed)
    queries = (stage.representation for stage in (first, *(later or [first])))
    return Statement(statement, tuple(queries), values)


@lru_cache(maxsize=256)
def _search_text(
    table: str, vectors: VectorColumn, stages: tuple[Stage, ...], k: int, where: str, indexed: bool
) -> str:
    """Return the SQL of ``search_statement``; a server searches by few points and filters."""
    first, *later = stages
    order = _index_distance(vectors, first) if indexed else _distance(vectors, first)
    steps = [
        f"s0 AS MATERIALIZED (SELECT id, {vectors.column} FROM {table} WHERE {where} "
        f"ORDER BY {order}, id DESC LIMIT {first.keep or k})"
    ]
    for number, stage in enumerate(later[:-1]):
        steps.append(
            f"s{number + 1} AS (SELECT id, {vectors.column} FROM s{number} "
            f"ORDER BY {_distance(vectors, stage)}, id DESC LIMIT {stage.keep})"
        )
    last = stages[-1]
    return (
        f"WITH {', '.join(steps)} SELECT id, {_distance(vectors, last)} AS distance, "
        f"(SELECT count(*) FROM s0) FROM s{len(steps) - 1} ORDER BY distance, id DESC LIMIT {k}"
    )


def index_definition(vectors: VectorColumn, key: CodeKey) -> str:
    """Return the expression and the operator class of an index."""
    return f"{vectors.expression(key)} {OPERATOR_CLASSES[key[1]]}"


def can_index(point: OperatingPoint) -> bool:
    """Return whether pgvector can index the first stage of a point."""
    first = point.stages[0]
    return first.dim <= MAX_INDEXED_DIMS[first.precision]


def _index_distance(vectors: VectorColumn, stage: Stage) -> str:
    code, kind = vectors.expression(stage.representation), TYPES[stage.precision]
    operator = "<~>" if stage.precision == "sign" else "<#>"
    return f"{code} {operator} %b::{kind}({stage.dim})"


def _distance(vectors: VectorColumn, stage: Stage) -> str:
    """Return the negative score of the codec."""
    code = vectors.expression(stage.representation)
    if stage.precision == "sign":
        return f"2 * ({code} <~> %b) - {stage.dim}"
    if stage.precision != "float32":
        code = f"{code}::vector({stage.dim})"
    return f"{code} <#> %b"
