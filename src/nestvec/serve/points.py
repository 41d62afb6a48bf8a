"""The operating point that a search is to run: the index's own, a tier's, or one written out."""

from __future__ import annotations

from nestvec.errors import InvalidArgument
from nestvec.serve.errors import refused
from nestvec.serve.serving import Serving
from nestvec.serve.tiers import point_named, tier_of
from nestvec.types import OperatingPoint


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
