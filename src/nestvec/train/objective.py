"""What training asks of a batch: which prefixes, what is ranked against what, and what is added.

Settings and their checks only; the arithmetic is in ``nested`` and ``regularized``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from torch import Tensor


Direction = Literal["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"]
PartitionMode = Literal["joint", "per_direction"]
StraightThrough = Literal["int8", "binary"]
ANCHORS, CANDIDATES = 0, 1
_SIDES: dict[Direction, tuple[int, int]] = {
    "query_to_doc": (ANCHORS, CANDIDATES),
    "query_to_query": (ANCHORS, ANCHORS),
    "doc_to_query": (CANDIDATES, ANCHORS),
    "doc_to_doc": (CANDIDATES, CANDIDATES),
}


@dataclass(frozen=True)
class Relations:
    """Keys of texts and labels of pairs: equal ones say the same. None: nothing is known.

    Attributes:
        anchors: A key for each anchor's text, integers [n_anchors].
        candidates: A key for each candidate's text, of the same kind, [n_candidates]: first the
            positive of each anchor.
        labels: A label for each pair, [n_anchors].
        teacher: What another model makes of anchors and candidates, [n_anchors, width] and
            [n_candidates, width]: prefixes learn from its ranking, not from the full width's.
    """

    anchors: Tensor | None = None
    candidates: Tensor | None = None
    labels: Tensor | None = None
    teacher: tuple[Tensor, Tensor] | None = None

    def of_candidates(self, lines: slice) -> Tensor | None:
        """Tell which candidates answer which of some anchors: the own positive, and its like.

        Returns:
            [n_lines, n_candidates], or None where nothing is known.
        """
        pairs = self.of_anchors(lines)
        if self.anchors is None or self.candidates is None:
            return pairs
        same = self.candidates == self.candidates[lines, None]
        same |= self.candidates == self.anchors[lines, None]
        if pairs is not None:
            same[:, : len(self.anchors)] |= pairs
        return same

    def of_anchors(self, lines: slice) -> Tensor | None:
        """Tell which anchors ask the same as some: by their text, their positive or their label.

        Returns:
            [n_lines, n_anchors], or None where nothing is known.
        """
        same = None if self.labels is None else self.labels == self.labels[lines, None]
        if self.anchors is None or self.candidates is None:
            return same
        positives = self.candidates[: len(self.anchors)]
        asked = self.anchors == self.anchors[lines, None]
        asked |= positives == positives[lines, None]
        return asked if same is None else asked | same


NOTHING_KNOWN = Relations()


@dataclass(frozen=True)
class Prefixes:
    """Widths to train for, and what each counts.

    Attributes:
        dims: Ascending; may be given in any order.
        weights: One for each of ``dims``, in the same order; none for 1 each.
    """

    dims: tuple[int, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the values, and put them into order.

        Raises:
            InvalidArgument: If there is no dim, one is below 1 or stands twice, or weights are
                too few, too many, negative or all 0.
        """
        weights = self.weights or (1.0,) * len(self.dims)
        if not self.dims or min(self.dims) < 1 or len(set(self.dims)) < len(self.dims):
            raise InvalidArgument(f"dims {list(self.dims)} need distinct widths of at least 1")
        if len(weights) != len(self.dims):
            raise InvalidArgument(f"{len(weights)} weights for {len(self.dims)} dims")
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise InvalidArgument(f"weights {list(weights)} need to be 0 or more, not all 0")
        ordered = sorted(zip(self.dims, weights, strict=True))
        object.__setattr__(self, "dims", tuple(dim for dim, _ in ordered))
        object.__setattr__(self, "weights", tuple(float(weight) for _, weight in ordered))

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weighted sum of the losses, [n_dims], narrowest first."""
        # Not a product of matrices, which autocast would round.
        return (losses * losses.new_tensor(self.weights)).sum()


@dataclass(frozen=True)
class Ranking:
    """What each line is ranked against, and how chances are shared out.

    As in Sentence Transformers' MultipleNegativesRankingLoss, and beyond that ``teach``.

    Attributes:
        scale: Inverse temperature.
        directions: Beside "query_to_doc": each anchor against the other anchors, each positive
            against all anchors, and against the candidates of other anchors.
        partition_mode: "joint" is one softmax over all directions; "per_direction" one for each,
            whose losses are averaged.
        teach: Weight of the divergence of each prefix's chances from those of the full width,
            which is taken as given (self-distillation); 0 leaves it out.
        bfloat16: Round what goes into and comes out of matrix products; sums, norms and softmax
            stay float32. Gradients change by some 0.4 %.
    """

    scale: float = 20.0
    directions: tuple[Direction, ...] = ("query_to_doc",)
    partition_mode: PartitionMode = "joint"
    teach: float = 0.0
    bfloat16: bool = False

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            InvalidArgument: If one is out of range or unknown, or they do not go together.
        """
        if not 0 < self.scale < float("inf"):
            raise InvalidArgument(f"scale {self.scale} is not above 0 and finite")
        if not 0 <= self.teach < float("inf"):
            raise InvalidArgument(f"teach {self.teach} is not 0 or more and finite")
        if self.partition_mode not in get_args(PartitionMode):
            known = ", ".join(get_args(PartitionMode))
            raise InvalidArgument(f"partition_mode {self.partition_mode!r} is not one of {known}")
        _check_directions(self.directions, self.partition_mode)


