"""The codecs of an index: those of its manifest, and those of other operating points.

A codec is fitted to a sample of the stored vectors that have codes, in descending order of id.
The curve is measured with the same sample, so the codes of the index equal the measured codes.
While no vector has codes, codecs are exact: they keep float32 prefixes of the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec, sample_rows
from nestvec.engines.embedded.folder import coded_keys
from nestvec.engines.embedded.part import OnceMap
from nestvec.engines.embedded.snapshot import Snapshot
from nestvec.engines.manifest import Stored
from nestvec.types import CodeKey, ModelInfo, OperatingPoint


class Codecs:
    """The codecs of all representations; each is fitted once, when it is first needed."""

    def __init__(self, model: ModelInfo, known: Mapping[CodeKey, Codec]) -> None:
        """Start with codecs that are already fitted.

        Args:
            model: The model of the vectors.
            known: The codecs of the manifest, by (dim, precision).
        """
        self._model = model
        self._fitted = OnceMap(known)

    @property
    def fitted(self) -> Mapping[CodeKey, Codec]:
        """All fitted codecs, by (dim, precision)."""
        return self._fitted.computed

    def of(self, point: OperatingPoint, snapshot: Snapshot) -> list[Codec]:
        """Return the codec of each stage of a point; a missing codec is fitted on a snapshot.

        If no vector of the snapshot has codes, the codecs are exact.
        """
        return [self._of(stage.representation, snapshot) for stage in point.stages]

    def _of(self, key: CodeKey, snapshot: Snapshot) -> Codec:
        dim, precision = key
        if precision not in get_args(Stored) and not snapshot.starts[-1]:
            return Codec(dim, "float32", self._model.layer_norm, np.empty(0, dtype=np.float32))
        return self._fitted.get(key, lambda: self._fit(key, snapshot))

    def _fit(self, key: CodeKey, snapshot: Snapshot) -> Codec:
        dim, precision = key
        n_coded = int(snapshot.starts[-1])
        rows = snapshot.rows(sample_rows(n_coded, precision))
        sample = snapshot.vectors.floats(rows, dim)
        if not len(sample):
            sample = np.zeros((1, dim), dtype=np.float32)
        return Codec.fit_stored(sample, dim, precision, layer_norm=self._model.layer_norm)


def make_codes(codecs: Codecs, snapshot: Snapshot, point: OperatingPoint) -> None:
    """Write the code files that a point needs, if they do not exist."""
    for codec in codecs.of(point, snapshot):
        if (codec.dim, codec.precision) in coded_keys(point):
            for part in snapshot.parts:
                part.codes(codec)


class Drift(NamedTuple):
    """The number of checked values, and of those that the calibration of a codec does not fit."""

    checked: int
    outside: int


NO_DRIFT = Drift(0, 0)


def measure_drift(codecs: Iterable[Codec], vectors: NDArray[np.floating]) -> Drift:
    """Count the values of vectors that the calibration of codecs does not fit.

    Args:
        codecs: Codecs; those that are not fitted are not counted.
        vectors: Vectors as the index stores them, [n, full_dim].
    """
    checked = outside = 0
    for codec in codecs:
        misfit = codec.count_misfit(vectors)
        if misfit is not None:
            checked += len(vectors) * codec.dim
            outside += misfit
    return Drift(checked, outside)
