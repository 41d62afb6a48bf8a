"""Send the page: fixed files from memory, revalidated by tag, under a policy without exceptions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import HTTPException

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
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept by browsers, but asked about: an update shows at once
}


def page_router() -> APIRouter:
    """Return the routes of the page: ``/`` and ``/page/...``; no key is needed for them."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _sent(request, page_files()[INDEX])

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        found = page_files().get(name)
        if found is None or name == INDEX:
            raise HTTPException(404, f"no file of the page is named {name!r}")
        return _sent(request, found)

    return router


def _sent(request: Request, file: PageFile) -> Response:
    headers = HEADERS | {"ETag": file.etag}
    known = [tag.strip().removeprefix("W/") for tag in _asked_tags(request).split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


def _asked_tags(request: Request) -> str:
    return request.headers.get("if-none-match", "")
