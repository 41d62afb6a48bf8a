"""Settings of the nested ranking loss: prefixes, compared sides, and additional terms.

``nested`` and ``regularized`` compute the loss.
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
    """Relations between the texts of a batch, to exclude false negatives; and a teacher's vectors.

    Each attribute may be None if it is not known. Texts with equal keys are equal.

    Attributes:
        anchors: A key for the text of each anchor, integers [n_anchors].
        candidates: A key for the text of each candidate, [n_candidates]. The positives of all
            anchors are first.
        labels: A label for each pair, [n_anchors]. Pairs with equal labels are equivalent.
        teacher: A teacher's embeddings of anchors and candidates, [n_anchors, width] and
            [n_candidates, width], to distill from instead of the full width.
    """

    anchors: Tensor | None = None
    candidates: Tensor | None = None
    labels: Tensor | None = None
    teacher: tuple[Tensor, Tensor] | None = None

    def positive_candidates(self, rows: slice) -> Tensor | None:
        """Mark the candidates that are positives of the given anchors, or equal to them.

        Returns:
            Booleans, [n_rows, n_candidates]; None if no relation is known.
        """
        pairs = self.equivalent_anchors(rows)
        if self.anchors is None or self.candidates is None:
            return pairs
        same = self.candidates == self.candidates[rows, None]
        same |= self.candidates == self.anchors[rows, None]
        if pairs is not None:
            same[:, : len(self.anchors)] |= pairs
        return same

    def equivalent_anchors(self, rows: slice) -> Tensor | None:
        """Mark the anchors with the same text, positive or label as the given anchors.

        Returns:
            Booleans, [n_rows, n_anchors]; None if no relation is known.
        """
        same = None if self.labels is None else self.labels == self.labels[rows, None]
        if self.anchors is None or self.candidates is None:
            return same
        positives = self.candidates[: len(self.anchors)]
        same_text = self.anchors == self.anchors[rows, None]
        same_text |= positives == positives[rows, None]
        return same_text if same is None else same_text | same


NO_RELATIONS = Relations()


@dataclass(frozen=True)
class Prefixes:
    """Trained widths and their loss weights.

    Attributes:
        dims: Widths. They are sorted in ascending order.
        weights: Weight of each of ``dims``, in the same order; if empty, all are 1.
    """

    dims: tuple[int, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the values and sort them by dim.

        Raises:
            InvalidArgument: If there is no dim, a dim is below 1 or repeated, the number of weights
                differs from the number of dims, or weights are negative or all 0.
        """
        weights = self.weights or (1.0,) * len(self.dims)
        if not self.dims or min(self.dims) < 1 or len(set(self.dims)) < len(self.dims):
            problem = f"dims {list(self.dims)} are not valid."
            raise InvalidArgument(f"{problem} Use one or more distinct widths of at least 1.")
        if len(weights) != len(self.dims):
            problem = f"There are {len(weights)} weights for {len(self.dims)} dims."
            raise InvalidArgument(f"{problem} Pass one weight for each dim.")
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            problem = f"weights {list(weights)} are not valid."
            raise InvalidArgument(f"{problem} Use finite values of 0 or more, not all 0.")
        ordered = sorted(zip(self.dims, weights, strict=True))
        object.__setattr__(self, "dims", tuple(dim for dim, _ in ordered))
        object.__setattr__(self, "weights", tuple(float(weight) for _, weight in ordered))

    def weighted_sum(self, losses: Tensor) -> Tensor:
        """Return the weighted sum of the losses, [n_dims], narrowest first."""
        # Not a matrix product, because autocast would round the result.
        return (losses * losses.new_tensor(self.weights)).sum()


