"""The grid of operating points to measure, with metrics and baselines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, get_args

from nestvec.codec.quantizer import can_code
from nestvec.engines.engine import Capabilities
from nestvec.errors import InvalidArgument, check_least, refuse_string
from nestvec.metrics.relevance import parse_metric
from nestvec.types import PRECISIONS, Evidence, OperatingPoint, Precision, Stage

Baseline = Literal["bm25", "svd", "pca", "random"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
MRL_FUNNEL = "mrl-funnel"

_logger = logging.getLogger(__name__)

_KEEPS = (10, 25, 50, 100, 200, 400, 1000)
_KEEP_SHARE = 0.01  # maximum length of a default shortlist relative to the corpus
_DEFAULT_DEPTH = 10
# Without pq4: binary with twice the dims scores higher, and int2 is close (docs/precisions.md).
# Without sign: binary has the same size and scores higher. Engines without binary measure sign.
_DEFAULT_PRECISIONS = tuple(each for each in PRECISIONS if each not in ("pq4", "sign"))


_LISTS = (
    *("dims", "precisions", "shortlisted", "rescored", "keeps", "extra"),
    *("metrics", "slice_by", "baselines"),
)


@dataclass(frozen=True)
class Grid:
    """Operating points, metrics and baselines to measure.

    Attributes:
        dims: Widths; None for the dims of the model.
        precisions: Precisions of points with one stage. Here and below, pq4 is not measured at odd
            dims.
        shortlisted: Precisions of the first stage of points with two stages.
        rescored: Precisions of the second stage, at full width.
        keeps: Lengths of the shortlist, each at least ``depth``. None chooses two lengths by the
            size of the corpus, see ``default_keeps``.
        extra: Additional points: as objects, as text, or by name ("mrl-funnel").
        depth: Number of documents that a search returns, for example to a reader or a reranker.
        metrics: Metrics as ``name@k``, the most important first. None chooses metrics by the
            evidence.
        group_by: Metadata field of the documents with the id of the document that a chunk belongs
            to. Then whole documents are ranked, each at the rank of its best chunk.
        slice_by: Fields of the queries, for separate results by value.
        baselines: Other methods to compare with the model; not with ``filter_by``.
        keep_self: Rank a query's own document if a query is itself a document of the corpus: the id
            and the text are equal. By default, each query ignores its own document.
        filter_by: Field of the queries whose value is a filter, such as ``lang = 'de'``. Each query
            then ranks only documents that match; a query without a filter ranks all documents.
            Results are also shown by the share of documents that match, as the slice "filter".
    """

    dims: tuple[int, ...] | None = None
    precisions: tuple[Precision, ...] = _DEFAULT_PRECISIONS
    shortlisted: tuple[Precision, ...] = ("int8", "int4", "int2", "binary")
    rescored: tuple[Precision, ...] = ("float16", "int8")
    keeps: tuple[int, ...] | None = None
    extra: tuple[OperatingPoint | str, ...] = ()
    depth: int = _DEFAULT_DEPTH
    metrics: tuple[str, ...] | None = None
    group_by: str | None = None
    slice_by: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    keep_self: bool = False
    filter_by: str | None = None

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the model and the data."""
        for name in _LISTS:
            refuse_string(getattr(self, name), name)
        check_least(self, depth=1)
        if self.metrics == ():
            raise InvalidArgument('metrics is empty. Pass a metric such as "ndcg@10", or None.')
        for metric in self.metrics or ():
            parse_metric(metric)
        self._check_names()
        self._check_filters()

    def _check_filters(self) -> None:
        if self.filter_by is not None and self.baselines:
            problem = f"baselines are not measured with filters (filter_by={self.filter_by!r})."
            raise InvalidArgument(f"{problem} Remove one of the two settings.")
        if self.filter_by is not None and "filter" in self.slice_by:
            problem = "slice_by contains 'filter', which is the name of the slice by selectivity."
            raise InvalidArgument(f"{problem} Remove 'filter', or give the field another name.")

    def _check_names(self) -> None:
        for name in self.baselines:
            if name not in BASELINES:
                known = ", ".join(BASELINES)
                raise InvalidArgument(f"Baseline {name!r} is not one of {known}.")
        for text in self.extra:
            if isinstance(text, str) and text != MRL_FUNNEL:
                OperatingPoint.parse(text)
        for precision in (*self.precisions, *self.shortlisted, *self.rescored):
            Stage(1, precision)  # raises if the precision does not exist

    def metrics_for(self, evidence: Evidence) -> tuple[str, ...]:
        """Return the metrics to measure.

        Raises:
            InvalidArgument: If a metric needs relevance labels and there are none.
        """
        depth = self.depth
        if evidence == "agreement":
            metrics = self.metrics or (f"overlap@{depth}", f"rbo@{depth}")
            for metric in metrics:
                if parse_metric(metric).needs_labels:
                    raise InvalidArgument(
                        f"{metric} needs relevance labels (qrels), but these queries have none. "
                        f"Use overlap@{depth} or rbo@{depth}."
                    )
            return metrics
        if self.metrics or depth != _DEFAULT_DEPTH:
            return self.metrics or (f"recall@{depth}", f"ndcg@{depth}", f"overlap@{depth}")
        return ("ndcg@10", "recall@100", "overlap@10")

    def for_engine(self, engine: Capabilities) -> Grid:
        """Return the grid with default precisions that an engine supports.

        Precisions that differ from the defaults are not changed. An engine without any default
        precision of a shortlist makes shortlists with its precisions below 32 bits, or float32.
        """

        def supported(name: str, by: frozenset[Precision]) -> tuple[Precision, ...]:
            chosen: tuple[Precision, ...] = getattr(self, name)
            if chosen != getattr(DEFAULT_GRID, name):
                return chosen
            known = tuple(each for each in PRECISIONS if each in by)
            smaller = tuple(each for each in known if each != "float32")
            return tuple(each for each in chosen if each in by) or smaller or known

        return replace(
            self,
            precisions=supported("precisions", engine.scanned),
            shortlisted=supported("shortlisted", engine.scanned),
            rescored=supported("rescored", engine.rescored),
        )

    def widths(self, model_dims: Sequence[int]) -> tuple[int, ...]:
        """Return the widths to measure, widest first.

        Args:
            model_dims: Widths to use if ``dims`` is None.
        """
        return tuple(sorted({*(self.dims or model_dims)}, reverse=True))

    def points(
        self, *, full_dim: int, model_dims: Sequence[int], n_documents: int
    ) -> tuple[OperatingPoint, ...]:
        """Return the distinct points that can be coded; full width at float32 is first.

        Args:
            full_dim: The model's width.
            model_dims: Widths to use if ``dims`` is None.
            n_documents: Size of the corpus.

        Raises:
            InvalidArgument: If a point is wider than the model, or a shortlist is shorter than
                ``depth``.
        """
        dims = self.widths(model_dims)
        self._warn_of_odd_dims(dims)
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
            if (dim, first) != (full_dim, last)  # rescoring with the same codes has no effect
            and can_code(dim, first)
            and can_code(full_dim, last)
        ]
        extra = [_extra_point(each, full_dim) for each in self.extra]
        points = tuple(dict.fromkeys([*singles, *rescored, *extra]))
        for point in points:
            self._check(point, full_dim)
        return points

    def _warn_of_odd_dims(self, dims: Sequence[int]) -> None:
        precisions = {*self.precisions, *self.shortlisted}
        odd = [dim for dim in dims if not all(can_code(dim, each) for each in precisions)]
        if odd:
            shown = ", ".join(map(str, odd))
            _logger.warning("pq4 is not measured at odd numbers of dims: %s", shown)

    def _check(self, point: OperatingPoint, full_dim: int) -> None:
        widest = max(stage.dim for stage in point.stages)
        if widest > full_dim:
            problem = f"{point}: dim {widest} is larger than full_dim={full_dim}."
            raise InvalidArgument(f"{problem} Choose dims from 1 to {full_dim}.")
        for stage in point.stages:
            if stage.keep is not None and stage.keep < self.depth:
                raise InvalidArgument(
                    f"{point}: keep {stage.keep} is less than depth={self.depth}. "
                    f"Choose a shortlist of {self.depth} or more."
                )


