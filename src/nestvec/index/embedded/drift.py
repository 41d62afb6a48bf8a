"""How far new vectors fall outside what codecs were fitted on: then they are coded coarsely."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import prefix


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
