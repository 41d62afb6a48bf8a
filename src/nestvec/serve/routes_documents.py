"""``/v1/documents``: read, add, replace and delete; changes require ``--writable``."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictStr
from pydantic_core import PydanticCustomError

from nestvec.data.metadata import stored_value
from nestvec.serve.errors import ApiError, bad_request, documented
from nestvec.serve.json_body import JsonRoute, json_response
from nestvec.serve.request_body import RequestBody
from nestvec.serve.serving import Serving
from nestvec.types import Document

_LONGEST = 40  # characters of a field's name in a message
_STORABLE = "Use strings, finite numbers, true, false, or lists of these with fewer than 32 floats."
Whole = Annotated[int, Field(ge=-(2**63), lt=2**64, strict=True)]
Single = StrictBool | Whole | Annotated[float, Field(strict=True, allow_inf_nan=False)] | StrictStr
MetadataItem = Single | list[Single] | None


def _check_metadata(values: Any) -> Any:
    """Name the first field whose value cannot be stored; pydantic's error of a union does not."""
    for name, value in values.items() if isinstance(values, dict) else ():
        _, problem = stored_value(value)
        if problem is not None:
            shown = repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")
            text = f"the value of {shown} cannot be stored. {_STORABLE}"
            raise PydanticCustomError("metadata", "{text}", {"text": text})
    return values


StoredMetadata = Annotated[
    dict[str, MetadataItem], Field(max_length=100), BeforeValidator(_check_metadata)
]


def _number_as_text(value: Any) -> Any:
    """Return an id that is a whole number as text, as in files."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_number_as_text), Field(min_length=1, max_length=512)]


class NewDocument(RequestBody):
    """A document to add."""

    id: Id
    text: str
    title: str = ""
    metadata: StoredMetadata = Field(default_factory=dict)


class DocumentsRequest(RequestBody):
    """Documents to add; `replace` replaces stored documents with the same ids."""

    documents: Annotated[list[NewDocument], Field(min_length=1)]
    replace: bool = False


class DeleteRequest(RequestBody):
    """Documents to delete."""

    ids: Annotated[list[Id], Field(min_length=1)]


class Changed(BaseModel):
    """The numbers of documents added and deleted, and of documents in the index."""

    object: str
    added: int
    deleted: int
    documents: int


class StoredDocument(BaseModel):
    """A document of the index."""

    id: str
    title: str
    text: str
    metadata: dict[str, Single | list[Single]]


def documents_router(serving: Serving) -> APIRouter:
    """Return the routes."""
    router = APIRouter(
        route_class=JsonRoute, tags=["documents"], responses=documented(400, 403, 404)
    )

    @router.get("/v1/documents/{id:path}", response_model=StoredDocument)
    async def get_document(id: str) -> Response:
        """Return one document."""
        index = serving.index
        found = await serving.searches.run(partial(index.get, [id]))
        if id not in found:
            raise _unknown(id)
        return json_response(_stored(id, found[id]))

    @router.post("/v1/documents", response_model=Changed)
    async def add_documents(request: DocumentsRequest) -> Response:
        """Encode and add documents. They are on disk and searchable after the response."""
        _check(serving, len(request.documents))
        contents = [Document(each.text, each.title).content for each in request.documents]
        await serving.embedder.check(contents, "document", "documents.{}")
        return json_response(await serving.changes.run(partial(_add, serving, request)))

    @router.delete("/v1/documents", response_model=Changed)
    async def delete_documents(request: DeleteRequest) -> Response:
        """Delete documents; unknown ids are ignored."""
        _check(serving, len(request.ids))
        return json_response(await serving.changes.run(partial(_delete, serving, request.ids)))

    @router.delete("/v1/documents/{id:path}", response_model=Changed)
    async def delete_document(id: str) -> Response:
        """Delete one document."""
        _check(serving, 1)
        changed = await serving.changes.run(partial(_delete, serving, [id]))
        if not changed["deleted"]:
            raise _unknown(id)
        return json_response(changed)

    return router


def _check(serving: Serving, n: int) -> None:
    _ = serving.index
    if not serving.settings.writable:
        problem = "the index is read-only. Start the server with --writable."
        raise ApiError(403, problem, code="read_only")
    limit = serving.settings.limits.items
    if n > limit:
        raise bad_request(
            f"{n:,} documents exceed the limit of {limit:,}. Send fewer per request.", "documents"
        )


def _unknown(id_: str) -> ApiError:
    return ApiError(404, f"document {id_!r} does not exist", param="id", code="document_not_found")


def _add(serving: Serving, request: DocumentsRequest) -> dict[str, Any]:
    documents = request.documents
    change = serving.index.upsert if request.replace else serving.index.add
    change(
        [each.id for each in documents],
        [each.text for each in documents],
        titles=[each.title for each in documents],
        metadata=[each.metadata for each in documents],
    )
    return _changed(serving, added=len(documents))


def _delete(serving: Serving, ids: list[str]) -> dict[str, Any]:
    return _changed(serving, deleted=serving.index.delete(ids))


def _changed(serving: Serving, *, added: int = 0, deleted: int = 0) -> dict[str, Any]:
    n = len(serving.index)
    return {"object": "change", "added": added, "deleted": deleted, "documents": n}


def _stored(id_: str, document: Document) -> dict[str, Any]:
    texts = {"title": document.title, "text": document.text}
    return {"id": id_, **texts, "metadata": dict(document.metadata)}
