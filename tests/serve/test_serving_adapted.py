"""A server of an adapted model or index: it answers as one of any other model, and mixes none."""

import shutil
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from fakes import FAKE_INFO, NestedHashEncoder
from made_serving import NAME, POINT, static_model
from nestvec.codec.prefix import prefix
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.index.adapting import adapt_index
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.models.adapter_file import save_adapter
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.models.static import replace_table
from nestvec.models.transformer import TransformerEncoder
from nestvec.serve import served as served_module
from nestvec.serve.app import create_app
from nestvec.serve.inputs import Input, input_encoder
from nestvec.serve.served import Served, load_served
from nestvec.serve.settings import Settings
from serving_client import Client, error_of
from ten_documents import CORPUS

TEXTS = ["read a csv file", "open socket", "json"]
DIMS = [32, 12]  # none of the model's own below the full width


def turning(info, *, seed=1, base=None, two_heads=True):
    """Turn documents at random, and queries likewise but with two axes swapped, to tell them."""
    n = info.full_dim
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0].astype(np.float32)
    head, other = Head(turn), Head(turn[:, [1, 0, *range(2, n)]])
    base = info.fingerprint if base is None else base
    return Adapter("linear", (12,), base, "a model", False, head, other if two_heads else head, 0)


@pytest.fixture
def made(tmp_path):
    """Make a static model, its index, and an adapter in a file."""
    model = static_model(tmp_path / "model")
    build_index(model, CORPUS, "8:int8@9>32:float16", tmp_path / "index").close()
    adapter = turning(model.info)
    save_adapter(adapter, tmp_path / "adapter")
    return SimpleNamespace(
        folder=tmp_path / "model",
        index=tmp_path / "index",
        file=tmp_path / "adapter",
        model=model,
        adapter=adapter,
    )


@pytest.fixture
def client(made):
    """Call a server of the adapted index alone, which may be changed."""
    adapt_index(made.index, made.adapter).close()
    served = load_served([made.index], name=NAME)
    yield Client(create_app(served, Settings(writable=True, accept_token_ids=True)))
    served.close()


def embeddings(client, input_, **others):
    answer = client.post("/v1/embeddings", {"model": NAME, "input": input_, **others})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    vectors = np.array([line["embedding"] for line in found["data"]], dtype=np.float32)
    return vectors, found["usage"]


@pytest.mark.parametrize("kind", ["document", "query"])
@pytest.mark.parametrize("dim", DIMS)
def test_embeddings_are_the_model_s_behind_the_adapter(client, made, kind, dim):
    expected = prefix(made.adapter.apply(made.model.encode(TEXTS, kind=kind), kind), dim)
    found, _ = embeddings(client, TEXTS, dimensions=dim, input_type=kind)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_tokens_are_counted_and_accepted_with_an_adapter(client, made):
    plain = Client(create_app(Served(NAME, made.model)))
    found, usage = embeddings(client, TEXTS)
    assert usage == embeddings(plain, TEXTS)[1]
    assert usage["total_tokens"] == 7
    ids = made.model.tokenize(TEXTS, kind="document")
    by_tokens, counted = embeddings(client, ids)
    np.testing.assert_allclose(by_tokens, found, atol=1e-6)
    assert counted == usage
    by_tokens, _ = embeddings(client, ids, input_type="query")
    expected = embeddings(client, TEXTS, input_type="query")[0]
    np.testing.assert_allclose(by_tokens, expected, atol=1e-6)
    wrong = client.post("/v1/embeddings", {"model": NAME, "input": [999]})
    assert "token 999 is not from 0 to 8" in error_of(wrong)["message"]


def test_dims_are_those_of_the_adapter(client):
    entry = client.get("/v1/models").json()["data"][0]
    assert (entry["dims"], entry["full_dim"]) == (DIMS, 32)
    assert set(DIMS) <= set(entry["index"]["dims"])
    refused = client.post("/v1/embeddings", {"model": NAME, "input": "a", "dimensions": 16})
    assert "Choose one of 32, 12" in error_of(refused)["message"]
    compared = client.post("/v1/compare", {"texts": TEXTS}).json()
    assert compared["dims"] == DIMS


