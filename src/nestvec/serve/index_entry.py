"""What a list of models says of the index beside the model: how it may be searched."""

from __future__ import annotations

from pydantic import BaseModel

from nestvec.serve.serving import Serving
from nestvec.types import PRECISIONS


class IndexEntry(BaseModel):
    """An index, as a client needs to know it to name operating points."""

    documents: int
    dims: list[int]
    precisions: list[str]
    any_point: bool
    most_kept: int


def index_entry(serving: Serving) -> IndexEntry | None:
    """Describe the index that is served; None where there is none.

    Product codes are not offered: making them takes seconds. A request may still name them.
    """
    index, settings = serving.served.index, serving.settings
    if index is None:
        return None
    left_out = {"pq4"} if index.stats().stored == "float32" else {"pq4", "float32"}
    return IndexEntry(
        documents=len(index),
        dims=list(serving.served.searched_dims),
        precisions=[name for name in PRECISIONS if name not in left_out],
        any_point=settings.allow_any_point,
        most_kept=settings.limits.keep,
    )
