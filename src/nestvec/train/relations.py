"""What is known of a batch's texts beside their vectors: which say the same, which are near.

In a batch of thousands of real pairs some questions stand twice, and some answers: trained as they
come, a model is told to push apart what belongs together. And where few pairs are there to learn
from, another model may know more of which texts are near than they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