def test_texts_are_compared_behind_the_adapter(client, made):
    vectors = made.adapter.apply(made.model.encode(TEXTS, kind="document"), "document")
    compared = client.post("/v1/compare", {"texts": TEXTS, "dims": [12]}).json()
    unit = prefix(vectors, 12)
    np.testing.assert_allclose(compared["matrices"][0], unit @ unit.T, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_searches_find_what_the_index_finds(client, made, text):
    (vector,), _ = embeddings(client, [text], input_type="query")
    with Index.open(made.index, made.model) as index:
        expected = index.search([text], 5)
        by_model = index.search(made.model.encode([text], kind="query"), 5)
    assert by_model.ids == expected.ids
    for asked in ({"query": text}, {"embedding": vector.tolist()}):
        hits = client.post("/v1/search", {"k": 5, **asked}).json()["hits"]
        assert [hit["id"] for hit in hits] == expected.ids[0]
        np.testing.assert_allclose([hit["score"] for hit in hits], expected.scores[0], atol=1e-3)


def test_documents_are_turned_before_they_are_added(client, made):
    text = "json json socket"
    added = client.post("/v1/documents", {"documents": [{"id": "new", "text": text}]})
    assert added.status_code == 200
    with closing(EmbeddedEngine(made.index)) as index:
        stored = index.vectors(["new"])
    expected = made.adapter.apply(made.model.encode([text], kind="document"), "document")
    np.testing.assert_allclose(prefix(stored, 32), prefix(expected, 32), atol=1e-3)
    hits = client.post("/v1/search", {"query": text, "k": 1}).json()["hits"]
    assert hits[0]["id"] == "new"


def test_queries_and_documents_of_one_batch_go_through_their_own_heads():
    model = NestedHashEncoder()
    adapted = AdaptedEncoder(model, turning(model.info))
    kinds = ["query", "document", "query"]
    inputs = [Input(kind, text, (), 0) for kind, text in zip(kinds, TEXTS, strict=True)]
    found = input_encoder(adapted).encode(inputs)
    for vector, kind, text in zip(found, kinds, TEXTS, strict=True):
        np.testing.assert_allclose(vector, adapted.encode([text], kind=kind)[0], atol=1e-6)


def test_a_model_is_served_behind_an_adapter_of_a_file(made):
    served = load_served([made.folder], adapter=made.file, name=NAME)
    client = Client(create_app(served))
    expected = made.adapter.apply(made.model.encode(TEXTS, kind="document"), "document")
    np.testing.assert_allclose(embeddings(client, TEXTS)[0], prefix(expected, 32), atol=1e-6)
    assert client.get("/v1/models").json()["data"][0]["dims"] == DIMS


def test_a_model_beside_its_adapted_index_need_not_name_the_adapter(made):
    adapt_index(made.index, made.adapter).close()
    for adapter in (None, made.file):
        with_model = load_served([made.folder, made.index], adapter=adapter)
        alone = load_served([made.index], adapter=adapter)
        for served in (with_model, alone):
            assert served.model.info.fingerprint == served.index.info.fingerprint
            served.close()


def test_an_index_of_one_is_not_served_with_the_other(made):
    for paths in ([made.folder, made.index], [made.index]):
        with pytest.raises(
            ModelMismatch, match=r"contains vectors of \S+ \(.*\), not .* with an adapter"
        ):
            load_served(paths, adapter=made.file)
    adapt_index(made.index, made.adapter).close()
    save_adapter(turning(made.model.info, seed=2), made.file)
    with pytest.raises(ModelMismatch, match=r"with an adapter .*, not of .* with an adapter"):
        load_served([made.index], adapter=made.file)
    replace_table(made.folder, made.model.table * 2)  # another model in its place
    with pytest.raises(ModelMismatch, match=r"Different: weights or tokenizer \("):
        load_served([made.folder, made.index])


def test_a_curve_and_plan_of_another_model_are_not_served(made, demo_folder, tmp_path, caplog):
    folder = shutil.copytree(demo_folder, tmp_path / "demo")
    info = load_model(folder / "model").info
    adapt_index(folder / "index", turning(info)).close()
    served = load_served([folder])
    assert (served.curve, served.plan) == (None, None)
    assert "was measured without the adapter" in caplog.text
    served.close()
    for measured in ({"curve": folder / "curve.json"}, {"plan": folder / "plan.json"}):
        with pytest.raises(
            ModelMismatch, match=r"is for .*, but the served model is .* with an adapter"
        ):
            load_served([folder], **measured)


def test_an_adapted_index_of_vectors_accepts_vectors_of_the_base_model(tmp_path):
    model, folder = NestedHashEncoder(), tmp_path / "vectors"
    folder.mkdir()
    texts = [document.content for document in CORPUS.values()]
    save_vectors(list(CORPUS), model.encode(texts, kind="document"), folder, kind="document")
    build_index(load_model(folder), CORPUS, POINT, tmp_path / "index").close()
    adapt_index(tmp_path / "index", turning(model.info, base="", two_heads=False)).close()
    served = load_served([tmp_path / "index"])
    client = Client(create_app(served))
    vector = model.encode([CORPUS["d4"].content], kind="query")[0]
    hits = client.post("/v1/search", {"embedding": vector.tolist(), "k": 1}).json()["hits"]
    assert (served.model, hits[0]["id"]) == (None, "d4")
    served.close()


def test_a_transformer_behind_an_adapter_is_packed_and_shares_the_processors(monkeypatch):
    packed = []

    class Transformer(TransformerEncoder):
        info = FAKE_INFO

        def __init__(self):
            pass

        def pack(self):
            packed.append(self)
            return True

    monkeypatch.setattr(served_module, "share_processors", lambda: 3)
    for model, threads in ((Transformer(), 3), (NestedHashEncoder(), 1)):
        adapted = AdaptedEncoder(model, turning(model.info))
        assert Served(NAME, adapted).share_processors() == threads
    assert len(packed) == 1


def test_nothing_to_serve_is_rejected():
    with pytest.raises(InvalidArgument, match="Pass an index or a model"):
        load_served([])
