"""Clients as people install them, unchanged, against a server behind a port."""

import base64

import numpy as np
import openai
import pytest

from made_serving import NAME, static_model
from nestvec.codec.prefix import prefix
from nestvec.index.building import build_index
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from nestvec.types import OperatingPoint
from serving_client import running
from ten_documents import CORPUS

KEY = "a-key-of-24-characters-1"
TEXTS = ["read csv", "open socket", "write json table"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return static_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def base_url(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "index"
    index = build_index(model, CORPUS, "16:binary@8>32:int8", path)
    tiers = {"fast": OperatingPoint.parse("16:int8")}
    app = create_app(Served(NAME, model, index, tiers=tiers), Settings(keys=(KEY,)))
    with running(app) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def client(base_url):
    with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        yield client


def expected(model, dim, texts=TEXTS):
    return prefix(model.encode(texts, kind="document"), dim)


def test_openai_embeds_texts(client, model):
    answer = client.embeddings.create(model=NAME, input=TEXTS)  # asks for base64 by itself
    got = np.array([each.embedding for each in answer.data], dtype=np.float32)
    np.testing.assert_array_equal(got, expected(model, 32))
    assert answer.usage.total_tokens == answer.usage.prompt_tokens == 7
    assert answer.model == NAME


@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
def test_openai_embeds_in_fewer_dimensions(client, model, encoding_format):
    options = {} if encoding_format is None else {"encoding_format": encoding_format}
    answer = client.embeddings.create(
        model=NAME, input=TEXTS[0], dimensions=16, user="somebody", **options
    )
    (got,) = [each.embedding for each in answer.data]
    if encoding_format == "base64":  # asked for by hand, it comes as it is
        got = np.frombuffer(base64.b64decode(got), "<f4")
    np.testing.assert_allclose(got, expected(model, 16)[0], atol=1e-7)


def test_openai_embeds_tokens(client, model):
    ids = model.tokenize(TEXTS, kind="document")
    answer = client.embeddings.create(model=NAME, input=ids)
    got = np.array([each.embedding for each in answer.data], dtype=np.float32)
    np.testing.assert_array_equal(got, expected(model, 32))


def test_openai_s_tiers_and_models(client):
    assert [model.id for model in client.models.list()] == [NAME, f"{NAME}:fast"]
    assert client.models.retrieve(f"{NAME}:fast").object == "model"
    answer = client.embeddings.create(model=f"{NAME}:fast", input="read")
    assert len(answer.data[0].embedding) == 16


def test_openai_reports_the_error(client, base_url):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model=NAME, input="read", dimensions=20)
    assert refusal.value.param == "dimensions"
    assert "Choose one of 32, 16, 8, or" in str(refusal.value)
    with pytest.raises(openai.NotFoundError) as refusal:
        client.embeddings.create(model="other", input="read")
    assert refusal.value.code == "model_not_found"
    stranger = openai.OpenAI(base_url=base_url, api_key="nothing", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.embeddings.create(model=NAME, input="read")


def test_langchain_embeds(base_url, model):
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        base_url=base_url,
        api_key=KEY,
        model=NAME,
        dimensions=16,
        check_embedding_ctx_length=False,
    )
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected(model, 16), atol=1e-7)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), expected(model, 16)[0], atol=1e-7)


def test_llama_index_embeds(base_url, model):
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedding = OpenAILikeEmbedding(
        model_name=NAME, api_base=base_url, api_key=KEY, dimensions=16, max_retries=0
    )
    got = embedding.get_text_embedding_batch(TEXTS)
    np.testing.assert_allclose(got, expected(model, 16), atol=1e-7)
    np.testing.assert_allclose(
        embedding.get_query_embedding(TEXTS[0]), expected(model, 16)[0], atol=1e-7
    )
