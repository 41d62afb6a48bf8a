"""Unchanged clients, as users install them, against a server behind a port.

The folder `recorded` has what other versions of LiteLLM send: each file was recorded by a run of
that version, for the options of `litellm.embedding` that it names.
"""

import asyncio
import base64
import gc
import json
import warnings
from pathlib import Path

import httpx
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
RECORDED = Path(__file__).parent / "recorded"
TEXTS = ["read csv", "open socket", "write json table"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return static_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def base_url(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "index"
    index = build_index(model, CORPUS, "16:binary@8>32:int8", path)
    tiers = {"fast": OperatingPoint.parse("16:int8")}
    settings = Settings(keys=(KEY,), accept_token_ids=True)
    app = create_app(Served(NAME, model, index, tiers=tiers), settings)
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
    names = [NAME, f"{NAME}:query", f"{NAME}:document", f"{NAME}:fast"]
    assert [model.id for model in client.models.list()] == names
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


@pytest.fixture
def litellm(monkeypatch):
    """Import the client without its table of prices from the network."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")  # set at import, and restored here
    import litellm

    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    yield litellm
    with warnings.catch_warnings():  # the client leaves an event loop open
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.set_event_loop(None)
        gc.collect()


def embed_with(litellm, base_url, **options):
    answer = litellm.embedding(
        input=TEXTS, api_base=base_url, api_key=KEY, max_retries=0, **options
    )
    return np.array([each["embedding"] for each in answer.data], dtype=np.float32)


@pytest.mark.parametrize("options", [{}, {"user": "somebody"}, {"encoding_format": "float"}])
@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_litellm_embeds(litellm, base_url, model, provider, options):
    got = embed_with(litellm, base_url, model=f"{provider}/{NAME}", **options)
    np.testing.assert_allclose(got, expected(model, 32), atol=1e-7)


@pytest.mark.parametrize(
    "options",
    [
        {"model": f"hosted_vllm/{NAME}"},
        {"model": f"openai/{NAME}", "allowed_openai_params": ["dimensions"]},
    ],
)
def test_litellm_embeds_in_fewer_dimensions(litellm, base_url, model, options):
    got = embed_with(litellm, base_url, dimensions=16, **options)
    np.testing.assert_allclose(got, expected(model, 16), atol=1e-7)


def test_litellm_sends_no_dimensions_to_other_models_of_openai(litellm, base_url):
    """The reason that docs/serve.md describes how to send `dimensions`."""
    with pytest.raises(litellm.UnsupportedParamsError, match="text-embedding-3"):
        embed_with(litellm, base_url, model=f"openai/{NAME}", dimensions=16)


def test_litellm_selects_a_tier_and_the_kind_of_text(litellm, base_url, model):
    got = embed_with(litellm, base_url, model=f"openai/{NAME}:fast:query")
    np.testing.assert_allclose(got, expected(model, 16), atol=1e-7)


REQUESTS = [
    pytest.param(request, id=f"{file.stem} {request['options']}")
    for file in sorted(RECORDED.glob("litellm-*.json"))
    for request in json.loads(file.read_text("utf-8"))["requests"]
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_litellm_of_another_version_embeds(base_url, model, request_):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    answer = httpx.post(
        base_url.removesuffix("/v1") + request_["path"], content=request_["body"], headers=headers
    )
    assert answer.status_code == 200, answer.text
    lines = [line["embedding"] for line in answer.json()["data"]]
    if request_["options"].get("encoding_format") == "base64":
        lines = [np.frombuffer(base64.b64decode(line), "<f4") for line in lines]
    dim = request_["options"].get("dimensions", 32)
    np.testing.assert_allclose(np.array(lines), expected(model, dim), atol=1e-7)


def test_the_older_litellm_sends_null():
    """The recording contains a null field, which is the reason for this recording."""
    requests = json.loads((RECORDED / "litellm-1.81.0.json").read_text("utf-8"))["requests"]
    bodies = [json.loads(each["body"]) for each in requests]
    assert any(body.get("encoding_format", "") is None for body in bodies)


def test_the_client_of_ragflow_embeds(client, model):
    """RAGFlow's OpenAIEmbed sends `drop_params` with each request."""
    answer = client.embeddings.create(
        model=NAME, input=TEXTS, encoding_format="float", extra_body={"drop_params": True}
    )
    got = np.array([each.embedding for each in answer.data], dtype=np.float32)
    np.testing.assert_allclose(got, expected(model, 32), atol=1e-7)


def test_vectors_are_in_the_order_of_the_texts(client, model):
    """Neither client sorts the vectors by their index."""
    texts = [f"read {'csv ' * (n % 9)}" for n in range(200)]
    answer = client.embeddings.create(model=NAME, input=texts)
    assert [each.index for each in answer.data] == list(range(200))
    got = np.array([each.embedding for each in answer.data], dtype=np.float32)
    np.testing.assert_allclose(got, expected(model, 32, texts), atol=1e-6)
