"""A server of two models: documents by one, queries by the other."""

import numpy as np
import pytest

from made_serving import NAME
from nestvec.codec.prefix import prefix
from nestvec.index.building import build_index
from nestvec.models.encoding import embed_documents
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.serve.app import create_app
from nestvec.serve.served import Served, load_served
from nestvec.serve.settings import Settings
from pairs import save_pair
from serving_client import Client, error_of
from ten_documents import CORPUS

POINT = "16:int8@5>32:float16"
TEXTS = ["read csv", "open socket"]


@pytest.fixture
def folders(tmp_path):
    return save_pair(tmp_path)


@pytest.fixture
def pair(folders):
    return load_model(folders[0], query_model=folders[1], same_space=True)


def embeddings_of(client, kind):
    body = {"model": NAME, "input": TEXTS, "input_type": kind}
    answer = client.post("/v1/embeddings", body)
    assert answer.status_code == 200, answer.text
    return np.array([each["embedding"] for each in answer.json()["data"]]), answer.json()["usage"]


@pytest.mark.parametrize("kind", ["document", "query"])
def test_each_kind_of_text_is_encoded_by_its_model(pair, folders, kind):
    found, usage = embeddings_of(Client(create_app(Served(NAME, pair))), kind)
    model = load_model(folders[kind == "query"])
    np.testing.assert_allclose(found, prefix(model.encode(TEXTS, kind=kind), 32), atol=1e-6)
    assert usage["total_tokens"] == 4


def test_the_pair_that_an_index_records_is_served(pair, folders, tmp_path):
    build_index(pair, CORPUS, POINT, tmp_path / "index").close()
    served = load_served(tmp_path / "index", name=NAME)
    client = Client(create_app(served, Settings(writable=True)))
    hits = client.post("/v1/search", {"query": "read csv", "k": 3}).json()["hits"]
    vector = load_model(folders[1]).encode(["read csv"], kind="query")
    expected = served.index.search(vector, 3)
    assert [each["id"] for each in hits] == expected.ids[0]
    added = client.post("/v1/documents", {"documents": [{"id": "new", "text": "read csv"}]})
    assert added.status_code == 200, added.text
    vector = load_model(folders[0]).encode(["read csv"], kind="document")
    assert served.index.search(vector, 1).scores[0][0] == pytest.approx(1, abs=1e-3)
    served.close()


def test_another_query_model_is_served_with_an_index(folders, tmp_path, caplog):
    build_index(load_model(folders[0]), CORPUS, POINT, tmp_path / "index").close()
    served = load_served(
        tmp_path / "index", name=NAME, query_model=str(folders[1]), same_space=True
    )
    found, _ = embeddings_of(Client(create_app(served)), "query")
    expected = prefix(load_model(folders[1]).encode(TEXTS, kind="query"), 32)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert "records that queries are encoded by" in caplog.text
    served.close()


def test_a_server_of_stored_documents_encodes_queries_only(folders, tmp_path):
    vectors = tmp_path / "vectors"
    vectors.mkdir()
    found = embed_documents(load_model(folders[0]), CORPUS)
    save_vectors(list(CORPUS), found, vectors, kind="document")
    pair = load_model(vectors, query_model=folders[1], same_space=True)
    build_index(pair, CORPUS, POINT, tmp_path / "index").close()
    served = load_served(tmp_path / "index", name=NAME)
    assert served.model_names == [NAME, f"{NAME}:query"]
    client = Client(create_app(served, Settings(writable=True)))
    assert embeddings_of(client, "query")[0].shape == (2, 32)
    assert client.post("/v1/search", {"query": "read csv"}).status_code == 200
    assert client.post("/v1/compare", {"texts": TEXTS}).status_code == 200
    for path, body in (
        ("/v1/embeddings", {"model": NAME, "input": "read"}),
        ("/v1/embeddings", {"model": NAME, "input": [1, 2]}),
        ("/v1/documents", {"documents": [{"id": "new", "text": "read csv"}]}),
    ):
        answer = client.post(path, body)
        assert answer.status_code == 400, answer.text
        assert "encodes only queries" in error_of(answer)["message"]
    served.close()