@dataclass(frozen=True)
class Ranking:
    """Settings of the ranking loss.

    All but ``teach`` are as in MultipleNegativesRankingLoss of Sentence Transformers.

    Attributes:
        scale: Inverse temperature.
        directions: "query_to_doc" ranks candidates for each anchor and is required. Others add
            each anchor against the other anchors ("query_to_query"), each positive against all
            anchors ("doc_to_query"), and each positive against the candidates of other anchors
            ("doc_to_doc").
        partition_mode: "joint" computes one softmax over all directions; "per_direction" computes
            one for each direction and averages the losses.
        teach: Weight of the divergence of each prefix's probabilities from those of the full width,
            which get no gradient from this term (self-distillation); 0 disables it.
        bfloat16: Round inputs and outputs of matrix products to bfloat16. Sums, norms and softmax
            are float32. Gradients change by about 0.4 %.
    """

    scale: float = 20.0
    directions: tuple[Direction, ...] = ("query_to_doc",)
    partition_mode: PartitionMode = "joint"
    teach: float = 0.0
    bfloat16: bool = False

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            InvalidArgument: If a value is out of range or unknown, or values cannot be combined.
        """
        if not 0 < self.scale < float("inf"):
            problem = f"scale={self.scale} is out of range."
            raise InvalidArgument(f"{problem} Choose a finite value greater than 0.")
        if not 0 <= self.teach < float("inf"):
            problem = f"teach={self.teach} is out of range."
            raise InvalidArgument(f"{problem} Choose a finite value of 0 or more.")
        if self.partition_mode not in get_args(PartitionMode):
            known = ", ".join(get_args(PartitionMode))
            raise InvalidArgument(f"partition_mode={self.partition_mode!r} is not one of {known}.")
        _check_directions(self.directions, self.partition_mode)


def _check_directions(directions: Sequence[str], mode: PartitionMode) -> None:
    for direction in directions:
        if direction not in _SIDES:
            raise InvalidArgument(f"direction {direction!r} is not one of {', '.join(_SIDES)}.")
    if "query_to_doc" not in directions:
        problem = f"directions {list(directions)} do not include query_to_doc."
        raise InvalidArgument(f"{problem} Add query_to_doc, which ranks the positive.")
    if len(set(directions)) < len(directions):
        raise InvalidArgument(f"directions {list(directions)} repeat a value. Remove duplicates.")
    one_kind = {"query_to_query", "doc_to_doc"} & {*directions}
    if mode == "per_direction" and one_kind:
        problem = f"{', '.join(sorted(one_kind))} has no positive pair for its own softmax."
        raise InvalidArgument(f"{problem} Use partition_mode='joint' instead of 'per_direction'.")


DEFAULT_RANKING = Ranking()


@dataclass(frozen=True)
class Objective:
    """Nested ranking loss and its optional terms, which are off by default.

    Attributes:
        prefixes: Widths and their weights.
        ranking: Settings of the ranking loss.
        random_dims: Number of additional widths to draw at each step between the smallest and the
            largest of ``prefixes``, trained with their mean weight. Widths that are not trained
            score lower than interpolation between trained widths suggests (sentence-transformers
            issue 2593).
        straight_through: Also rank codes of the candidates, with the same weights. Anchors stay
            floats, as in search. The gradient of a code is used as the gradient of its vector
            (Bengio et al. 2013). "binary" codes are signs; "int8" codes are multiples of 1/127 of
            a vector's largest absolute value.
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
            InvalidArgument: If a value is out of range or unknown.
        """
        if not 0 <= self.random_dims <= len(self._between()):
            problem = f"random_dims={self.random_dims} is out of range."
            limit = f"from 0 to {len(self._between())}, the number of untrained widths between dims"
            raise InvalidArgument(f"{problem} Choose a value {limit}.")
        if self.straight_through not in (None, *get_args(StraightThrough)):
            known = ", ".join(get_args(StraightThrough))
            problem = f"straight_through={self.straight_through!r} is not one of {known}."
            raise InvalidArgument(problem)
        if not 0 <= self.orthogonality < float("inf"):
            problem = f"orthogonality={self.orthogonality} is out of range."
            raise InvalidArgument(f"{problem} Choose a finite value of 0 or more.")

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw the additional widths of a step."""
        drawn = rng.choice(self._between(), self.random_dims, replace=False)
        return tuple(drawn.tolist())

    def prefixes_with(self, drawn: Sequence[int]) -> Prefixes:
        """Return the prefixes of a step, including the widths drawn for it."""
        if not drawn:
            return self.prefixes
        dims, weights = self.prefixes.dims, self.prefixes.weights
        mean = sum(weights) / len(weights)
        return Prefixes((*dims, *drawn), (*weights, *(mean,) * len(drawn)))

    def _between(self) -> list[int]:
        dims = self.prefixes.dims
        return sorted({*range(dims[0], dims[-1])} - {*dims})


class DirectionLayout(NamedTuple):
    """A direction: its left and right side, and its columns in the similarity matrix."""

    left: int
    right: int
    columns: slice

    @property
    def has_positive(self) -> bool:
        """Whether the columns include the other text of each row's pair."""
        return self.left != self.right


class SoftmaxGroup(NamedTuple):
    """Columns that share one softmax, and the column of the first pair's positive among them."""

    columns: slice
    positive: int


def layout_columns(
    ranking: Ranking, lengths: Sequence[int]
) -> tuple[list[DirectionLayout], list[SoftmaxGroup]]:
    """Assign columns of one similarity matrix to the directions, and group them by softmax.

    Args:
        ranking: Settings with the directions.
        lengths: Numbers of anchors and of candidates.
    """
    sides: list[DirectionLayout] = []
    for direction in ranking.directions:
        left, right = _SIDES[direction]
        start = sides[-1].columns.stop if sides else 0
        sides.append(DirectionLayout(left, right, slice(start, start + lengths[right])))
    if ranking.partition_mode == "per_direction":
        return sides, [SoftmaxGroup(side.columns, 0) for side in sides]
    positive = sides[ranking.directions.index("query_to_doc")].columns.start
    return sides, [SoftmaxGroup(slice(0, sides[-1].columns.stop), positive)]
