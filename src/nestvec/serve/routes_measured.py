"""The curve, the plan and example queries: ``/v1/curve``, ``/v1/plan``, ``/v1/queries``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from nestvec.curve.curve import Curve
from nestvec.planning.choose import Plan
from nestvec.serve.errors import ApiError, documented
from nestvec.serve.json_body import json_response
from nestvec.serve.serving import Serving


def measured_router(serving: Serving) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["measured"], responses=documented(404))
    served = serving.served

    @router.get("/v1/curve")
    async def get_curve() -> Response:
        """Return all measured operating points with their quality and cost."""
        if served.curve is None:
            raise ApiError(404, "this server has no curve. Start it with --curve.", code="no_curve")
        return json_response(_curve(served.curve, served.name))

    @router.get("/v1/plan")
    async def get_plan() -> Response:
        """Return the chosen operating point and the reasons."""
        if served.plan is None:
            raise ApiError(404, "this server has no plan. Start it with --plan.", code="no_plan")
        return json_response(_plan(served.plan, served.name))

    @router.get("/v1/queries")
    async def list_queries() -> Response:
        """Return example queries with their relevant documents."""
        data = [asdict(example) for example in served.examples]
        return json_response({"object": "list", "data": data})

    return router


def _curve(curve: Curve, name: str) -> dict[str, Any]:
    baselines = {
        method: [asdict(point) for point in points] for method, points in curve.baselines.items()
    }
    return {
        "object": "curve",
        "model": {**curve.model.to_json(), "name": name},
        "dataset": dict(curve.dataset),
        "evidence": curve.evidence,
        "machine": dict(curve.machine),
        "encode_ms": curve.encode_ms,
        "metric": curve.main_metric,
        "full": str(curve.full.point),
        "points": [row.to_json() for row in curve.points],
        "pareto": [str(row.point) for row in curve.pareto_front(curve.main_metric)],
        "baselines": baselines,
    }


def _plan(plan: Plan, name: str) -> dict[str, Any]:
    return {
        "object": "plan",
        "model": name,
        "point": str(plan.point),
        "verdict": plan.verdict,
        "confirmed": plan.confirmed,
        "reasons": list(plan.reasons),
        "goal": asdict(plan.goal),
        "kept": plan.kept,
        "at_least": plan.at_least,
        "retention": plan.retention,
        "row": plan.row.to_json(),
        "full": plan.full.to_json(),
        "dataset": dict(plan.dataset),
    }
