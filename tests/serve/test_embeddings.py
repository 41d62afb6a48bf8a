"""/v1/embeddings: the OpenAI API and its error responses."""

import base64
import json
import re

import numpy as np
import pytest

from fakes import NestedHashEncoder, fake_info
from made_serving import NAME, POINT, static_model
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import prefix
from nestvec.index.building import build_index
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Limits, Settings
from nestvec.types import Document
from serving_client import Client, error_of

TEXTS = ["read a csv file", "open socket", "read a csv file"]


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return static_model(tmp_path_factory.mktemp("static") / "model")


@pytest.fixture(scope="module")
def embeddings(static):
    """Ask a server of a static model for embeddings."""
    client = Client(create_app(Served(NAME, static)))

    def ask(input_, **others):
        return client.post("/v1/embeddings", {"model": NAME, "input": input_, **others})

    return ask


def vectors_of(answer):
    assert answer.status_code == 200, answer.text
    return np.array([line["embedding"] for line in answer.json()["data"]], dtype=np.float32)


def test_the_answer_is_openai_s(embeddings):
    answer = embeddings(TEXTS, user="somebody").json()
    assert (answer["object"], answer["model"]) == ("list", NAME)
    assert [line["index"] for line in answer["data"]] == [0, 1, 2]
    assert {line["object"] for line in answer["data"]} == {"embedding"}
    assert answer["usage"] == {"prompt_tokens": 10, "total_tokens": 10}


@pytest.mark.parametrize("dim", [32, 16, 8])
def test_vectors_are_the_prefix_renormalized(embeddings, static, dim):
    got = vectors_of(embeddings(TEXTS, dimensions=dim))
    expected = prefix(static.encode(TEXTS, kind="document"), dim)
    np.testing.assert_allclose(got, expected, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_base64_is_little_endian_float32(embeddings):
    numbers = vectors_of(embeddings(TEXTS, dimensions=16))
    lines = embeddings(TEXTS, dimensions=16, encoding_format="base64").json()["data"]
    read = [np.frombuffer(base64.b64decode(line["embedding"]), "<f4") for line in lines]
    np.testing.assert_array_equal(np.stack(read), numbers)


def test_many_vectors_are_written_as_few_are(embeddings):
    texts = [f"read file {'csv ' * (n % 7)}" for n in range(100)]
    together = vectors_of(embeddings(texts))
    for n in (0, 55, 99):
        np.testing.assert_allclose(vectors_of(embeddings(texts[n]))[0], together[n], atol=1e-6)


def test_a_query_has_its_own_prompt():
    model = NestedHashEncoder()
    client = Client(create_app(Served(NAME, model)))
    for kind in ("document", "query"):
        client.post("/v1/embeddings", {"model": NAME, "input": "csv", "input_type": kind})
    client.post("/v1/embeddings", {"model": NAME, "input": "json"})
    assert [kind for kind, _ in model.calls] == ["document", "query", "document"]


def test_a_text_is_encoded_once():
    model = NestedHashEncoder()
    client = Client(create_app(Served(NAME, model)))
    answers = [
        client.post("/v1/embeddings", {"model": NAME, "input": ["a b", "c", "a b"]}).content
        for _ in range(3)
    ]
    assert len({*answers}) == 1
    assert model.times_encoded("document") == {"a b": 1, "c": 1}


@pytest.mark.parametrize(
    ("input_", "others", "param", "words"),
    [
        ("", {}, "input", "at least 1"),
        ([], {}, "input", "at least 1"),
        (["a", ""], {}, "input.1", "at least 1"),
        ([[]], {}, "input.0", "at least 1"),
        (["a"] * 2049, {}, "input", "2,049 items, more than the limit of 2,048"),
        ([[0, 1], [2]], {}, "input.0", "--accept-token-ids"),
        ([-1], {}, "input", "greater than or equal to 0"),
        ([0.5], {}, "input", "int"),
        (["a", 1], {}, "input", ""),
        (None, {}, "input", ""),
        ({"a": 1}, {}, "input", ""),
        (
            "a",
            {"dimensions": 17},
            "dimensions",
            "Choose one of 32, 16, 8, or .* --allow-any-dimension",
        ),
        ("a", {"dimensions": 33}, "dimensions", "dimensions=33 is larger than full_dim=32"),
        ("a", {"dimensions": 0}, "dimensions", "greater than or equal to 1"),
        ("a", {"dimensions": "16"}, "dimensions", "integer"),
        ("a", {"dimensions": True}, "dimensions", "integer"),
        ("a", {"encoding_format": "hex"}, "encoding_format", "'float', 'base64'"),
        ("a", {"encoding_format": "int8"}, "encoding_format", "Serve an index with the model"),
        ("a", {"color": "red"}, "color", "unknown field"),
        ("a", {"user": 7}, "user", "string"),
    ],
)
def test_invalid_requests_are_rejected(embeddings, input_, others, param, words):
    answer = embeddings(input_, **others)
    assert answer.status_code == 400, answer.text
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param)
    assert re.search(words, error["message"]), error["message"]


