"""What to measure: operating points of dims x precisions, alone and rescored at full width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from nestvec.errors import InvalidArgument
from nestvec.metrics import parse_metric
from nestvec.types import PRECISIONS, OperatingPoint, Precision, Stage

_KEEPS = (10, 25, 50, 100, 200, 400, 1000)
_KEEP_SHARE = 0.01  # a longer shortlist than 1 % of the corpus is no longer a shortlist


@dataclass(frozen=True)
class Grid:
    """What to measure; None leaves a choice to the model and the corpus.

    Attributes:
        dims: Widths; None for the model's own.
        precisions: Precisions of a single stage.
        shortlisted: Precisions of a first stage that is rescored.
        rescored: Precisions of the second stage, at full width.
        keeps: Lengths of the shortlist; None for two that suit the size of the corpus.
        extra: Further points, funnels for example.
        metrics: Against qrels, ``name@k``.
    """

    dims: tuple[int, ...] | None = None
    precisions: tuple[Precision, ...] = PRECISIONS
    shortlisted: tuple[Precision, ...] = ("int8", "int4", "int2", "binary")
    rescored: tuple[Precision, ...] = ("float16", "int8")
    keeps: tuple[int, ...] | None = None
    extra: tuple[OperatingPoint, ...] = ()
    metrics: tuple[str, ...] = ("ndcg@10", "recall@100")

    def __post_init__(self) -> None:
        """Check that there are metrics to measure."""
        if not self.metrics:
            raise InvalidArgument('no metric given: name one, such as "ndcg@10"')
        for metric in self.metrics:
            parse_metric(metric)

    @property
    def depth(self) -> int:
        """How many documents of each query the metrics look at."""
        return max(parse_metric(metric).k for metric in self.metrics)

    def points(
        self, *, full_dim: int, model_dims: Sequence[int], n_documents: int
    ) -> tuple[OperatingPoint, ...]:
        """List the points, full width at float32 first, none twice.

        Args:
            full_dim: The model's width.
            model_dims: The widths to measure where the grid names none.
            n_documents: Size of the corpus.

        Raises:
            InvalidArgument: If a point is wider than the model.
        """
        dims = sorted({*(self.dims or model_dims)}, reverse=True)
        singles = [OperatingPoint.single(full_dim, "float32")]
        singles += [OperatingPoint.single(d, p) for d, p in product(dims, self.precisions)]
        rescored = [
            OperatingPoint((Stage(dim, first, keep), Stage(full_dim, last)))
            for dim, first, keep, last in product(
                dims, self.shortlisted, self.keeps or default_keeps(n_documents), self.rescored
            )
            if (dim, first) != (full_dim, last)  # would rescore with what it scanned
        ]
        points = tuple(dict.fromkeys([*singles, *rescored, *self.extra]))
        for point in points:
            widest = max(stage.dim for stage in point.stages)
            if widest > full_dim:
                raise InvalidArgument(f"{point}: dim {widest} > full_dim {full_dim}")
        return points


DEFAULT_GRID = Grid()


def default_keeps(n_documents: int) -> tuple[int, ...]:
    """Return the two longest usual shortlists within 1 % of the corpus and 1,000, at least 10.

    >>> default_keeps(46_254)
    (200, 400)
    """
    within = [keep for keep in _KEEPS if keep <= n_documents * _KEEP_SHARE]
    return tuple(within[-2:]) or _KEEPS[:1]
