"""What to measure: dims x precisions, alone and rescored; by which metrics, beside what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from nestvec.codec.quantizer import can_code
from nestvec.errors import InvalidArgument, refuse_string
from nestvec.metrics.relevance import parse_metric
from nestvec.types import PRECISIONS, Evidence, OperatingPoint, Precision, Stage

Baseline = Literal["bm25", "svd", "pca", "random"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
MRL_FUNNEL = "mrl-funnel"

_KEEPS = (10, 25, 50, 100, 200, 400, 1000)
_KEEP_SHARE = 0.01  # a longer shortlist than 1 % of the corpus is no longer a shortlist
_USUAL_DEPTH = 10
# Not pq4: binary with twice the dims keeps more, and int2 is near (docs/precisions.md).
_USUAL_PRECISIONS = tuple(precision for precision in PRECISIONS if precision != "pq4")


_LISTS = (
    *("dims", "precisions", "shortlisted", "rescored", "keeps", "extra"),
    *("metrics", "slice_by", "baselines"),
)


@dataclass(frozen=True)
class Grid:
    """What to measure; None leaves a choice to the model and the data.

    Attributes:
        dims: Widths; None for the model's own.
        precisions: Precisions of a single stage; here as below, pq4 is left out at odd dims.
        shortlisted: Precisions of a first stage that is rescored.
        rescored: Precisions of the second stage, at full width.
        keeps: Lengths of the shortlist, each at least ``depth``; None for two that suit the size
            of the corpus.
        extra: Further points, as points, in their text form or by name ("mrl-funnel").
        depth: How many documents are handed on, to a reader or a reranker.
        metrics: ``name@k``, the most important first; None for those that suit the evidence.
        group_by: Field of the documents' metadata that names the text which a chunk is of: whole
            texts are then found and judged, each at the rank of its best chunk.
        slice_by: Fields of the queries; results are kept apart by their values.
        baselines: Other methods to put beside the model.
    """

    dims: tuple[int, ...] | None = None
    precisions: tuple[Precision, ...] = _USUAL_PRECISIONS
    shortlisted: tuple[Precision, ...] = ("int8", "int4", "int2", "binary")
    rescored: tuple[Precision, ...] = ("float16", "int8")
    keeps: tuple[int, ...] | None = None
    extra: tuple[OperatingPoint | str, ...] = ()
    depth: int = _USUAL_DEPTH
    metrics: tuple[str, ...] | None = None
    group_by: str | None = None
    slice_by: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()

    def __post_init__(self) -> None:
        """Check what can be checked without a model and data."""
        for name in _LISTS:
            refuse_string(getattr(self, name), name)
        if self.depth < 1:
            raise InvalidArgument(f"depth {self.depth} < 1")
        if self.metrics == ():
            raise InvalidArgument('no metric given: name one, such as "ndcg@10"')
        for metric in self.metrics or ():
            parse_metric(metric)
        self._check_names()

    def _check_names(self) -> None:
        for name in self.baselines:
            if name not in BASELINES:
                known = ", ".join(BASELINES)
                raise InvalidArgument(f"baseline {name!r} is not one of {known}")
        for text in self.extra:
            if isinstance(text, str) and text != MRL_FUNNEL:
                OperatingPoint.parse(text)
        for precision in (*self.precisions, *self.shortlisted, *self.rescored):
            Stage(1, precision)  # refuses one that does not exist

    def metrics_for(self, evidence: Evidence) -> tuple[str, ...]:
        """Return the metrics to measure by.

        Raises:
            InvalidArgument: If one needs relevance labels and there are none.
        """
        depth = self.depth
        if evidence == "agreement":
            metrics = self.metrics or (f"overlap@{depth}", f"rbo@{depth}")
            for metric in metrics:
                if parse_metric(metric).needs_labels:
                    raise InvalidArgument(
                        f"{metric} needs relevance labels, and these queries have none: "
                        f"take overlap@{depth} or rbo@{depth}"
                    )
            return metrics
        if self.metrics or depth != _USUAL_DEPTH:
            return self.metrics or (f"recall@{depth}", f"ndcg@{depth}", f"overlap@{depth}")
        return ("ndcg@10", "recall@100", "overlap@10")

    def widths(self, model_dims: Sequence[int]) -> tuple[int, ...]:
        """Return the widths to measure, widest first.

        Args:
            model_dims: The widths to take where the grid names none.
        """
        return tuple(sorted({*(self.dims or model_dims)}, reverse=True))

    def points(
        self, *, full_dim: int, model_dims: Sequence[int], n_documents: int
    ) -> tuple[OperatingPoint, ...]:
        """List the points, full width at float32 first, none twice, none that cannot be coded.

        Args:
            full_dim: The model's width.
            model_dims: The widths to measure where the grid names none.
            n_documents: Size of the corpus.

        Raises:
            InvalidArgument: If a point is wider than the model, or hands on fewer than ``depth``.
        """
        dims = self.widths(model_dims)
        singles = [OperatingPoint.single(full_dim, "float32")]
        singles += [
            OperatingPoint.single(dim, precision)
            for dim, precision in product(dims, self.precisions)
            if can_code(dim, precision)
        ]
        keeps = self.keeps or default_keeps(n_documents, depth=self.depth)
        rescored = [
            OperatingPoint((Stage(dim, first, keep), Stage(full_dim, last)))
            for dim, first, keep, last in product(dims, self.shortlisted, keeps, self.rescored)
            if (dim, first) != (full_dim, last)  # would rescore with what it scanned
            and can_code(dim, first)
            and can_code(full_dim, last)
        ]
        extra = [_extra_point(each, full_dim) for each in self.extra]
        points = tuple(dict.fromkeys([*singles, *rescored, *extra]))
        for point in points:
            self._check(point, full_dim)
        return points

    def _check(self, point: OperatingPoint, full_dim: int) -> None:
        widest = max(stage.dim for stage in point.stages)
        if widest > full_dim:
            raise InvalidArgument(f"{point}: dim {widest} > full_dim {full_dim}")
        for stage in point.stages:
            if stage.keep is not None and stage.keep < self.depth:
                raise InvalidArgument(
                    f"{point}: keep {stage.keep} < depth {self.depth}, "
                    "so fewer would be handed on than asked for"
                )


DEFAULT_GRID = Grid()


def default_keeps(n_documents: int, *, depth: int = _USUAL_DEPTH) -> tuple[int, ...]:
    """Return the two longest usual shortlists within 1 % of the corpus and 1,000.

    At least ``depth``; where that is more than 1 %, the one usual length that reaches it.

    >>> default_keeps(46_254)
    (200, 400)
    >>> default_keeps(5_000, depth=100)
    (100,)
    """
    enough = [keep for keep in _KEEPS if keep >= depth] or [depth]
    within = [keep for keep in enough if keep <= n_documents * _KEEP_SHARE]
    return tuple(within[-2:]) or (enough[0],)


def mrl_funnel(full_dim: int) -> OperatingPoint:
    """Return the funnel retrieval of the Matryoshka paper (Kusupati et al. 2022), at float32.

    It scans 8 dims for a shortlist of 200, then doubles the dims and halves the list: 16, 32, 64
    and 128 dims order 200, 100, 50 and 25, and the model's full width (2048 in the paper) the last
    10. A narrower model has fewer steps in between.

    >>> str(mrl_funnel(48))
    '8:float32@200>16:float32@100>32:float32@50>48:float32'

    Raises:
        InvalidArgument: If the model has no more than 8 dims.
    """
    if full_dim <= 8:
        raise InvalidArgument(f"{MRL_FUNNEL} starts at 8 dims: full_dim {full_dim} has no more")
    steps = zip((8, 16, 32, 64, 128), (200, 100, 50, 25, 10), strict=True)
    shortlists = (Stage(dim, "float32", keep) for dim, keep in steps if dim < full_dim)
    return OperatingPoint((*shortlists, Stage(full_dim, "float32")))


def _extra_point(extra: OperatingPoint | str, full_dim: int) -> OperatingPoint:
    if isinstance(extra, OperatingPoint):
        return extra
    return mrl_funnel(full_dim) if extra == MRL_FUNNEL else OperatingPoint.parse(extra)
