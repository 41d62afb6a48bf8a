"""The rows that a search may return. Which documents these are, and why, is for others to say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Rows


@dataclass(frozen=True, eq=False)
class Allowed:
    """Some rows of a corpus, the same for all queries of a search.

    Attributes:
        mask: [n], True where a row may be returned; not to be changed afterwards.
    """

    mask: NDArray[np.bool_]

    @cached_property
    def count(self) -> int:
        """How many rows are allowed."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def rows(self) -> Rows:
        """The allowed rows, ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def faiss_parameters(self) -> Any:
        """What makes a FAISS index search these rows only, if it can."""
        import faiss

        bits = np.packbits(self.mask, bitorder="little")
        selector: Any = faiss.IDSelectorBitmap  # takes other arguments than its stub says
        parameters: Any = faiss.SearchParameters
        return parameters(sel=selector(bits))
