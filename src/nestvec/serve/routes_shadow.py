"""``GET /v1/shadow``: the figures of shadow reads, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan

from fastapi import APIRouter, Response
from pydantic import BaseModel

from nestvec.serve.errors import ApiError, documented
from nestvec.serve.json_body import json_response
from nestvec.serve.metrics import Metrics
from nestvec.serve.serving import Serving
from nestvec.serve.shadow import Shadow
from nestvec.serve.shadow_figures import ShadowReport

_COUNTS = {
    "requests": "Searches answered, of which a share is sent to the second index.",
    "skipped": "Searches that the second index cannot answer in the same way.",
    "shadowed": "Searches that the second index has answered as well.",
    "dropped": "Drawn searches that were dropped because the queue was full.",
    "failed": "Searches that the second index failed to answer.",
    "missing": "Results whose document the second index does not contain.",
}
_SHARES = {
    "overlap": "Mean overlap of the results of both indexes.",
    "identical": "Share of the shadowed searches with identical results.",
}


class ShadowQueryEntry(BaseModel):
    """A recent search with a low overlap."""

    at: str
    k: int
    overlap: float
    rbo: float
    entered: int
    left: int
    largest_move: int
    only_old: int
    only_new: int
    old_ms: float
    new_ms: float
    text: str | None = None
    where: str | None = None
    old: list[str] | None = None
    new: list[str] | None = None


class ShadowAnswer(BaseModel):
    """The figures of shadow reads since the server was started."""

    object: str
    place: str
    point: str
    share: float
    requests: int
    skipped: int
    shadowed: int
    dropped: int
    failed: int
    failures: dict[str, int]
    overlap: float | None
    identical: float | None
    missing: int
    old_ms: dict[str, float]
    new_ms: dict[str, float]
    worst: list[ShadowQueryEntry]


def shadow_router(serving: Serving) -> APIRouter:
    """Return the route, and add the figures to the metrics."""
    router = APIRouter(tags=["shadow"], responses=documented(404))
    if serving.shadow is not None:
        _watch(serving.shadow, serving.metrics)

    @router.get("/v1/shadow", response_model=ShadowAnswer)
    async def get_shadow() -> Response:
        """Return how the results of the second index differ from the answers."""
        shadow = serving.shadow
        if shadow is None:
            problem = "this server has no second index. Start it with --shadow."
            raise ApiError(404, problem, code="no_shadow")
        head = {
            "object": "shadow",
            "place": shadow.place,
            "point": str(shadow.point),
            "share": shadow.settings.share,
        }
        return json_response({**head, **shadow.report().to_json()})

    return router


def _watch(shadow: Shadow, metrics: Metrics) -> None:
    def value(name: str) -> Callable[[], float]:
        return lambda: _number(getattr(shadow.report(), name))

    for name, help_text in {**_COUNTS, **_SHARES}.items():
        metrics.watch(f"nestvec_shadow_{name}", help_text, value(name))
    for side in ("old", "new"):
        for share in ("p50", "p95"):
            name = f"nestvec_shadow_{side}_{share}_seconds"
            text = f"{share} of the search time of the {side} index, of recent shadowed searches."
            metrics.watch(name, text, _seconds(shadow.report, f"{side}_ms", share))


def _seconds(report: Callable[[], ShadowReport], field: str, share: str) -> Callable[[], float]:
    def seconds() -> float:
        times: Mapping[str, float] = getattr(report(), field)
        return times.get(share, nan) / 1000

    return seconds


def _number(value: float | None) -> float:
    return nan if value is None else float(value)