@pytest.mark.parametrize("model", ["gpt", f"{NAME}:fast", "", f"{NAME}:"])
def test_another_model_is_not_found(embeddings, model):
    answer = embeddings("a", model=model)
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "model_not_found"


def test_any_dimension_can_be_allowed(static):
    client = Client(create_app(Served(NAME, static), Settings(allow_any_dimension=True)))
    body = {"model": NAME, "input": "a", "dimensions": 17}
    assert vectors_of(client.post("/v1/embeddings", body)).shape == (1, 17)


def test_a_model_that_was_not_trained_for_prefixes_has_one_width():
    info = fake_info(dims_trained=False, dims_source="guess")
    client = Client(create_app(Served(NAME, NestedHashEncoder(info))))
    answer = client.post("/v1/embeddings", {"model": NAME, "input": "a", "dimensions": 32})
    assert answer.status_code == 400
    assert "Choose 64, or" in error_of(answer)["message"]


def test_too_many_tokens_are_rejected(static):
    client = Client(create_app(Served(NAME, static), Settings(limits=Limits(tokens=5))))
    answer = client.post("/v1/embeddings", {"model": NAME, "input": ["a b c", "d e f"]})
    assert answer.status_code == 400
    assert "6 tokens, more than the limit of 5" in error_of(answer)["message"]


def test_codes_are_those_that_the_index_stores(tmp_path):
    model = NestedHashEncoder()
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(300)]
    texts = {f"d{n}": Document(" ".join(rng.choice(words, 9))) for n in range(300)}
    point = "16:binary@50>64:int8"
    index = build_index(model, texts, point, tmp_path / "index")
    served = Served(NAME, model, index)
    client = Client(create_app(served))
    (part,) = index._engine.snapshot().parts
    ids = part.ids(np.arange(len(part)))
    for form, dim in (("int8", 64), ("binary", 16)):
        stored = dict(zip(ids, part.codes(index.codecs[dim, form]), strict=True))
        asked = [document.content for document in texts.values()]
        body = {"model": NAME, "input": asked, "encoding_format": form, "dimensions": dim}
        answer = client.post("/v1/embeddings", body)
        assert answer.status_code == 200, answer.text
        codes = [base64.b64decode(line["embedding"]) for line in answer.json()["data"]]
        assert codes == [stored[id_].tobytes() for id_ in texts], form
    served.close()


@pytest.mark.parametrize("form", ["int8", "binary"])
def test_codes_without_calibration_are_rejected(client, form):
    body = {"model": NAME, "input": "a", "encoding_format": form, "dimensions": 32}
    answer = client.post("/v1/embeddings", body)
    assert answer.status_code == 400
    assert "has a calibration for" in error_of(answer)["message"]


def test_one_bit_of_a_model_without_an_index_needs_no_calibration(embeddings, static):
    line = embeddings("read", encoding_format="binary", dimensions=16).json()["data"][0]
    codec = Codec(16, "binary", False, np.empty(0, dtype=np.float32))
    expected = codec.encode(static.encode(["read"], kind="document"))[0].tobytes()
    assert base64.b64decode(line["embedding"]) == expected


def test_a_tier_is_as_wide_as_its_widest_stage(client):
    for tier, dim in (("fast", 16), ("best", 64)):
        answer = client.post("/v1/embeddings", {"model": f"{NAME}:{tier}", "input": "a b"})
        assert vectors_of(answer).shape == (1, dim)
        assert answer.json()["model"] == f"{NAME}:{tier}"
    body = {"model": f"{NAME}:fast", "input": "a b", "dimensions": 32}
    assert vectors_of(client.post("/v1/embeddings", body)).shape == (1, 32)


def test_models_are_listed_with_widths_and_tiers(client):
    entries = client.get("/v1/models").json()["data"]
    suffixes = ("query", "document", "fast", "best")
    assert [entry["id"] for entry in entries] == [NAME, *(f"{NAME}:{each}" for each in suffixes)]
    first = entries[0]
    assert (first["dims"], first["full_dim"], first["max_tokens"]) == ([64, 32, 16], 64, None)
    assert (first["point"], first["tiers"]["fast"]) == (POINT, "16:int8")
    assert client.get(f"/v1/models/{NAME}:best").json() == entries[-1]
    assert client.get("/v1/models/other").status_code == 404


def test_a_body_that_is_not_json_is_rejected(client):
    for body in (b"{", b"[1]", b"null", b"\xff\xfe", b'{"input": NaN}', b'"\\ud800"'):
        answer = client.raw("/v1/embeddings", body)
        assert answer.status_code == 400, body
        assert json.loads(answer.content)["error"]["message"]
