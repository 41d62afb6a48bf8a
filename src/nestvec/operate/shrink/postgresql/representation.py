"""The SQL of a representation: truncate, renormalize, then quantize, as everywhere in nestvec.

Vectors of users need not have unit length. Float codes are therefore normalized before they are
rounded, also at full width, and the order of their inner products is that of the cosines.
"""

from __future__ import annotations

from typing import NamedTuple

from nestvec.engines.pgvector.statements import OPERATOR_CLASSES, TYPES
from nestvec.operate.shrink.request import Metric
from nestvec.types import CodeKey, Precision

OPERATORS: dict[Metric, str] = {"cosine": "<=>", "ip": "<#>", "l2": "<->"}
"""The distance of each metric, ascending."""


class SqlRepresentation(NamedTuple):
    """The codes of a prefix of the vectors of a table.

    Attributes:
        dim: The width of the prefix.
        precision: The precision of the codes.
        full_dim: The width of the vectors.
        vector: The quoted name of the column of vectors.
        stored_in: The quoted name of a column that stores the codes; None to compute the codes.
        adapted_by: The quoted name of a function that adapts and truncates a vector; None without
            an adapter.
    """

    dim: int
    precision: Precision
    full_dim: int
    vector: str
    stored_in: str | None = None
    adapted_by: str | None = None

    @property
    def key(self) -> CodeKey:
        """The representation as the codec names it."""
        return self.dim, self.precision

    @property
    def kind(self) -> str:
        """The type of the codes in SQL.

        >>> SqlRepresentation(128, "float16", 768, '"embedding"').kind
        'halfvec(128)'
        """
        return f"{TYPES[self.precision]}({self.dim})"

    @property
    def operator_class(self) -> str:
        """The operator class of an index of the codes."""
        return OPERATOR_CLASSES[self.precision]

    @property
    def operator(self) -> str:
        """The distance of two codes: the negative inner product, or the Hamming distance."""
        return "<~>" if self.precision == "sign" else "<#>"

    def computed_from(self, vector: str) -> str:
        """Return the SQL that computes a code from a vector.

        >>> SqlRepresentation(128, "float16", 768, '"embedding"').computed_from("$1")
        'l2_normalize(subvector($1, 1, 128))::halfvec(128)'
        """
        prefix = vector if self.dim == self.full_dim else f"subvector({vector}, 1, {self.dim})"
        if self.adapted_by is not None:
            prefix = f"{self.adapted_by}({vector}::vector)"  # of unit length
        function = "binary_quantize" if self.precision == "sign" else "l2_normalize"
        return f"{function}({prefix})::{self.kind}"

    @property
    def expression(self) -> str:
        """The SQL of the codes of a row."""
        return self.stored_in or f"({self.computed_from(self.vector)})"

    def order(self, query: str) -> str:
        """Return the SQL of the distance between the codes of a row and of a query vector."""
        code = self.computed_from(query)
        if self.adapted_by is not None:  # once for a statement, and not once for a row
            code = f"(SELECT {code})"
        return f"{self.expression} {self.operator} {code}"

    def distance(self, query: str, metric: Metric) -> str:
        """Return the SQL of a distance as ``metric`` defines it, computed from codes only.

        The distance of ``sign`` is the Hamming distance. Float codes have unit length, so all
        metrics follow from the inner product.
        """
        order = self.order(query)
        if self.precision == "sign" or metric == "ip":
            return order
        if metric == "cosine":
            return f"1 + ({order})"
        return f"sqrt(greatest(0, 2 + 2 * ({order})))"
