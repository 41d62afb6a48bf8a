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


class QueryParameter(NamedTuple):
    """A parameter of a statement: a prefix of the query, as a type of pgvector."""

    dim: int
    kind: str

    def value(self, query: Embeddings) -> object:
        """Return the parameter for a query [full_dim] of unit length or zero."""
        from pgvector import Bit, HalfVector, Vector

        vector = prefix(query[None], self.dim)[0]
        if self.kind == "bit":
            return Bit(vector > 0)
        return HalfVector(vector) if self.kind == "halfvec" else Vector(vector)


class Statement(NamedTuple):
    """A search statement.

    Attributes:
        text: SQL that returns rows of an id, the negative score, and the number of candidates of
            the first stage.
        queries: The parameters of the last stage, the first stage, and the stages between them.
        values: The parameters of the filter, which follow the parameter of the last stage.
    """

    text: str
    queries: tuple[QueryParameter, ...]
    values: Sequence[object]

    def parameters(self, query: Embeddings) -> list[object]:
        """Return the parameters for a query [full_dim] of unit length or zero."""
        last, *others = (each.value(query) for each in self.queries)
        return [last, *self.values, *others]


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
    kind = TYPES[first.precision] if indexed else _type_of(first)
    between = (QueryParameter(stage.dim, _type_of(stage)) for stage in later[:-1])
    last = QueryParameter(stages[-1].dim, _type_of(stages[-1]))
    return Statement(
        _search_text(table, vectors, tuple(stages), k, text, indexed),
        (last, QueryParameter(first.dim, kind), *between),
        values,
    )


@lru_cache(maxsize=256)
def _search_text(
    table: str, vectors: VectorColumn, stages: tuple[Stage, ...], k: int, where: str, indexed: bool
) -> str:
    """Return the SQL of ``search_statement``; a server searches by few points and filters.

    Each stage selects from a subquery with the candidates of the previous one, which is faster than
    a common table expression.
    """
    first, *later = stages
    order = _index_distance(vectors, first) if indexed else _distance(vectors, first)
    if not indexed or orders_ties(stages):
        order += ", id DESC"
    source = (
        f"(SELECT id, {vectors.column} FROM {table} WHERE {where} "
        f"ORDER BY {order} LIMIT {first.keep or k}) AS s0"
    )
    candidates = "count(*) OVER ()"
    for number, stage in enumerate(later[:-1], 1):
        source = (
            f"(SELECT id, {vectors.column}, {candidates} AS candidates FROM {source} "
            f"ORDER BY {_distance(vectors, stage)}, id DESC LIMIT {stage.keep}) AS s{number}"
        )
        candidates = "candidates"
    return (
        f"SELECT id, {_distance(vectors, stages[-1])} AS distance, {candidates} FROM {source} "
        f"ORDER BY distance, id DESC LIMIT {k}"
    )


def orders_ties(stages: Sequence[Stage]) -> bool:
    """Return whether equal scores of the first stage are ordered by id, also in an index.

    To do so, pgvector reads all candidates whose score equals that of the last one. Equal scores of
    a shortlist are rare, except for ``sign``, so that a shortlist of floats is not ordered by id.
    """
    return len(stages) == 1 or stages[0].precision == "sign"


def index_definition(vectors: VectorColumn, key: CodeKey) -> str:
    """Return the expression and the operator class of an index."""
    return f"{vectors.expression(key)} {OPERATOR_CLASSES[key[1]]}"


def can_index(point: OperatingPoint) -> bool:
    """Return whether pgvector can index the first stage of a point."""
    first = point.stages[0]
    return first.dim <= MAX_INDEXED_DIMS[first.precision]


def _type_of(stage: Stage) -> str:
    """Return the type of the query: the codecs round vectors, and not the query."""
    return "bit" if stage.precision == "sign" else "vector"


def _index_distance(vectors: VectorColumn, stage: Stage) -> str:
    operator = "<~>" if stage.precision == "sign" else "<#>"
    return f"{vectors.expression(stage.representation)} {operator} %b"


def _distance(vectors: VectorColumn, stage: Stage) -> str:
    """Return the negative score of the codec."""
    code = vectors.expression(stage.representation)
    if stage.precision == "sign":
        return f"2 * ({code} <~> %b) - {stage.dim}"
    if stage.precision != "float32":
        code = f"{code}::vector({stage.dim})"
    return f"{code} <#> %b"
