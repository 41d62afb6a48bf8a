"""/v1/documents: read by all, changed only where the server may write."""

import json

import pytest

from fakes import NestedHashEncoder
from made_serving import demo_like
from nestvec.errors import IndexLocked
from nestvec.index.index import Index
from nestvec.serve.app import create_app
from nestvec.serve.settings import Settings
from serving_client import Client, error_of

NEW = {"id": "new", "text": "graph tree", "title": "a title", "metadata": {"n": 11, "lang": "de"}}


@pytest.fixture
def writable(served):
    return Client(create_app(served, Settings(writable=True)))


def delete(client, body):
    return client.ask("DELETE", "/v1/documents", json=body)


def test_a_document_is_found_once_it_is_added_and_gone_once_it_is_deleted(writable):
    added = writable.post("/v1/documents", {"documents": [NEW]})
    assert added.json() == {"object": "change", "added": 1, "deleted": 0, "documents": 11}
    assert writable.get("/v1/documents/new").json() == NEW
    found = writable.post("/v1/search", {"query": "a title graph tree", "k": 1}).json()
    assert found["hits"][0]["id"] == "new"
    gone = delete(writable, {"ids": ["new", "not-there"]})
    assert gone.json() == {"object": "change", "added": 0, "deleted": 1, "documents": 10}
    assert writable.get("/v1/documents/new").status_code == 404


def test_a_document_is_replaced_only_on_request(writable):
    again = {"documents": [{"id": "d1", "text": "another"}]}
    answer = writable.post("/v1/documents", again)
    assert answer.status_code == 400
    assert "'d1'" in error_of(answer)["message"]
    assert writable.post("/v1/documents", {**again, "replace": True}).status_code == 200
    assert writable.get("/v1/documents/d1").json()["text"] == "another"


def test_one_document_is_deleted_by_its_path(writable):
    writable.post("/v1/documents", {"documents": [{"id": "a/b#3", "text": "part"}]})
    assert writable.get("/v1/documents/a/b%233").json()["text"] == "part"
    assert writable.ask("DELETE", "/v1/documents/a/b%233").json()["deleted"] == 1
    answer = writable.ask("DELETE", "/v1/documents/a/b%233")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "document_not_found")


@pytest.mark.parametrize(
    "document",
    [
        {"id": "", "text": "a"},
        {"id": "a"},
        {"id": "a" * 513, "text": "a"},
        {"id": "a", "text": "a", "metadata": {"n": {"a": 1}}},
        {"id": "a", "text": "a", "metadata": {"n": [[1]]}},
        {"id": "a", "text": "a", "metadata": {"n": [None]}},
        {"id": "a", "text": "a", "metadata": {"n": [0.5] * 64}},
        {"id": "a", "text": "a", "metadata": [1]},
        {"id": "a", "text": "a", "size": 3},
    ],
)
def test_invalid_documents_are_rejected(writable, document):
    answer = writable.post("/v1/documents", {"documents": [document]})
    assert answer.status_code == 400, answer.text
    assert error_of(answer)["param"].startswith("documents.0")


def test_the_value_of_a_field_that_cannot_be_stored_is_named(writable):
    document = {"id": "a", "text": "a", "metadata": {"n": 1, "loc": {"page": 3}}}
    error = error_of(writable.post("/v1/documents", {"documents": [document]}))
    assert error["param"] == "documents.0.metadata"
    assert "the value of 'loc' cannot be stored. Use strings, finite numbers" in error["message"]


def test_ids_that_are_whole_numbers_become_text(writable):
    document = {"id": 7, "text": "graph tree"}
    assert writable.post("/v1/documents", {"documents": [document]}).status_code == 200
    assert writable.get("/v1/documents/7").json()["id"] == "7"
    assert delete(writable, {"ids": [7]}).json()["deleted"] == 1
    for id_ in (True, 1.5):
        answer = writable.post("/v1/documents", {"documents": [{**document, "id": id_}]})
        assert answer.status_code == 400
        assert error_of(answer)["param"] == "documents.0.id"


def test_booleans_and_lists_come_back_as_they_were_sent(writable):
    metadata = {"flag": True, "off": False, "n": 1, "x": 1.0, "tags": ["a", 2, True], "none": []}
    metadata |= {"day": "2026-03-01", "large": 2**64 - 1}
    document = {"id": "new", "text": "graph tree", "title": "", "metadata": metadata}
    sent = {"documents": [{**document, "metadata": {**metadata, "missing": None}}]}
    assert writable.post("/v1/documents", sent).status_code == 200
    found = writable.get("/v1/documents/new").text
    assert json.loads(found) == document
    for part in ('"flag":true', '"off":false', '"n":1,', '"x":1.0', '["a",2,true]'):
        assert part in found
    for where in ("flag = true", "tags has 'a'", "tags has 2", "day < '2026-04'", "x = 1"):
        answer = writable.post("/v1/search", {"query": "tree", "where": where}).json()
        assert [hit["id"] for hit in answer["hits"]] == ["new"], where
        assert answer["hits"][0]["metadata"] == metadata


def test_an_integer_of_more_than_64_bits_is_returned_exactly(client, served):
    served.index.add(["big"], ["graph tree"], metadata=[{"n": 2**70}])
    assert client.get("/v1/documents/big").json()["metadata"] == {"n": 2**70}


def test_nothing_is_changed_without_leave(client):
    for answer in (
        client.post("/v1/documents", {"documents": [NEW]}),
        delete(client, {"ids": ["d1"]}),
        client.ask("DELETE", "/v1/documents/d1"),
    ):
        assert answer.status_code == 403
        assert "--writable" in error_of(answer)["message"]
    assert client.get("/v1/documents/d1").status_code == 200


def test_a_writable_server_is_the_one_writer_from_its_start(tmp_path):
    served = demo_like(NestedHashEncoder(), tmp_path / "index")
    create_app(served, Settings(writable=True))
    with Index.open(tmp_path / "index") as other, pytest.raises(IndexLocked):
        other.lock()
    served.close()
