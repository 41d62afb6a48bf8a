"""The suffixes of a model name: tiers and kinds of text, for clients without other fields."""

import openai
import pytest

from fakes import NestedHashEncoder
from made_serving import NAME, TIERS, demo_like
from nestvec.errors import InvalidArgument
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.tiers import Selection, parse_name
from nestvec.types import OperatingPoint
from serving_client import Client, error_of, running


class Asymmetric(NestedHashEncoder):
    """Encodes a query as a document with another word."""

    def encode(self, texts, *, kind, on_progress=None):
        prefix = "question " if kind == "query" else ""
        return super().encode([prefix + text for text in texts], kind=kind)


@pytest.fixture
def asymmetric():
    return Client(create_app(Served(NAME, Asymmetric(), tiers=TIERS)))


def vector(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]["embedding"]


def embed(client, model, **others):
    return client.post("/v1/embeddings", {"model": model, "input": "read csv", **others})


@pytest.mark.parametrize(
    ("model", "same_as"),
    [
        (NAME, {"input_type": "document"}),
        (f"{NAME}:document", {"input_type": "document"}),
        (f"{NAME}:query", {"input_type": "query"}),
        (f"{NAME}:fast:query", {"input_type": "query", "dimensions": 16}),
        (f"{NAME}:fast:document", {"input_type": "document", "dimensions": 16}),
        (f"{NAME}:fast", {"input_type": "document", "dimensions": 16}),
    ],
)
def test_a_suffix_selects_the_prompt(asymmetric, model, same_as):
    answer = embed(asymmetric, model)
    assert vector(answer) == vector(embed(asymmetric, NAME, **same_as))
    assert answer.json()["model"] == model
    assert asymmetric.get(f"/v1/models/{model}").json()["id"] == model


def test_queries_and_documents_differ(asymmetric):
    assert vector(embed(asymmetric, f"{NAME}:query")) != vector(embed(asymmetric, NAME))


def test_a_suffix_and_the_input_type_must_agree(asymmetric):
    same = embed(asymmetric, f"{NAME}:query", input_type="query")
    assert vector(same) == vector(embed(asymmetric, f"{NAME}:query"))
    answer = embed(asymmetric, f"{NAME}:query", input_type="passage")
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "input_type"


@pytest.mark.parametrize(
    "suffixes", ["", ":query", "query:", "query:fast", "fast:", "fast:best", "slow:query", "a"]
)
def test_other_suffixes_are_unknown(asymmetric, suffixes):
    answer = embed(asymmetric, f"{NAME}:{suffixes}")
    assert answer.status_code == 404
    assert (
        f"Choose one of {NAME}, {NAME}:query, {NAME}:document, {NAME}:fast"
        in (error_of(answer)["message"])
    )
    assert asymmetric.get(f"/v1/models/{NAME}:{suffixes}").status_code == 404


def test_a_name_with_colons_has_suffixes():
    assert parse_name("a:query", "a:query") == Selection()
    assert parse_name("a:query:query", "a:query") == Selection(None, "query")
    assert parse_name("a:b:fast:document", "a:b") == Selection("fast", "document")
    assert parse_name("ab:query", "a") is None


def test_a_search_accepts_only_queries(client, served):
    body = {"query": "read csv", "k": 3}
    expected = client.post("/v1/search", body).json()["hits"]
    answer = client.post("/v1/search", {**body, "model": f"{NAME}:query"}).json()
    assert (answer["hits"], answer["model"]) == (expected, f"{NAME}:query")
    answer = client.post("/v1/search", {**body, "model": f"{NAME}:fast:query"}).json()
    assert answer["point"] == "16:int8"
    answer = client.post("/v1/search", {**body, "model": f"{NAME}:document"})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "model")


def test_vectors_without_a_model_have_no_kinds(tmp_path):
    index = demo_like(NestedHashEncoder(), tmp_path / "index").index
    client = Client(create_app(Served(NAME, None, index, tiers=TIERS)))
    listed = [entry["id"] for entry in client.get("/v1/models").json()["data"]]
    assert listed == [NAME, f"{NAME}:fast", f"{NAME}:best"]


@pytest.mark.parametrize("name", ["query", "document"])
def test_a_tier_cannot_have_the_name_of_a_kind(name):
    with pytest.raises(InvalidArgument, match="Choose another name"):
        Served(NAME, NestedHashEncoder(), tiers={name: OperatingPoint.parse("16:int8")})


def test_an_unchanged_openai_client_embeds_queries():
    with (
        running(create_app(Served(NAME, Asymmetric()))) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        created = {
            name: client.embeddings.create(model=name, input="read", encoding_format="float")
            for name in (NAME, f"{NAME}:query", f"{NAME}:document")
        }
    vectors = {name: answer.data[0].embedding for name, answer in created.items()}
    assert vectors[NAME] == vectors[f"{NAME}:document"] != vectors[f"{NAME}:query"]
    assert created[f"{NAME}:query"].model == f"{NAME}:query"
