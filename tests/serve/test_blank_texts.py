"""Texts without content for the model: an error that names the text, never a zero vector."""

import asyncio

import httpx
import numpy as np
import pytest
from tokenizers import Tokenizer, models

from fakes import FAKE_INFO, NestedHashEncoder
from made_serving import NAME, static_model
from nestvec.index.building import build_index
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.models.load import load_model
from nestvec.models.static import save_static_model
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from nestvec.types import Document
from serving_client import Client, error_of

BLANK = [" ", "\t\n", "\u00a0\u3000"]


def refused(answer, param):
    assert answer.status_code == 400, answer.text
    error = error_of(answer)
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")
    return error["message"]


@pytest.fixture
def static(tmp_path):
    model = static_model(tmp_path / "model")
    return Client(create_app(Served(NAME, model)))


@pytest.mark.parametrize("text", BLANK)
def test_a_blank_text_has_no_vector(client, static, text):
    for each in (client, static):
        for input_, param in ((text, "input"), (["read", text, "csv"], "input.1")):
            answer = each.post("/v1/embeddings", {"model": NAME, "input": input_})
            assert "the text is blank" in refused(answer, param)
        refused(each.post("/v1/compare", {"texts": ["read", "csv", text]}), "texts.2")


@pytest.mark.parametrize("text", BLANK)
def test_a_blank_query_finds_nothing(client, text):
    refused(client.post("/v1/search", {"query": text}), "query")


@pytest.mark.parametrize("text", BLANK)
@pytest.mark.parametrize("title", ["", " "])
def test_a_blank_document_is_not_added(served, text, title):
    client = Client(create_app(served, Settings(writable=True)))
    documents = [{"id": "x", "text": "read"}, {"id": "y", "text": text, "title": title}]
    assert "blank" in refused(client.post("/v1/documents", {"documents": documents}), "documents.1")
    assert client.get("/v1/documents/x").status_code == 404
    documents[1]["title"] = "a title"
    assert client.post("/v1/documents", {"documents": documents}).status_code == 200


@pytest.fixture
def letters(tmp_path):
    """A static model of four letters, which drops all others."""
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate("read")}, []))
    table = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    save_static_model(table, tokenizer, tmp_path / "letters", matryoshka_dims=(8,), extra={})
    return load_model(tmp_path / "letters")


def test_a_text_without_a_known_token_is_refused(letters):
    client = Client(create_app(Served(NAME, letters)))
    answer = client.post("/v1/embeddings", {"model": NAME, "input": ["read", "123"]})
    assert "the model has no token for it" in refused(answer, "input.1")
    answer = client.post("/v1/compare", {"texts": ["123", "read"]})
    refused(answer, "texts.0")
    known = client.post("/v1/embeddings", {"model": NAME, "input": ["read 123", "read"]}).json()
    first, second = (line["embedding"] for line in known["data"])
    assert first == second


def test_a_document_without_a_known_token_is_not_added(letters, tmp_path):
    index = build_index(letters, {"d": Document("read")}, "8:int8", tmp_path / "index")
    served = Served(NAME, letters, index)
    client = Client(create_app(served, Settings(writable=True)))
    documents = [{"id": "x", "text": "read"}, {"id": "y", "text": "123"}]
    answer = client.post("/v1/documents", {"documents": documents})
    assert "the model has no token for it" in refused(answer, "documents.1")
    documents[1]["title"] = "dear"
    assert client.post("/v1/documents", {"documents": documents}).status_code == 200
    served.close()


def test_a_transformer_has_no_vector_for_a_text_without_tokens(bert_folder):
    """Special tokens and the prompt are not a text. The character has no width and no token."""
    client = Client(create_app(Served(NAME, load_model(bert_folder, device="cpu"))))
    for kind in ("query", "document"):
        body = {"model": NAME, "input": ["read", "\u200b"], "input_type": kind}
        refused(client.post("/v1/embeddings", body), "input.1")
        body = {"model": NAME, "input": "find", "input_type": kind}
        assert client.post("/v1/embeddings", body).status_code == 200


@pytest.mark.parametrize("cached", [False, True])
def test_a_zero_vector_of_any_model_is_refused(cached):
    model = NestedHashEncoder(spoiled={"odd": 0.0})
    client = Client(create_app(Served(NAME, model)))
    if cached:
        body = {"model": NAME, "input": ["even", "other"]}
        assert client.post("/v1/embeddings", body).status_code == 200
    body = {"model": NAME, "input": ["even", "other", "odd", "odd", "new"]}
    refused(client.post("/v1/embeddings", body), "input.2")
    assert client.post("/v1/embeddings", {**body, "input": "odd one"}).status_code == 200


def test_an_adapter_does_not_hide_a_zero_vector():
    """An adapter with a bias maps the zero vector to a constant vector."""
    n = FAKE_INFO.full_dim
    inner, bias, outer = (np.ones(shape, dtype=np.float32) for shape in ((n, 1), (1,), (1, n)))
    head = Head(np.eye(n, dtype=np.float32), inner, bias, outer)
    adapter = Adapter("mlp", (16,), FAKE_INFO.fingerprint, "a model", False, head, head, 0)
    model = AdaptedEncoder(NestedHashEncoder(spoiled={"odd": 0.0}), adapter)
    client = Client(create_app(Served(NAME, model)))
    body = {"model": NAME, "input": ["even", "odd"]}
    refused(client.post("/v1/embeddings", body), "input.1")
    refused(client.post("/v1/embeddings", {**body, "input": "odd"}), "input")


def test_the_requests_in_the_same_batch_are_answered():
    app = create_app(Served(NAME, NestedHashEncoder(spoiled={"odd": 0.0})))

    async def crowd():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            texts = [f"word{n}" for n in range(20)]
            texts[7] = "odd"
            asked = [
                client.post("/v1/embeddings", json={"model": NAME, "input": text}) for text in texts
            ]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    statuses = asyncio.run(crowd())
    assert statuses == [400 if n == 7 else 200 for n in range(20)]


@pytest.mark.parametrize("value", [0.0, 1e-60, 1e60])
def test_a_vector_that_scores_nothing_is_not_searched(client, value):
    answer = client.post("/v1/search", {"embedding": [value] * 64})
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "embedding"
