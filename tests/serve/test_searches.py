"""/v1/search, /v1/compare and what was measured: the index's own answers, and refusals."""

import numpy as np
import pytest

from fakes import NestedHashEncoder
from made_serving import NAME, POINT, demo_like
from nestvec.codec.prefix import prefix
from nestvec.engines.embedded.snapshot import Snapshot
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Limits, Settings
from serving_client import Client, error_of
from ten_documents import CORPUS

QUERY = "read a csv file"


def search(client, **asked):
    return client.post("/v1/search", {"query": QUERY, **asked})


def test_hits_are_those_of_the_index(client, served):
    answer = search(client, k=3).json()
    hits = served.index.search([QUERY], 3)
    assert [hit["id"] for hit in answer["hits"]] == hits.ids[0]
    assert [hit["score"] for hit in answer["hits"]] == hits.scores[0]
    first = answer["hits"][0]
    assert first["text"] == CORPUS[first["id"]].text
    assert first["metadata"] == CORPUS[first["id"]].metadata
    assert (answer["object"], answer["model"], answer["point"]) == ("search", NAME, POINT)


def test_each_stage_reports_its_candidates_and_bytes(client):
    answer = search(client, k=3).json()
    stages = [(each["stage"], each["kept"], each["bytes"]) for each in answer["stages"]]
    assert stages == [("16:binary", 8, 20), ("64:int8", 3, 512)]
    assert {*answer["timing"]} == {"encode_ms", "search_ms", "documents_ms", "total_ms"}
    assert "explain" not in answer


def test_a_search_is_explained_on_request(client, served):
    explained = search(client, k=3, explain=True).json()["explain"]
    shortlist, last = explained["stages"]
    assert shortlist["ids"] == served.index.search([QUERY], 8, point="16:binary").ids[0]
    assert last["ids"] == served.index.search([QUERY], 3).ids[0]
    assert explained["exact"]["ids"] == served.index.search([QUERY], 3, exact=True).ids[0]


@pytest.mark.parametrize(
    ("asked", "point"),
    [
        ({"model": NAME}, POINT),
        ({"model": f"{NAME}:fast"}, "16:int8"),
        ({"point": "best"}, "32:int8@9>64:float16"),
        ({"point": "32:int4"}, "32:int4"),
        ({"model": f"{NAME}:fast", "point": "best"}, "32:int8@9>64:float16"),
    ],
)
def test_a_point_is_chosen_by_tier_or_by_its_text_form(client, served, asked, point):
    answer = search(client, **asked).json()
    assert answer["point"] == point
    expected = served.index.search([QUERY], 10, point=point).ids[0]
    assert [hit["id"] for hit in answer["hits"]] == expected


def test_a_vector_finds_what_its_text_finds(client):
    (vector,) = NestedHashEncoder().encode([QUERY], kind="query").tolist()
    by_vector = client.post("/v1/search", {"embedding": vector, "k": 4}).json()
    assert by_vector["hits"] == search(client, k=4).json()["hits"]


def test_a_filter_is_kept_to(client):
    answer = search(client, where="n >= 7").json()
    assert {hit["metadata"]["n"] for hit in answer["hits"]} == {7, 8, 9}


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"query": ""}, "query", "at least 1"),
        ({"query": None}, "query", "either query or embedding"),
        ({"embedding": [0.5] * 64}, "query", "either query or embedding"),
        ({"query": None, "embedding": [0.5]}, "embedding", "1 dims, but the index requires 64"),
        ({"k": 0}, "k", "greater than or equal to 1"),
        ({"k": 1001}, "k", "k=1001 is too large. Choose a value from 1 to 1000."),
        ({"k": 2.5}, "k", "integer"),
        ({"where": "n >"}, None, "filter"),
        ({"where": "m > 1"}, None, "no document has the field m. The fields are: n."),
        ({"where": "n = '7'"}, None, "n contains numbers, and '7' is a string. Compare n with a"),
        ({"point": "slow"}, "point", "neither a tier nor an operating point. Tiers: fast, best."),
        ({"point": "16:int9"}, "point", "not one of"),
        ({"point": "900:int8"}, "point", "dim=900 is larger than full_dim=64"),
        ({"point": "17:int8"}, "point", "dim=17 is not one of 64, 32, 16"),
        (
            {"point": "16:int8@20000>64:int8"},
            "point",
            "keep=20000 is larger than the limit of 10000",
        ),
        ({"point": "64:float32"}, None, "the index stores float16"),
        ({"explain": "yes please"}, "explain", "'stages'"),
        ({"limit": 3}, "limit", "unknown field"),
    ],
)
def test_invalid_searches_are_rejected(client, asked, param, words):
    answer = search(client, **asked)
    assert answer.status_code == 400, answer.text
    error = error_of(answer)
    assert words in error["message"]
    assert error["param"] == param


