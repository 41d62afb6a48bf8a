"""Routes of the page: static files with ETags and a strict content security policy."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from nestvec.serve.errors import ApiError
from nestvec.serve.page.files import INDEX, PageFile, page_files

# Documents and queries are untrusted. The scripts insert them only as text. As a second defense,
# this policy forbids inline scripts and requests to other sites.
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
# In addition to the headers of every response.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # browsers store the files but revalidate them
}


def page_router(*, on_open: Callable[[], None]) -> APIRouter:
    """Return the routes of the page, ``/`` and ``/page/...``, which require no API key.

    Args:
        on_open: Called whenever the page is opened.
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
            raise ApiError(404, "the page has no file with this name")
        return _sent(request, found)

    return router


def _sent(request: Request, file: PageFile) -> Response:
    headers = HEADERS | {"ETag": file.etag}
    tags = request.headers.get("if-none-match", "")
    if file.etag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
