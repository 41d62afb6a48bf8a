"""Request bodies of clients as they are: null for absent fields, and fields of other servers."""

import logging
import re
from pathlib import Path

import pytest

from fakes import NestedHashEncoder
from made_serving import NAME
from nestvec.serve import request_body
from nestvec.serve.app import create_app
from nestvec.serve.routes_embeddings import EmbeddingsRequest
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from serving_client import Client, error_of

REPOSITORY = Path(__file__).parents[2]
OPTIONAL = {
    ("POST", "/v1/embeddings"): (
        {"model": NAME, "input": "a b"},
        ("dimensions", "encoding_format", "user", "input_type"),
    ),
    ("POST", "/v1/search"): (
        {"query": "a b"},
        ("embedding", "k", "where", "point", "model", "explain"),
    ),
    ("POST", "/v1/compare"): ({"texts": ["a b", "c"]}, ("dims", "precision")),
    ("POST", "/v1/documents"): (
        {"documents": [{"id": "d1", "text": "a b"}], "replace": True},
        (),
    ),
}


@pytest.fixture
def writable(served):
    return Client(create_app(served, Settings(writable=True)))


def without_times(answer):
    assert answer.status_code == 200, answer.text
    found = answer.json()
    for each in (found, *found.get("stages", ())):
        each.pop("timing", None)
        each.pop("ms", None)
    return found


@pytest.mark.parametrize("route", OPTIONAL)
def test_null_means_that_an_optional_field_is_absent(writable, route):
    body, fields = OPTIONAL[route]
    expected = without_times(writable.ask(*route, json=body))
    nulls = dict.fromkeys(fields)
    assert without_times(writable.ask(*route, json={**body, **nulls})) == expected


def test_null_fields_of_a_document_are_absent(writable):
    document = {"id": "new", "text": "graph tree", "title": None, "metadata": None}
    answer = writable.post("/v1/documents", {"documents": [document], "replace": None})
    assert answer.status_code == 200, answer.text
    stored = writable.get("/v1/documents/new").json()
    assert stored == {"id": "new", "text": "graph tree", "title": "", "metadata": {}}


def test_no_optional_field_refuses_null():
    schemas = create_app(Served(NAME, NestedHashEncoder())).openapi()["components"]["schemas"]
    bodies = [schema for name, schema in schemas.items() if name.endswith("Request")]
    bodies.append(schemas["NewDocument"])
    assert len(bodies) == 6
    n_optional = 0
    for schema in bodies:
        for field, entry in schema["properties"].items():
            nullable = {"type": "null"} in entry.get("anyOf", ())
            assert nullable == (field not in schema.get("required", ())), field
            n_optional += nullable
    assert n_optional == 4 + 8 + 2 + 1 + 2


@pytest.mark.parametrize("body", [{"model": None, "input": "a"}, {"model": NAME, "input": None}])
def test_null_for_a_required_field_is_refused(writable, body):
    assert writable.post("/v1/embeddings", body).status_code == 400


def test_null_for_an_unknown_field_is_refused(writable):
    answer = writable.post("/v1/embeddings", {"model": NAME, "input": "a", "color": None})
    assert answer.status_code == 400
    assert error_of(answer)["message"] == "color: unknown field"


@pytest.fixture
def reported(caplog):
    request_body.report_ignored.cache_clear()
    caplog.set_level(logging.WARNING, "nestvec.serve.request_body")
    yield lambda: [record.getMessage() for record in caplog.records if record.levelno >= 30]
    request_body.report_ignored.cache_clear()


@pytest.mark.parametrize("field", EmbeddingsRequest.ignored_fields)
def test_a_harmless_field_of_another_server_is_ignored_and_logged_once(client, reported, field):
    body = {"model": NAME, "input": "a b"}
    expected = client.post("/v1/embeddings", body).json()
    for value in (True, {"a": [1]}, "secret"):
        answer = client.post("/v1/embeddings", {**body, field: value})
        assert answer.status_code == 200, answer.text
        assert answer.json() == expected
    (line,) = reported()
    assert f"the field '{field}' of a request is ignored: " in line
    assert "secret" not in line


@pytest.mark.parametrize(
    "field",
    [
        "truncate",
        "truncate_prompt_tokens",
        "add_special_tokens",
        "normalize",
        "task",
        "prompt",
        "prompt_name",
        "extra_body",
        "additional_drop_params",
    ],
)
def test_a_field_that_may_change_vectors_is_refused(client, field):
    answer = client.post("/v1/embeddings", {"model": NAME, "input": "a", field: True})
    assert answer.status_code == 400
    assert error_of(answer)["message"] == f"{field}: unknown field"


@pytest.mark.parametrize("path", ["/v1/search", "/v1/compare", "/v1/documents"])
def test_fields_of_other_servers_are_refused_where_other_servers_have_no_route(client, path):
    answer = client.post(path, {"drop_params": True})
    assert answer.status_code == 400


def test_the_documentation_lists_the_ignored_fields():
    page = (REPOSITORY / "docs" / "api.md").read_text("utf-8")
    rows = page.partition("| field | meaning in other servers |")[2].partition("\n\n")[0]
    listed = [name for row in rows.splitlines() for name in re.findall("`([a-z_]+)`", row)]
    assert listed == [*EmbeddingsRequest.ignored_fields]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("query", "query"),
        ("search_query", "query"),
        ("document", "document"),
        ("passage", "document"),
        ("search_document", "document"),
    ],
)
def test_the_input_types_of_other_servers_select_the_prompt(sent, kind):
    model = NestedHashEncoder()
    client = Client(create_app(Served(NAME, model)))
    body = {"model": NAME, "input": "csv", "input_type": sent}
    assert client.post("/v1/embeddings", body).status_code == 200
    assert [kind for kind, _ in model.calls] == [kind]
    assert client.post("/v1/embeddings", {**body, "input_type": "clustering"}).status_code == 400
