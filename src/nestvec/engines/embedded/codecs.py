"""The codecs of an index: those in its manifest, and those that another point needs.

What a precision learns, it learns from the stored vectors of the documents that are coded, in
descending order of id: the same sample, and so the same codes, as when the curve was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec, sample_rows
from nestvec.codec.prefix import prefix
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.engines.embedded.folder import with_codes
from nestvec.engines.embedded.part import Once
from nestvec.engines.embedded.snapshot import Snapshot
from nestvec.types import CodeKey, ModelInfo, OperatingPoint


class Codecs:
    """What makes the codes of any representation, fitted once."""

    def __init__(self, model: ModelInfo, known: Mapping[CodeKey, Codec]) -> None:
        """Take those that are known already."""
        self._model = model
        self._fitted = Once(known)

    @property
    def fitted(self) -> Mapping[CodeKey, Codec]:
        """All that are known, by (dim, precision)."""
        return self._fitted.made

    def of(self, point: OperatingPoint, snapshot: Snapshot) -> list[Codec]:
        """Return the codec of each stage, fitted on a snapshot if it is not known yet."""
        return [self._of(stage.representation, snapshot) for stage in point.stages]

    def _of(self, key: CodeKey, snapshot: Snapshot) -> Codec:
        dim, precision = key
        fitted = QUANTIZERS[precision].fitted_values > 0
        if fitted and not snapshot.starts[-1] and key not in self.fitted:
            # Nothing to learn from, and nothing coded: the tail is scored as it is.
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
    """Have the codes that a point needs in files."""
    for codec in codecs.of(point, snapshot):
        if (codec.dim, codec.precision) in with_codes(point):
            for part in snapshot.parts:
                part.codes(codec)


class Drift(NamedTuple):
    """Values that were looked at, and how many of them stand outside the fitted ranges."""

    checked: int
    outside: int


NO_DRIFT = Drift(0, 0)


def drift(codecs: Iterable[Codec], vectors: NDArray[np.floating]) -> Drift:
    """Count over all codecs that have learnt ranges.

    Args:
        codecs: Any.
        vectors: As they are stored, [n, full_dim].
    """
    checked = outside = 0
    for codec in codecs:
        if codec.ranges is None:
            continue
        low, high = codec.ranges
        values = prefix(vectors.astype(np.float32), codec.dim)
        checked += values.size
        outside += int(np.count_nonzero((values < low) | (values > high)))
    return Drift(checked, outside)
