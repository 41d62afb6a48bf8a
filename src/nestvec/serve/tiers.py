"""Tiers: named operating points of one server, and what a request means by model and point.

A request names a tier by the model's suffix, ``my-model:fast``, or in ``point``, where it may also
write an operating point out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nestvec.errors import InvalidArgument
from nestvec.serve.errors import ApiError, refused
from nestvec.serve.serving import Serving
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


def point_asked(serving: Serving, model: str | None, text: str | None) -> OperatingPoint:
    """Return the point that a request means.

    Raises:
        ApiError: 400 if it cannot be read or searched here, 404 if there is no such model.
    """
    served, index = serving.served, serving.index
    tier = tier_of(served, model)
    if text is None:
        return index.point if tier is None else served.tiers[tier]
    try:
        point = point_named(served.tiers, text)
    except InvalidArgument as error:
        raise refused(str(error), "point") from error
    if point != index.point and point not in served.tiers.values():
        _check(serving, point)
    return point


def _check(serving: Serving, point: OperatingPoint) -> None:
    """Refuse what would cost more than a request may; a new width is a new copy of all codes."""
    served, settings = serving.served, serving.settings
    if not settings.allow_any_point:
        known = ", ".join(served.tiers) or "none"
        raise refused(f"point {point}: only tiers are open here ({known})", "point")
    keeps = [stage.keep or 0 for stage in point.stages]
    if max(keeps) > settings.limits.keep:
        raise refused(f"point {point}: keep {max(keeps):,} > {settings.limits.keep:,}", "point")
    for stage in point.stages:
        if stage.dim > served.info.full_dim:
            problem = f"point {point}: dim {stage.dim} > full_dim {served.info.full_dim}"
            raise refused(problem, "point")
        if stage.dim not in served.searched_dims and not settings.allow_any_dimension:
            dims = ", ".join(map(str, served.searched_dims))
            raise refused(
                f"point {point}: dim {stage.dim} is not one of {dims}: take one of these, or let "
                "the server be started with --allow-any-dimension",
                "point",
            )
