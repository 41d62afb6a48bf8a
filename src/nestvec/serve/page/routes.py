"""Send the page: fixed files from memory, revalidated by tag, under a policy without exceptions."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from nestvec.serve.errors import ApiError
from nestvec.serve.page.files import INDEX, PageFile, page_files

# Documents and queries are strangers' texts. Scripts put them in as text only; should one slip
# through, nothing that is written in a page runs, and nothing can be sent anywhere else.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
# Beside those that every answer of the server carries.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept by browsers, but asked about: an update shows at once
}


def page_router(*, on_open: Callable[[], None]) -> APIRouter:
    """Return the routes of the page: ``/`` and ``/page/...``; no key is needed for them.

    Args:
        on_open: Called whenever somebody opens the page.
    """
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        on_open()
        return _sent(request, page_files()[INDEX])

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        found = page_files().get(name)
        if found is None or name == INDEX:
            raise ApiError(404, "the page has no such file")
        return _sent(request, found)

    return router


def _sent(request: Request, file: PageFile) -> Response:
    headers = HEADERS | {"ETag": file.etag}
    asked = request.headers.get("if-none-match", "")
    if file.etag in [tag.strip().removeprefix("W/") for tag in asked.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
