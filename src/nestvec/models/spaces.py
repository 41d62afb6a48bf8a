"""Spaces: models whose vectors can be compared with each other."""

from __future__ import annotations

from nestvec.models.api.address import model_part
from nestvec.models.known import Rows, find_known
from nestvec.types import ModelInfo


def share_space(one: ModelInfo, other: ModelInfo, models: Rows | None = None) -> bool:
    """Return whether two models are known to share a space: equal weights, or one family."""
    if one.weights and one.weights == other.weights:
        return True
    return one_family(one.name, other.name, models)


def one_family(one: str, other: str, models: Rows | None = None) -> bool:
    """Return whether the table of known models states one space for two names."""
    rows = [find_known(model_part(name), models) for name in (one, other)]
    spaces = {"" if row is None else row.space for row in rows}
    return len(spaces) == 1 and spaces != {""}
