"""Tiers: named operating points of one server, and what a request means by model and point.

A request names a tier by the model's suffix, ``my-model:fast``, or in ``point``, where it may also
write an operating point out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nestvec.errors import InvalidArgument
from nestvec.serve.errors import ApiError
from nestvec.types import OperatingPoint

if TYPE_CHECKING:
    from nestvec.serve.served import Served

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def read_tiers(texts: Sequence[str]) -> dict[str, OperatingPoint]:
    """Read ``NAME=POINT``, one for each tier.

    >>> read_tiers(["fast=64:int4"])["fast"].stages[0].dim
    64

    Raises:
        InvalidArgument: If one is not so, or a name stands twice.
    """
    tiers: dict[str, OperatingPoint] = {}
    for text in texts:
        name, sign, point = text.partition("=")
        if not sign or not _NAME.fullmatch(name):
            raise InvalidArgument(f"--tier {text!r}: write NAME=POINT as fast=64:int4")
        if name in tiers:
            raise InvalidArgument(f"--tier {name} stands twice")
        tiers[name] = OperatingPoint.parse(point)
    return tiers


def split_name(model: str, known: str) -> tuple[str, str | None]:
    """Return a model's name and the tier in its suffix, None where it has none."""
    if model == known:
        return model, None
    name, sign, tier = model.rpartition(":")
    return (name, tier) if sign and name == known else (model, None)


def tier_of(served: Served, model: str | None) -> str | None:
    """Return the tier that a request's ``model`` names, None for the model as it is.

    Raises:
        ApiError: 404 if there is no such model or tier.
    """
    if model is None:
        return None
    name, tier = split_name(model, served.name)
    if name != served.name or (tier is not None and tier not in served.tiers):
        known = ", ".join(served.model_names)
        problem = f"there is no model {model!r}: take one of {known}"
        raise ApiError(404, problem, param="model", code="model_not_found")
    return tier


def point_named(tiers: Mapping[str, OperatingPoint], text: str) -> OperatingPoint:
    """Return the tier of a name, or the point that is written out.

    Raises:
        InvalidArgument: If it is neither.
    """
    if text in tiers:
        return tiers[text]
    if ":" not in text:
        known = ", ".join(tiers) or "none"
        raise InvalidArgument(f"point {text!r} is no tier (there are: {known}) and no point")
    return OperatingPoint.parse(text)
