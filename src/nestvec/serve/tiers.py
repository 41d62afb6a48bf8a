"""Model names: how a request selects a tier, which is a named operating point, and the prompt.

A request selects a tier with a suffix of the model, ``my-model:fast``, or in ``point``. The field
``point`` also accepts an operating point such as ``64:int4``.

The suffix ``:query`` or ``:document`` selects how texts are encoded, for clients that cannot send
``input_type``. This suffix is always the last one: ``my-model:fast:query``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, get_args

from nestvec.errors import InvalidArgument
from nestvec.serve.errors import ApiError, bad_request
from nestvec.serve.serving import Serving
from nestvec.types import Kind, OperatingPoint

if TYPE_CHECKING:
    from nestvec.serve.served import Served

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def read_tiers(texts: Sequence[str]) -> dict[str, OperatingPoint]:
    """Parse tiers, each written as ``NAME=POINT``.

    >>> read_tiers(["fast=64:int4"])["fast"].stages[0].dim
    64

    Raises:
        InvalidArgument: If a text has another form, or a name is repeated.
    """
    tiers: dict[str, OperatingPoint] = {}
    for text in texts:
        name, sign, point = text.partition("=")
        if not sign or not _NAME.fullmatch(name):
            raise InvalidArgument(f"--tier {text!r} is not NAME=POINT. Example: fast=64:int4")
        if name in tiers:
            raise InvalidArgument(f"--tier {name} is given twice. Use each name once.")
        tiers[name] = OperatingPoint.parse(point)
    return tiers


class Selection(NamedTuple):
    """What the suffixes of a model name select; None without the suffix."""

    tier: str | None = None
    kind: Kind | None = None


def parse_name(model: str, known: str) -> Selection | None:
    """Parse a model name with its suffixes; return None for another model.

    >>> parse_name("docs:fast:query", "docs")
    Selection(tier='fast', kind='query')
    """
    if model == known:
        return Selection()
    if not model.startswith(f"{known}:"):
        return None
    tier, colon, last = model.removeprefix(f"{known}:").rpartition(":")
    kind = next((kind for kind in get_args(Kind) if kind == last), None)
    if kind is None:  # the last part is a tier, the only suffix
        return Selection(last) if last and not colon else None
    return None if colon and not tier else Selection(tier or None, kind)


def requested(served: Served, model: str | None) -> Selection:
    """Return what the ``model`` of a request selects; None selects nothing.

    Raises:
        ApiError: 404 if the model or the tier does not exist.
    """
    if model is None:
        return Selection()
    found = parse_name(model, served.name)
    if found is None or (found.tier is not None and found.tier not in served.tiers):
        known = ", ".join(served.model_names)
        problem = f"model {model!r} does not exist. Choose one of {known}."
        raise ApiError(404, problem, param="model", code="model_not_found")
    return found


def parse_point(tiers: Mapping[str, OperatingPoint], text: str) -> OperatingPoint:
    """Return the tier of a name, or parse an operating point.

    Raises:
        InvalidArgument: If the text is neither.
    """
    if text in tiers:
        return tiers[text]
    if ":" not in text:
        known = ", ".join(tiers) or "none"
        raise InvalidArgument(
            f"point {text!r} is neither a tier nor an operating point. Tiers: {known}. "
            "Example of an operating point: 64:int4"
        )
    return OperatingPoint.parse(text)


def requested_point(serving: Serving, model: str | None, text: str | None) -> OperatingPoint:
    """Return the operating point that a request selects.

    Raises:
        ApiError: 400 if the point is invalid or not allowed, 404 if the model does not exist.
    """
    served, index = serving.served, serving.index
    tier, kind = requested(served, model)
    if kind == "document":
        problem = f"model {model!r}: a search encodes its text as a query"
        raise bad_request(f"{problem}. Omit the suffix ':document'.", "model")
    if text is None:
        return index.point if tier is None else served.tiers[tier]
    try:
        point = parse_point(served.tiers, text)
    except InvalidArgument as error:
        raise bad_request(str(error), "point") from error
    if point != index.point and point not in served.tiers.values():
        _check(serving, point)
    return point


def _check(serving: Serving, point: OperatingPoint) -> None:
    """Reject points that cost too much, or that the model does not allow.

    A new width requires a new copy of all codes.
    """
    served, settings = serving.served, serving.settings
    if not settings.allow_any_point:
        known = ", ".join(served.tiers) or "none"
        raise bad_request(f"point {point}: this server accepts only tiers ({known})", "point")
    try:
        served.check_truncation(point)
    except InvalidArgument as error:
        raise bad_request(f"point {point}: {error}", "point") from error
    keeps = [stage.keep or 0 for stage in point.stages]
    if max(keeps) > settings.limits.keep:
        problem = f"keep={max(keeps)} is larger than the limit of {settings.limits.keep}"
        raise bad_request(f"point {point}: {problem}", "point")
    for stage in point.stages:
        if stage.dim > served.info.full_dim:
            problem = (
                f"point {point}: dim={stage.dim} is larger than full_dim={served.info.full_dim}"
            )
            raise bad_request(problem, "point")
        if stage.dim not in served.searched_dims and not settings.allow_any_dimension:
            dims = ", ".join(map(str, served.searched_dims))
            raise bad_request(
                f"point {point}: dim={stage.dim} is not one of {dims}. Choose one of them, or "
                "start the server with --allow-any-dimension.",
                "point",
            )
