"""Which operating point is meant: a plan, a point or its text, once it is one for the model."""

from __future__ import annotations

from nestvec.codec.quantizer import check_codable
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.planning.choose import Plan
from nestvec.types import ModelInfo, OperatingPoint


def point_for(asked: Plan | OperatingPoint | str, model: ModelInfo) -> OperatingPoint:
    """Return the point that is asked for.

    Raises:
        InvalidArgument: If it is wider than the model, a stage's dim cannot be coded, or its text
            cannot be read.
        ModelMismatch: If it is a plan for another model.
    """
    if isinstance(asked, Plan) and asked.model.fingerprint != model.fingerprint:
        raise ModelMismatch(
            f"the plan is of {asked.model.identity}, not of {model.identity}: "
            f"plan on the latter's curve, or name the point {asked.point} itself"
        )
    if isinstance(asked, Plan):
        point = asked.point
    else:
        point = OperatingPoint.parse(asked) if isinstance(asked, str) else asked
    widest = max(stage.dim for stage in point.stages)
    if widest > model.full_dim:
        raise InvalidArgument(f"{point}: dim {widest} > full_dim {model.full_dim} of {model.name}")
    for stage in point.stages:
        check_codable(*stage.representation)
    return point
