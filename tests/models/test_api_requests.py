"""What is on the wire, compared with the official clients.

``recorded/api_requests.json`` contains the requests that these clients sent to a local server for
the same texts. The versions of the clients are in the file. The client of OpenAI is run here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nestvec as nv
from api_server import running_api
from nestvec.models.known_row import KnownModel

RECORDED = json.loads((Path(__file__).parent / "recorded" / "api_requests.json").read_text("utf-8"))
TEXTS = ["one text", "ein Text é"]
KEY = "KEY"
VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "voyage": "VOYAGE_API_KEY",
    "cohere": "CO_API_KEY",
}


@pytest.fixture
def server(monkeypatch):
    for name in (*VARIABLES.values(), "OPENAI_BASE_URL", "NESTVEC_API_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NESTVEC_API_KEY", KEY)
    with running_api() as running:
        yield running


def is_of_width(full_dim):
    """A lookup that knows every model as one of this width."""
    return lambda name, models: KnownModel((name,), full_dim, (full_dim, 256))


@pytest.mark.parametrize(
    ("name", "full_dim", "root"),
    [
        ("gemini:gemini-embedding-001", 3072, "/v1"),
        ("voyage:voyage-3.5", 2048, "/v1"),
        ("cohere:embed-v4.0", 1536, "/v2"),
    ],
)
def test_requests_equal_those_of_the_official_client(server, monkeypatch, name, full_dim, root):
    monkeypatch.setattr("nestvec.models.api.loading.find_known", is_of_width(full_dim))
    server.width = full_dim
    model = nv.load_model(name, base_url=f"{server.address}{root}", cache=False)
    model.encode(TEXTS, kind="query")
    model.encode(TEXTS, kind="document")
    recorded = RECORDED[name.partition(":")[0]]["requests"]
    assert len(server.received) == len(recorded) == 2
    for ours, theirs in zip(server.received, recorded, strict=True):
        assert ours.path == theirs["path"]
        assert ours.body == theirs["body"]
        assert theirs["headers"]
        assert theirs["headers"].items() <= ours.headers.items()


def test_requests_equal_those_of_the_client_of_openai(server):
    import openai

    client = openai.OpenAI(base_url=server.url, api_key=KEY)
    client.embeddings.create(model="tiny", input=TEXTS)
    client.close()
    nv.load_model("openai:tiny", base_url=server.url, cache=False).encode(TEXTS, kind="query")
    theirs, _, ours = server.received
    assert (ours.path, ours.body) == (theirs.path, theirs.body)
    assert ours.headers["authorization"] == theirs.headers["authorization"] == f"Bearer {KEY}"


def test_a_smaller_default_width_is_overridden_for_known_models_only(server):
    server.width = 1024
    nv.load_model("voyage:unknown", base_url=server.url, cache=False)
    assert "output_dimension" not in server.received[-1].body


def test_a_model_with_prompts_for_the_task_gets_no_task_type(server):
    nv.load_model("gemini:gemini-embedding-2-x", base_url=server.url, cache=False)
    (request,) = server.received[-1].body["requests"]
    assert "taskType" not in request


def test_a_model_name_cannot_change_the_path(server):
    nv.load_model("gemini:../x?y", base_url=server.url, cache=False)
    assert server.received[-1].path == "/v1/models/..%2Fx%3Fy:batchEmbedContents"
