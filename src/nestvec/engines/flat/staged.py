"""Search vectors by an operating point: scan the resident codes, rescore the shortlist.

Knows arrays only. Where they lie on disk and which documents they are is ``embedded``'s business;
``evaluate`` times operating points with this very code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import code_bytes
from nestvec.engines.flat.scan import Allowed, Scan
from nestvec.engines.flat.scoring import score
from nestvec.metrics.ranking import order
from nestvec.types import Codes, Embeddings, OperatingPoint, Rows, Stage


@dataclass(frozen=True)
class Bytes:
    """What an operating point takes.

    Attributes:
        ram_per_vector: Codes of the first stage, which must be resident.
        disk_per_vector: Codes of the later stages.
        read_per_query: How much of the latter one query reads.
    """

    ram_per_vector: int
    disk_per_vector: int
    read_per_query: int

    @classmethod
    def of(cls, point: OperatingPoint) -> Bytes:
        """Count for a point."""
        first, *later = (code_bytes(*stage.representation) for stage in point.stages)
        keeps = [stage.keep or 0 for stage in point.stages[:-1]]
        return cls(
            ram_per_vector=first,
            disk_per_vector=sum(later),
            read_per_query=sum(keep * each for keep, each in zip(keeps, later, strict=True)),
        )


@dataclass(frozen=True)
class Rescorer:
    """Scores the candidates of a shortlist from codes that need not be resident.

    Attributes:
        codec: What the codes were made with.
        codes: [n, bytes_per_vector]; may be memory-mapped.
        empty: Rows of zero vectors, which score 0 whatever their codes say.
    """

    codec: Codec
    codes: Codes
    empty: Rows

    def search(self, embeddings: Embeddings, candidates: Rows, k: int) -> tuple[Embeddings, Rows]:
        """Return the best ``k`` of each query's candidates, best first, ties by ascending row.

        Args:
            embeddings: [n_queries, full_dim], as the model gives them.
            candidates: Rows, [n_queries, width].
            k: How many; cut to width.
        """
        queries = self.codec.prepare(embeddings)
        scores, rows = order(
            score(queries, candidates, self._vectors_of, empty=self.empty), candidates
        )
        return scores[:, :k], rows[:, :k]

    def _vectors_of(self, rows: Rows) -> Embeddings:
        return self.codec.decode(self.codes[rows])


@dataclass(frozen=True)
class StagedSearch:
    """The stages of an operating point, ready to search.

    Attributes:
        point: What it runs.
        scan: The first stage.
        rescorers: The later stages, in order.
    """

    point: OperatingPoint
    scan: Scan
    rescorers: Sequence[Rescorer]

    def search(
        self, embeddings: Embeddings, k: int, *, allowed: Allowed | None = None
    ) -> tuple[Embeddings, Rows]:
        """Return the best ``k`` rows of each query by the last stage's scores.

        Args:
            embeddings: [n_queries, full_dim], as the model gives them.
            k: How many; cut to what the last shortlist and the rows searched hold.
            allowed: Which rows to search, of all; the answer is that of an index of these alone.

        Returns:
            Scores and rows, both [n_queries, at most k].
        """
        widths = [_width(stage, k) for stage in self.point.stages]
        scores, rows = self.scan.search(embeddings, widths[0], allowed=allowed)
        for rescorer, width in zip(self.rescorers, widths[1:], strict=True):
            scores, rows = rescorer.search(embeddings, rows, width)
        return scores, rows


def _width(stage: Stage, k: int) -> int:
    return k if stage.keep is None else stage.keep
