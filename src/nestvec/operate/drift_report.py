"""The results of ``drift``: what has changed since an index was built, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from nestvec.types import Precision


@dataclass(frozen=True)
class CanaryCheck:
    """The model of an index, compared with the vectors that it returned for the canaries.

    Attributes:
        model: The model that encodes documents.
        texts: Number of canaries; 0 if the index has none.
        recorded_at: When the canaries were recorded, ISO 8601, UTC; "" without canaries.
        skipped: Why no text was encoded, as a sentence; "" if the canaries were encoded.
        lowest: The lowest cosine between a recorded vector and the vector of today; None if no
            text was encoded.
        mean: The mean cosine; None if no text was encoded.
        min_cosine: The lowest cosine that passes.
        noted: What else differs from the recorded model, such as its weights; "" for nothing.
    """

    model: str
    texts: int
    recorded_at: str
    skipped: str
    lowest: float | None
    mean: float | None
    min_cosine: float
    noted: str = ""

    @property
    def passed(self) -> bool:
        """Whether the model returns the recorded vectors, or was not asked for any."""
        return self.lowest is None or self.lowest >= self.min_cosine

    @property
    def failure(self) -> str:
        """What is wrong, in one sentence; "" if the check passed."""
        if self.passed:
            return ""
        return (
            f"the lowest cosine of the canaries is {self.lowest:.4f}, below {self.min_cosine:g}: "
            f"{self.model} no longer returns the vectors of the index"
        )


@dataclass(frozen=True)
class CodecFit:
    """How well the calibration of one representation fits sampled documents.

    Attributes:
        dim: Number of dimensions.
        precision: Precision of the codes.
        outside: Share of the values that the calibration does not fit.
    """

    dim: int
    precision: Precision
    outside: float


@dataclass(frozen=True)
class CalibrationCheck:
    """Whether the calibration of the codes fits the documents that the index has now.

    Attributes:
        documents: Number of sampled documents.
        codecs: One for each calibrated representation of the operating point.
        added: Share of the values that the calibration does not fit, among documents that were
            added since the codes were calibrated; None if there are none, or it is not counted.
        max_outside: The largest share for which no new calibration is advised.
    """

    documents: int
    codecs: tuple[CodecFit, ...]
    added: float | None
    max_outside: float

    @property
    def outside(self) -> float:
        """The largest of all shares."""
        return max([*(each.outside for each in self.codecs), self.added or 0.0])

    @property
    def is_due(self) -> bool:
        """Whether the codes should be calibrated again."""
        return self.outside > self.max_outside

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the values that ``dataclasses.asdict`` wrote."""
        codecs = tuple(CodecFit(**each) for each in values["codecs"])
        return cls(**{**values, "codecs": codecs})
