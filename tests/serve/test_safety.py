"""What is kept out, and what happens when something fails: envelopes, never details."""

import asyncio
import io
import json
import logging

import httpx
import numpy as np
import pytest

from fakes import NestedHashEncoder
from made_serving import NAME, HeldEncoder, demo_like, static_model
from nestvec.errors import DataError, InvalidArgument
from nestvec.models.api.address import is_loopback
from nestvec.serve import logs
from nestvec.serve.app import create_app
from nestvec.serve.keys import read_keys
from nestvec.serve.served import Served
from nestvec.serve.settings import Limits, Settings, check_binding
from serving_client import Client, error_of, running

KEY, OTHER = "a-key-of-24-characters-1", "a-key-of-24-characters-2"
ASKED = {"model": NAME, "input": "secret words"}


@pytest.fixture
def locked(served):
    return Client(create_app(served, Settings(keys=(OTHER, KEY))))


@pytest.mark.parametrize(
    "given", [None, "Bearer nothing", f"Basic {KEY}", KEY, "Bearer ", "Bearer"]
)
def test_requests_without_a_valid_key_are_rejected(locked, given):
    headers = {} if given is None else {"authorization": given}
    for path in ("/v1/models", "/v1/documents/d1", "/metrics", "/openapi.json", "/none"):
        answer = locked.get(path, headers)
        assert answer.status_code == 401
        assert error_of(answer)["code"] == "invalid_api_key"
    assert locked.post("/v1/search", {"query": "a"}, headers).status_code == 401


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_each_key_is_accepted(locked, key):
    assert locked.get("/v1/models", {"authorization": f"Bearer {key}"}).status_code == 200
    assert locked.get("/v1/models", {"authorization": f"bearer  {key}"}).status_code == 200


def test_health_needs_no_key(locked):
    assert locked.get("/healthz").json() == {"status": "ok"}
    assert locked.get("/readyz").json()["status"] == "ready"


def test_keys_come_from_a_file_or_the_environment(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{KEY}\n\n  {OTHER}\n")
    assert read_keys(file, {}) == (KEY, OTHER)
    assert read_keys(None, {"NESTVEC_API_KEYS": f"{KEY}, {OTHER}"}) == (KEY, OTHER)
    assert read_keys(None, {}) == ()


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, DataError, "cannot be read"),
        ("# none\n", DataError, "has no API key"),
        ("short\n", InvalidArgument, "key 1 has fewer than 16"),
        ("schlüssel-von-vielen-zeichen\n", InvalidArgument, "key 1"),
    ],
)
def test_a_file_without_valid_keys_is_rejected(tmp_path, content, error, words):
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(error, match=words) as refusal:
        read_keys(file, {})
    assert "short" not in str(refusal.value)


def test_a_public_host_requires_a_key_or_insecure():
    with pytest.raises(InvalidArgument, match="--api-key-file, set NESTVEC_API_KEYS, or pass"):
        check_binding("0.0.0.0", keys=(), insecure=False)
    check_binding("0.0.0.0", keys=(KEY,), insecure=False)
    check_binding("::", keys=(), insecure=True)
    check_binding("127.0.0.1", keys=(), insecure=False)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_loopback_is_known(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", ""])
def test_an_unknown_host_name_is_rejected(client, host):
    answer = client.get("/v1/models", {"host": host})
    assert answer.status_code == 421
    assert "--allow-host" in error_of(answer)["message"]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:80", "LOCALHOST"]
)
def test_loopback_host_names_are_accepted(client, host):
    assert client.get("/v1/models", {"host": host}).status_code == 200