def _check_directions(directions: Sequence[str], mode: PartitionMode) -> None:
    for direction in directions:
        if direction not in _SIDES:
            raise InvalidArgument(f"direction {direction!r} is not one of {', '.join(_SIDES)}")
    if "query_to_doc" not in directions:
        raise InvalidArgument("directions lack query_to_doc, which holds the positive pair")
    if len(set(directions)) < len(directions):
        raise InvalidArgument(f"directions {list(directions)} name one twice")
    one_kind = {"query_to_query", "doc_to_doc"} & {*directions}
    if mode == "per_direction" and one_kind:
        problem = f"{', '.join(sorted(one_kind))} lacks the positive pair"
        raise InvalidArgument(f"partition_mode per_direction: {problem}; take joint")


DEFAULT_RANKING = Ranking()


@dataclass(frozen=True)
class Objective:
    """Nested ranking, and what may be added to it; as it stands here, nothing is.

    Attributes:
        prefixes: Widths, and what each counts.
        ranking: What each line is ranked against.
        random_dims: So many more widths are drawn for each step, between the smallest and the
            largest of ``prefixes``, and trained with their mean weight: a width between two that
            are trained is worse than both suggest (sentence-transformers issue 2593).
        straight_through: Rank codes of the candidates as well, with the same weights; anchors stay
            floats, as in search. The gradient of a code is taken for its vector's (Bengio et al.
            2013). "binary" codes are signs, "int8" whole multiples of 1/127 of a vector's largest
            number.
        orthogonality: Weight of the squared correlations between dims (the covariance term of
            VICReg, Bardes et al. 2022, on correlations), see ``regularized.correlation_penalty``.
    """

    prefixes: Prefixes
    ranking: Ranking = DEFAULT_RANKING
    random_dims: int = 0
    straight_through: StraightThrough | None = None
    orthogonality: float = 0.0

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            InvalidArgument: If one is out of range or unknown.
        """
        if not 0 <= self.random_dims <= len(self._between()):
            limit = f"0 to {len(self._between())}, the widths between those of dims"
            raise InvalidArgument(f"random_dims {self.random_dims} is not within {limit}")
        if self.straight_through not in (None, *get_args(StraightThrough)):
            known = ", ".join(get_args(StraightThrough))
            problem = f"straight_through {self.straight_through!r} is not one of {known}"
            raise InvalidArgument(problem)
        if not 0 <= self.orthogonality < float("inf"):
            raise InvalidArgument(f"orthogonality {self.orthogonality} is not 0 or more and finite")

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw the further widths of a step."""
        drawn = rng.choice(self._between(), self.random_dims, replace=False)
        return tuple(drawn.tolist())

    def prefixes_with(self, drawn: Sequence[int]) -> Prefixes:
        """Return the prefixes of a step that drew some widths."""
        if not drawn:
            return self.prefixes
        dims, weights = self.prefixes.dims, self.prefixes.weights
        mean = sum(weights) / len(weights)
        return Prefixes((*dims, *drawn), (*weights, *(mean,) * len(drawn)))

    def _between(self) -> list[int]:
        dims = self.prefixes.dims
        return sorted({*range(dims[0], dims[-1])} - {*dims})


class Side(NamedTuple):
    """A direction: what stands left and right, and its columns in the matrix of a chunk."""

    left: int
    right: int
    columns: slice

    @property
    def holds_positive(self) -> bool:
        """Whether a line is ranked against its own pair's other text."""
        return self.left != self.right


class Pool(NamedTuple):
    """Columns that share one softmax, and where among them the first pair's positive stands."""

    columns: slice
    own: int


def lay_out(ranking: Ranking, lengths: Sequence[int]) -> tuple[list[Side], list[Pool]]:
    """Put the similarities of all directions side by side.

    Args:
        ranking: Which directions.
        lengths: Numbers of anchors and of candidates.
    """
    sides: list[Side] = []
    for direction in ranking.directions:
        left, right = _SIDES[direction]
        start = sides[-1].columns.stop if sides else 0
        sides.append(Side(left, right, slice(start, start + lengths[right])))
    if ranking.partition_mode == "per_direction":
        return sides, [Pool(side.columns, 0) for side in sides]
    own = sides[ranking.directions.index("query_to_doc")].columns.start
    return sides, [Pool(slice(0, sides[-1].columns.stop), own)]