def test_only_tiers_are_accepted_if_other_points_are_not_allowed(served):
    client = Client(create_app(served, Settings(allow_any_point=False)))
    assert search(client, point="fast").status_code == 200
    assert search(client, point=POINT).status_code == 200
    assert "accepts only tiers (fast, best)" in error_of(search(client, point="32:int4"))["message"]


def test_a_refusal_names_no_path(tmp_path):
    model = NestedHashEncoder()
    client = Client(create_app(demo_like(model, tmp_path / "secret")))
    for point in ("64:float32", "900:int8", "x", "16:pq4@3"):
        assert "secret" not in search(client, point=point).text


def test_a_model_alone_has_nothing_to_search():
    client = Client(create_app(Served(NAME, NestedHashEncoder())))
    answer = search(client)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "no_index")


def test_vectors_without_a_model_are_searched_by_vectors(tmp_path):
    index = demo_like(NestedHashEncoder(), tmp_path / "index").index
    client = Client(create_app(Served(NAME, None, index)))
    assert client.post("/v1/search", {"embedding": [0.5] * 64}).status_code == 200
    for answer in (search(client), client.post("/v1/embeddings", {"model": NAME, "input": "a"})):
        assert answer.status_code == 400
        assert "no model that encodes" in error_of(answer)["message"]


def test_texts_are_compared_at_each_prefix(client):
    texts = ["read csv", "read json", "open socket"]
    answer = client.post("/v1/compare", {"texts": texts}).json()
    assert answer["dims"] == [64, 32, 16]
    vectors = NestedHashEncoder().encode(texts, kind="document")
    for dim, matrix in zip(answer["dims"], answer["matrices"], strict=True):
        unit = prefix(vectors, dim)
        np.testing.assert_allclose(matrix, unit @ unit.T, atol=1e-5)
    assert client.post("/v1/compare", {"texts": texts, "dims": [16, 5]}).json()["dims"] == [16, 5]


@pytest.mark.parametrize("asked", [{"texts": ["a"]}, {"texts": ["a"] * 33}, {"dims": [65]}])
def test_invalid_comparisons_are_rejected(client, asked):
    answer = client.post("/v1/compare", {"texts": ["a", "b"], **asked})
    assert answer.status_code == 400


def test_curve_and_plan_are_absent_without_files(client):
    for path in ("curve", "plan"):
        answer = client.get(f"/v1/{path}")
        assert (answer.status_code, error_of(answer)["code"]) == (404, f"no_{path}")
    (query,) = client.get("/v1/queries").json()["data"]
    assert query == {"id": "q1", "text": QUERY, "relevant": ["d1"]}


def test_the_folder_of_the_demo_is_served(demo_folder, tmp_path):
    import shutil

    from nestvec.serve.served import load_served

    folder = shutil.copytree(demo_folder, tmp_path / "demo")
    served = load_served([folder])
    client = Client(create_app(served))
    assert served.name == "demo"
    curve, plan = client.get("/v1/curve").json(), client.get("/v1/plan").json()
    assert plan["point"] == str(served.index.point) == str(served.plan.point)
    assert len(curve["points"]) == len(served.curve.points)
    for values in (curve, plan):
        assert str(demo_folder) not in str(values)
    queries = client.get("/v1/queries").json()["data"]
    assert len(queries) == 24
    assert all(query["relevant"] and query["relevant"][0] in served.index for query in queries)
    assert client.post("/v1/search", {"query": "csv", "k": 2}).status_code == 200
    served.close()


def test_limits_apply_to_searches(served):
    client = Client(create_app(served, Settings(limits=Limits(k=2))))
    assert search(client, k=2).status_code == 200
    assert search(client, k=3).status_code == 400


def test_a_search_does_not_pay_for_an_explanation(client, monkeypatch):
    looked_up = []
    ids = Snapshot.ids
    monkeypatch.setattr(
        Snapshot, "ids", lambda self, rows: (looked_up.append(len(rows)), ids(self, rows))[1]
    )
    assert "explain" not in search(client, k=3).json()
    assert looked_up == [3]
    search(client, k=3, explain="stages")
    assert looked_up == [3, 3, 8]


@pytest.mark.parametrize("input_type", ["query", "search_query", None])
def test_a_search_may_state_that_its_text_is_a_query(client, input_type):
    assert search(client, input_type=input_type).json()["hits"] == search(client).json()["hits"]


def test_a_search_of_a_document_text_is_refused(client):
    answer = search(client, input_type="document")
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "input_type"


@pytest.mark.parametrize("where", ["", "  "])
def test_an_empty_filter_is_refused_and_null_is_none(client, where):
    answer = search(client, where=where)
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["param"] == "where"
    assert "omit it or send null" in error["message"]
    assert search(client, where=None).json()["hits"] == search(client).json()["hits"]