def test_other_origins_must_be_allowed(served):
    asked = {"origin": "https://a.example"}
    assert (
        "access-control-allow-origin"
        not in Client(create_app(served)).get("/v1/models", asked).headers
    )
    client = Client(create_app(served, Settings(allow_origins=("https://a.example",))))
    assert client.get("/v1/models", asked).headers["access-control-allow-origin"] == asked["origin"]
    other = client.get("/v1/models", {"origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_large_body_is_rejected_with_or_without_its_declared_size(served):
    client = Client(create_app(served, Settings(limits=Limits(body_bytes=1000))))
    body = json.dumps({"model": NAME, "input": "a" * 2000}).encode()
    json_type = {"content-type": "application/json"}

    async def in_pieces():
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    for content in (body, in_pieces()):
        answer = client.ask("POST", "/v1/embeddings", json_type, content=content)
        assert answer.status_code == 413, answer.text
        assert error_of(answer)["code"] == "body_too_large"


def test_slow_requests_time_out():
    model = HeldEncoder()
    app = create_app(Served(NAME, model), Settings(limits=Limits(timeout_s=0.05)))
    answer = Client(app).post("/v1/embeddings", ASKED)
    model.go.set()
    assert (answer.status_code, error_of(answer)["code"]) == (503, "timeout")
    assert answer.headers["retry-after"] == "5"


def test_one_request_too_many_must_retry_later(served):
    app = create_app(served, Settings(limits=Limits(requests=2)))

    async def crowd():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = [client.post("/v1/search", json={"query": f"q{n}"}) for n in range(20)]
            return await asyncio.gather(*asked)

    answers = asyncio.run(crowd())
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 429)


@pytest.fixture
def log():
    stream = io.StringIO()
    logger = logging.getLogger("nestvec")
    before = logger.handlers, logger.level, logger.propagate
    logs.log_to(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.handlers, logger.level, logger.propagate = before


class Failing(NestedHashEncoder):
    """Fails on one text, and returns NaN for another."""

    def encode(self, texts, *, kind, on_progress=None):
        if any("bad" in text for text in texts):
            raise RuntimeError(f"cannot encode {texts}")
        vectors = super().encode(texts, kind=kind)
        if any("nan" in text for text in texts):
            vectors[:] = np.nan
        return vectors


@pytest.mark.parametrize("word", ["bad", "nan"])
def test_an_encoder_that_fails_tells_nothing_and_goes_on(word):
    client = Client(create_app(Served(NAME, Failing())))
    answer = client.post("/v1/embeddings", {"model": NAME, "input": f"{word} secret"})
    assert answer.status_code == 500
    assert error_of(answer)["type"] == "server_error"
    for told in ("secret", "Runtime", "nan", "Traceback"):
        assert told not in answer.text
    assert client.post("/v1/embeddings", ASKED).status_code == 200


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: secret"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_is_one_error_and_one_log_line(served, monkeypatch, log, error):
    client = Client(create_app(served, Settings(writable=True)))

    def exhausted(*_args, **_others):
        raise error

    monkeypatch.setattr(type(served.model), "encode", exhausted)
    document = {"id": "x", "text": "secret"}
    for path, body in (
        ("/v1/embeddings", ASKED),
        ("/v1/search", {"query": "secret"}),
        ("/v1/compare", {"texts": ["secret", "words"]}),
        ("/v1/documents", {"documents": [document]}),
    ):
        answer = client.post(path, body)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "out_of_memory"), path
        assert "Send fewer or shorter texts" in error_of(answer)["message"]
        assert answer.headers["retry-after"] == "5"
        assert "secret" not in answer.text
    failures = [line for line in log() if line["event"] == "failed"]
    assert len(failures) == 4
    assert failures[0]["error"] == type(error).__name__
    assert "secret" not in json.dumps(failures)
    monkeypatch.undo()
    assert client.post("/v1/embeddings", ASKED).status_code == 200


def test_a_failing_model_has_its_own_code_and_its_error_is_logged(log):
    client = Client(create_app(Served(NAME, Failing())))
    answer = client.post("/v1/embeddings", {"model": NAME, "input": "bad secret"})
    assert (answer.status_code, error_of(answer)["code"]) == (500, "encoding_failed")
    assert error_of(answer)["message"].startswith("the model could not encode the input.")
    (failure,) = (line for line in log() if line["event"] == "failed")
    assert failure["error"] == "RuntimeError"
    assert failure["at"].rpartition(":")[0] == __file__


def test_a_tokenizer_that_fails_is_a_failing_model(tmp_path, monkeypatch, log):
    model = static_model(tmp_path / "model")
    client = Client(create_app(Served(NAME, model)))

    def broken(*_args, **_others):
        raise ValueError("secret")

    monkeypatch.setattr(type(model), "tokenize", broken)
    answer = client.post("/v1/embeddings", ASKED)
    assert (answer.status_code, error_of(answer)["code"]) == (500, "encoding_failed")
    (failure,) = (line for line in log() if line["event"] == "failed")
    assert failure["error"] == "ValueError"


def test_a_failure_leaves_no_traceback_of_the_server(capfd):
    with running(create_app(Served(NAME, Failing()))) as address:
        answer = httpx.post(f"{address}/v1/embeddings", json={"model": NAME, "input": "bad secret"})
    assert answer.status_code == 500
    written = "".join(capfd.readouterr())
    assert "Traceback" not in written
    assert "secret" not in written


def test_an_index_that_fails_tells_nothing(served, monkeypatch):
    client = Client(create_app(served))

    def broken(*_args, **_others):
        raise DataError("/secret/place", "is damaged")

    monkeypatch.setattr(type(served.index), "explain", broken)
    answer = client.post("/v1/search", {"query": "a"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    monkeypatch.undo()
    assert client.post("/v1/search", {"query": "a"}).status_code == 200


def test_the_log_has_requests_without_texts(tmp_path, log):
    served = demo_like(Failing(), tmp_path / "index")
    client = Client(create_app(served, Settings(writable=True)))
    answer = client.post("/v1/embeddings", ASKED)
    client.post("/v1/search?q=secret", {"query": "secret bad"})
    client.get("/v1/documents/secret")
    client.get("/secret")
    client.post("/v1/documents", {"documents": [{"id": "secret", "text": "secret"}]})
    served.close()
    lines = log()
    assert "secret" not in json.dumps(lines)
    requests = [(line["route"], line["status"]) for line in lines if line["event"] == "request"]
    assert requests == [
        ("/v1/embeddings", 200),
        ("/v1/search", 500),
        ("/v1/documents/{id:path}", 404),
        ("unknown", 404),
        ("/v1/documents", 200),
    ]
    assert lines[0]["id"] == answer.headers["x-request-id"]
    (failure,) = (line for line in lines if line["event"] == "failed")
    assert (failure["error"], failure["level"]) == ("RuntimeError", "error")


def test_metrics_count_requests_batches_and_tokens(client):
    client.post("/v1/embeddings", ASKED)
    client.post("/v1/embeddings", ASKED)
    client.get("/v1/models/no")
    text = client.get("/metrics").text
    assert 'nestvec_requests_total{route="/v1/embeddings",status="200"} 2.0' in text
    assert 'status="404"} 1.0' in text
    assert "nestvec_cache_hits 1.0" in text
    assert "nestvec_batch_items_count 1.0" in text
    assert "nestvec_documents 10.0" in text
    assert "secret" not in text


def test_the_documentation_loads_nothing_from_elsewhere(client):
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").json()["info"]["title"] == "nestvec"


def test_errors_of_routing_come_in_the_envelope_too(client):
    answer = client.get("/v2/none")
    assert (answer.status_code, error_of(answer)["type"]) == (404, "invalid_request_error")
    assert "this path does not exist" in error_of(answer)["message"]
    answer = client.get("/v1/embeddings")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_only_the_json_content_type_is_accepted(client, kind):
    headers = {} if kind is None else {"content-type": kind}
    answer = client.ask("POST", "/v1/search", headers, content=b'{"query": "a"}')
    assert answer.status_code == 400
    assert "Content-Type: application/json" in error_of(answer)["message"]
