"""Models behind an API: requests, retries, checks of answers, the cache."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

import nestvec as nv
from api_server import WIDTH, Fault, running_api, texts_of, vector_of
from nestvec.models.api import client, retry
from nestvec.models.api.requests import send_all
from nestvec.models.known_row import KnownModel

TEXTS = [f"text number {number}" for number in range(700)]
BUSY = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in ("OPENAI_BASE_URL", "NESTVEC_API_KEY", "NESTVEC_API_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NESTVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retry, "_FIRST_WAIT_S", 0.001)
    with running_api() as running:
        yield running


def load(server, name="openai:tiny", **options):
    return nv.load_model(name, base_url=server.url, **options)


def expected(texts):
    return np.stack([vector_of(text) for text in texts])


def failure(call, *args, **options):
    with pytest.raises(nv.ModelError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["openai:tiny", "gemini:tiny", "voyage:tiny", "cohere:tiny"])
def test_each_dialect_returns_the_vectors_in_order(server, name):
    model = load(server, name)
    np.testing.assert_array_equal(model.encode(TEXTS, kind="document"), expected(TEXTS))
    assert model.info.full_dim == WIDTH
    assert len(server.received) > 2


@pytest.mark.parametrize("packed", [True, False], ids=["base64", "float"])
def test_vectors_arrive_in_both_formats(server, packed):
    server.base64 = packed
    found = load(server).encode(TEXTS[:3], kind="query")
    np.testing.assert_array_equal(found, expected(TEXTS[:3]))
    assert found.dtype == np.float32


def test_vectors_are_sorted_by_their_index(server):
    def backwards(answer):
        return {**answer, "data": answer["data"][::-1]}

    model = load(server)
    server.faults = [Fault(change=backwards)]
    np.testing.assert_array_equal(model.encode(TEXTS[:5], kind="query"), expected(TEXTS[:5]))


def test_rate_limits_server_errors_and_truncated_answers_are_retried(server):
    model = load(server, cache=False)
    server.faults = [
        Fault(429, BUSY, {"retry-after-ms": "5"}),
        Fault(503, b"<html>unavailable</html>"),
        Fault(truncated=True),
        Fault(dropped=True),
    ]
    before = len(server.received)
    np.testing.assert_array_equal(model.encode(TEXTS[:3], kind="query"), expected(TEXTS[:3]))
    assert len(server.received) - before == 5


def test_attempts_are_limited(server):
    model = load(server)
    server.faults = [Fault(500, {"error": {"message": "broken"}})] * retry.ATTEMPTS
    assert failure(model.encode, ["x"], kind="query") == (
        f"openai:tiny@{server.url}: {server.url}/embeddings answered 500: broken "
        "in each of 6 attempts. Run the same command again later."
    )
    assert not server.faults


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_the_requested_wait_is_read(headers, seconds):
    assert retry.wait_requested(headers) == seconds


def test_the_requested_wait_can_be_a_date():
    later = datetime.now(UTC) + timedelta(seconds=30)
    earlier = datetime.now(UTC) - timedelta(seconds=30)
    assert 28 <= retry.wait_requested({"retry-after": format_datetime(later, usegmt=True)}) <= 30
    assert retry.wait_requested({"retry-after": format_datetime(earlier, usegmt=True)}) == 0


def test_a_requested_wait_is_obeyed_and_random_waits_grow():
    assert all(7 <= retry.wait_before(1, 7) <= 7.25 for _ in range(20))
    limits = [max(retry.wait_before(n, None) for _ in range(200)) for n in (1, 2, 3)]
    assert limits == sorted(limits)
    assert limits[2] <= retry._FIRST_WAIT_S * 8


def test_a_request_waits_as_long_as_the_server_asks(server, monkeypatch):
    waits = []
    monkeypatch.setattr(client.Pause, "extend", lambda _, seconds: waits.append(seconds))
    model = load(server)
    server.faults = [Fault(429, BUSY, {"retry-after": "11"})]
    model.encode(["x"], kind="query")
    assert len(waits) == 1
    assert 11 <= waits[0] <= 11.25


def test_a_wait_of_hours_ends_the_work(server):
    model = load(server)
    server.faults = [Fault(429, BUSY, {"retry-after": "7200"})]
    assert failure(model.encode, ["x"], kind="query").endswith(
        "answered 429: slow down, and asks to wait 7,200 s, longer than 120 s. "
        "Run again after this time."
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 501])
def test_other_errors_are_not_retried(server, status):
    model = load(server)
    server.faults = [Fault(status, {"detail": "no\nsuch   thing"})]
    before = len(server.received)
    assert f"answered {status}: no such thing." in failure(model.encode, ["x"], kind="query")
    assert len(server.received) == before + 1


def test_an_endpoint_that_is_down_is_one_line(monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_WAIT_S", 0.001)
    with running_api() as stopped:
        url = stopped.url
    message = failure(nv.load_model, "openai:tiny", base_url=url, cache=False)
    assert f"{url}/embeddings cannot be reached (ConnectError" in message
    remedy = "Check the base URL, and that the server is running."
    assert message.endswith(f"in each of 3 attempts. {remedy}")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda a: {**a, "data": a["data"][:-1]}, "answered with 2 vectors for 3 texts"),
        (lambda a: {**a, "model": "large"}, "answered with the model 'large', not 'tiny'"),
        (lambda a: {**a, "data": [{**e, "index": 0} for e in a["data"]]}, "repeated indexes"),
        (lambda a: {**a, "data": [{**e, "embedding": [1.0]} for e in a["data"]]}, "of 1 dims, but"),
        (lambda a: {**a, "data": [{**e, "embedding": "A"} for e in a["data"]]}, "not base64"),
        (
            lambda a: {
                **a,
                "data": [{**e, "embedding": [float("nan")] * WIDTH} for e in a["data"]],
            },
            "NaN or infinite",
        ),
        (
            lambda a: {**a, "data": [{**e, "embedding": [1e300] * WIDTH} for e in a["data"]]},
            "NaN or infinite",
        ),
        (lambda a: {**a, "data": [{**e, "embedding": None} for e in a["data"]]}, "neither a list"),
        (lambda a: {"object": "list"}, "another format than openai"),
        (lambda a: [a], "another format than openai"),
    ],
)
def test_a_wrong_answer_is_refused_and_not_cached(server, change, problem):
    model = load(server)
    server.faults = [Fault(change=change)]
    assert problem in failure(model.encode, TEXTS[:3], kind="query")
    before = len(server.received)
    np.testing.assert_array_equal(model.encode(TEXTS[:3], kind="query"), expected(TEXTS[:3]))
    assert len(server.received) == before + 1


@pytest.mark.parametrize(
    ("answered", "accepted"),
    [
        ("tiny", True),
        ("owner/Tiny", True),
        ("tiny-v2", True),
        ("tiny-2024-01-25", True),
        ("tiny:latest", True),
        ("tiny-large", False),
        ("tin", False),
        ("other", False),
    ],
)
def test_an_answer_may_name_a_version_and_no_other_model(server, answered, accepted):
    model = load(server)
    server.model = answered
    if accepted:
        model.encode(["x"], kind="query")
    else:
        assert repr(answered) in failure(model.encode, ["x"], kind="query")


def test_a_known_width_that_the_endpoint_contradicts_is_one_line(server):
    model = load(server, "openai:text-embedding-3-small")
    assert (model.info.full_dim, server.received) == (1536, [])
    message = failure(model.encode, ["x"], kind="query")
    assert message.endswith("vectors of 64 dims, but the full width is 1536 dims.")


def test_a_request_that_is_too_large_is_sent_in_parts(server):
    server.most_texts = 10
    found = load(server).encode(TEXTS, kind="document")
    np.testing.assert_array_equal(found, expected(TEXTS))
    refused = [each for each in server.received if len(texts_of(each.body)) > 10]
    # At most the requests that were under way when the first one was refused.
    assert len(refused) <= 4 * 6


def test_requests_are_limited_in_texts_and_tokens(server):
    long = "word " * 8_000  # 10,000 tokens
    load(server).encode([*TEXTS, *(f"{n} {long}" for n in range(12))], kind="document")
    sizes = [len(texts_of(each.body)) for each in server.received[1:]]
    assert max(sizes) == 256
    assert sorted(sizes)[:2] == [4, 4] or min(sizes) <= 4
    tokens = [sum(len(text) // 4 for text in texts_of(each.body)) for each in server.received]
    assert max(tokens) <= 50_000


def test_each_text_is_sent_once_and_then_cached(server):
    model = load(server)
    model.encode([*TEXTS, *TEXTS[:9]], kind="document")
    load(server).encode(TEXTS, kind="document")
    assert {server.encoded[text] for text in TEXTS} == {1}
    model.encode(TEXTS[:2], kind="query")  # a kind of its own
    assert server.encoded[TEXTS[0]] == 2


def test_after_a_quota_ends_the_rest_alone_is_encoded(server):
    model = load(server)
    server.quota = 1 + 256
    message = failure(model.encode, TEXTS, kind="document")
    assert "answered 429: You exceeded your current quota. Vectors received so far" in message
    paid = sum(server.encoded[text] for text in TEXTS)
    assert paid == 256
    server.quota = None
    found = load(server).encode(TEXTS, kind="document")
    np.testing.assert_array_equal(found, expected(TEXTS))
    assert {server.encoded[text] for text in TEXTS} == {1}


def test_answers_under_way_are_cached_when_another_request_fails(server):
    server.faults = [None, Fault(400, {"error": {"message": "no"}})]
    failure(load(server).encode, TEXTS, kind="document")
    paid = [text for text in TEXTS if server.encoded[text]]
    assert paid
    load(server).encode(TEXTS, kind="document")
    assert {server.encoded[text] for text in TEXTS} == {1}


def test_ctrl_c_stores_the_answers_under_way(server):
    texts = [f"text number {number}" for number in range(2_000)]  # 8 requests
    model = load(server)
    interrupted = threading.Event()

    def hold(answer):
        assert interrupted.wait(20)
        return answer

    def interrupt(answer):
        while len(server.received) < 1 + 4:
            time.sleep(0.01)
        time.sleep(0.2)  # by then, the main thread waits for answers
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        interrupted.set()
        return answer

    server.faults = [Fault(change=interrupt), *(Fault(change=hold) for _ in range(3))]
    with pytest.raises(KeyboardInterrupt):
        model.encode(texts, kind="document")
    assert len(server.received) == 1 + 4
    found = load(server).encode(texts, kind="document")
    np.testing.assert_array_equal(found, expected(texts))
    assert {server.encoded[text] for text in texts} == {1}


def test_no_request_is_sent_after_the_caller_stops_reading():
    sent = []

    def send(rows, stop):
        sent.append(rows)
        return rows

    answers = send_all(iter([[n] for n in range(50)]), send)
    found = [next(answers)]
    with pytest.raises(KeyboardInterrupt):
        found.append(answers.throw(KeyboardInterrupt()))
    assert len(sent) < 50


def test_small_shards_are_joined(server, tmp_path):
    model = load(server, "cohere:tiny")
    model.encode([f"{n}" for n in range(96 * 40)], kind="document")
    shards = list((tmp_path / "cache").rglob("*.shard"))
    assert len(shards) <= 3
    again = load(server, "cohere:tiny").encode([f"{n}" for n in range(96 * 40)], kind="document")
    np.testing.assert_array_equal(again, expected([f"{n}" for n in range(96 * 40)]))
    assert max(server.encoded.values()) == 1


def test_a_killed_run_without_the_cache_stores_nothing(server, tmp_path):
    load(server, cache=False).encode(TEXTS, kind="document")
    assert not list(tmp_path.rglob("*.shard"))


def test_the_width_of_an_unknown_model_is_requested_once(server):
    load(server)
    load(server)
    assert len(server.received) == 1


def test_a_default_width_that_may_be_truncated_is_named(server, caplog):
    load(server, "voyage:new")
    assert "Its default width of 64 dims is used as the full width" in caplog.text


def test_blank_texts_are_not_sent_and_have_zero_vectors(server):
    found = load(server).encode(["", "x", "  \n"], kind="document")
    np.testing.assert_array_equal(found, [np.zeros(WIDTH), vector_of("x"), np.zeros(WIDTH)])
    assert texts_of(server.received[-1].body) == ["x"]


def test_prompts_that_only_the_folder_of_a_model_contains_are_named(server, caplog):
    row = KnownModel(("org/named",), WIDTH, query_prompt_name="web_search_query")
    load(server, "openai:org/named", models=[row])
    assert "org/named has prompts ('web_search_query') in the configuration" in caplog.text
    caplog.clear()
    load(server, "openai:org/named", models=[row], prompts={"query": "", "document": ""})
    load(server, "voyage:org/named", models=[row])  # sends the kind of text
    assert "has prompts" not in caplog.text


def test_prompts_are_added_before_texts_are_sent(server):
    prompts = {"query": "find: ", "document": "text: "}
    model = load(server, prompts=prompts)
    model.encode(["a"], kind="query")
    model.encode(["a"], kind="document")
    assert [texts_of(each.body) for each in server.received[-2:]] == [["find: a"], ["text: a"]]
    plain = load(server)
    assert model.info.fingerprint != plain.info.fingerprint
    assert model.info.weights == plain.info.weights


def test_the_prompts_of_a_known_model_are_used(server, monkeypatch):
    info = load(server, "openai:intfloat/e5-small").info
    assert info.prompts == {"query": "query: ", "document": "passage: "}
    assert info.prompts_source.startswith("known model: ")


def test_dtype_and_device_are_named_as_unused(server, caplog):
    load(server, dtype="bfloat16", device="cuda")
    assert "device='cuda' has no effect on openai:tiny" in caplog.text
    assert "dtype='bfloat16' has no effect on openai:tiny" in caplog.text


def test_a_base_url_for_another_model_is_refused(tmp_path):
    with pytest.raises(nv.InvalidArgument, match="is not an API model, so base_url="):
        nv.load_model(tmp_path, base_url="https://example.com/v1")


def test_the_time_of_one_text_is_measured_without_paying_twice(server):
    model = load(server)
    assert model.encode_ms(TEXTS, kind="query") > 0
    model.encode(TEXTS, kind="query")
    assert max(server.encoded.values()) == 1
    n_requests = len(server.received)
    assert load(server).encode_ms(TEXTS, kind="query") > 0  # the stored time
    assert len(server.received) == n_requests


def test_an_index_opens_its_model_at_the_same_server(server, tmp_path):
    documents = {f"d{n}": nv.Document(text) for n, text in enumerate(TEXTS[:20])}
    with nv.build_index(load(server), documents, "64:float32", tmp_path / "index"):
        pass
    with nv.Index.open(tmp_path / "index") as index:
        hits = index.search([TEXTS[7]], k=1)
        assert hits.ids == [["d7"]]
        assert index.model.info.name == f"openai:tiny@{server.url}"


def test_redirects_to_other_hosts_are_not_followed(server):
    model = load(server)
    with running_api() as other:
        server.faults = [Fault(307, b"{}", {"location": f"{other.url}/embeddings"})]
        message = failure(model.encode, ["x"], kind="query")
        assert f"redirects to '{other.address.removeprefix('http://')}'" in message
        assert not other.received
    server.faults = [Fault(307, b"{}", {"location": "/v2/embeddings"})]
    model.encode(["x"], kind="query")
    assert server.received[-1].path == "/v2/embeddings"


def test_the_client_needs_httpx_alone(server, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(nv.MissingExtra, match=r"nestvec\[api\]"):
        load(server)


def test_retries_are_logged_as_information(server, caplog):
    caplog.set_level(logging.INFO, "nestvec")
    server.faults = [Fault(503, {"message": "warming up"})]
    load(server)
    assert "answered 503: warming up; next attempt in" in caplog.text