DEFAULT_GRID = Grid()


def default_keeps(n_documents: int, *, depth: int = _DEFAULT_DEPTH) -> tuple[int, ...]:
    """Return the default lengths of shortlists for a corpus.

    These are the two longest of 10, 25, 50, 100, 200, 400 and 1,000 that are at least ``depth`` and
    at most 1 % of the corpus. If none is, the shortest that is at least ``depth`` is returned.

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

    The first stage scans 8 dims for a shortlist of 200. Each next stage doubles the dims and halves
    the list: 16, 32, 64 and 128 dims rank 200, 100, 50 and 25 documents. The full width (2048 in
    the paper) ranks the last 10. Narrower models have fewer stages.

    >>> str(mrl_funnel(48))
    '8:float32@200>16:float32@100>32:float32@50>48:float32'

    Raises:
        InvalidArgument: If the model has no more than 8 dims.
    """
    if full_dim <= 8:
        problem = f"{MRL_FUNNEL} starts at 8 dims, but the model has only full_dim={full_dim}."
        raise InvalidArgument(f"{problem} Remove {MRL_FUNNEL}.")
    steps = zip((8, 16, 32, 64, 128), (200, 100, 50, 25, 10), strict=True)
    shortlists = (Stage(dim, "float32", keep) for dim, keep in steps if dim < full_dim)
    return OperatingPoint((*shortlists, Stage(full_dim, "float32")))


def _extra_point(extra: OperatingPoint | str, full_dim: int) -> OperatingPoint:
    if isinstance(extra, OperatingPoint):
        return extra
    return mrl_funnel(full_dim) if extra == MRL_FUNNEL else OperatingPoint.parse(extra)
