"""Numbers of dims in /v1/embeddings: lists and ranges of trained dims, and a default."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, fake_info
from made_serving import NAME, POINT, TIERS
from nestvec.codec.prefix import prefix
from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index
from nestvec.models.load import load_model
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from pairs import save_model
from serving_client import Client, error_of
from ten_documents import CORPUS

RANGE = fake_info(min_dim=24, dims=(64, 32), dims_source="known model")
PLAIN = fake_info(dims=(64, 32), dims_trained=False, dims_source="guess")


def client_of(info, settings=None, **parts):
    model = NestedHashEncoder(info)
    return Client(create_app(Served(NAME, model, **parts), settings or Settings()))


def answer_of(client, **others):
    return client.post("/v1/embeddings", {"model": NAME, "input": "read csv", **others})


def width_of(answer):
    assert answer.status_code == 200, answer.text
    return len(answer.json()["data"][0]["embedding"])


@pytest.mark.parametrize("dim", [24, 25, 37, 63, 64])
def test_a_model_with_a_range_serves_each_dim_of_the_range(dim):
    answer = answer_of(client_of(RANGE), dimensions=dim)
    expected = prefix(NestedHashEncoder(RANGE).encode(["read csv"], kind="document"), dim)
    np.testing.assert_allclose([answer.json()["data"][0]["embedding"]], expected, atol=1e-6)


def test_a_known_model_with_a_range_needs_no_option(tmp_path):
    """Its config.json lists no dims; the table of known models has the range, found by its name."""
    folder = save_model(tmp_path / "Qwen3-Embedding-0.6B", dims=(1024,))
    config = json.loads((folder / "config.json").read_text())
    del config["matryoshka_dimensions"]
    (folder / "config.json").write_text(json.dumps(config))
    client = Client(create_app(Served(NAME, load_model(folder))))
    assert [width_of(answer_of(client, dimensions=dim)) for dim in (32, 256, 300)] == [32, 256, 300]
    error = error_of(answer_of(client, dimensions=31))
    assert "Choose any from 32 to 1024" in error["message"]
    assert client.get("/v1/models").json()["data"][0]["min_dim"] == 32


@pytest.mark.parametrize(
    ("info", "dim", "words"),
    [
        (RANGE, 23, "dimensions=23 is not a trained width of tiny. Choose any from 24 to 64, or"),
        (RANGE, 65, "larger than full_dim=64 of tiny. Choose any from 24 to 64."),
        (fake_info(), 24, "Choose one of 64, 32, 16, or start the server with"),
        (fake_info(), 65, "Choose one of 64, 32, 16."),
        (PLAIN, 32, "Choose 64, or start the server with --allow-any-dimension"),
    ],
)
def test_the_error_states_the_range_or_the_list(info, dim, words):
    answer = answer_of(client_of(info), dimensions=dim)
    assert answer.status_code == 400
    error = error_of(answer)
    assert words in error["message"]
    assert error["param"] == "dimensions"


@pytest.mark.parametrize("info", [RANGE, PLAIN, fake_info()])
def test_the_full_width_is_always_accepted(info):
    assert width_of(answer_of(client_of(info), dimensions=64)) == 64


def test_dims_that_the_user_chose_and_the_range_are_both_accepted():
    """With ``load_model(dims=...)``, the list also contains dims outside of the range."""
    client = client_of(replace(RANGE, dims=(64, 40, 8), dims_trained=False))
    assert client.get("/v1/models").json()["data"][0]["dims"] == [64, 40]
    assert width_of(answer_of(client, dimensions=40)) == 40
    assert answer_of(client, dimensions=8).status_code == 400


def test_the_list_of_models_shows_the_range_and_the_default():
    (entry, *_), plain = (
        client_of(info, settings).get("/v1/models").json()["data"]
        for info, settings in ((RANGE, Settings(default_dimensions=30)), (PLAIN, None))
    )
    assert (entry["dims"], entry["min_dim"], entry["default_dim"]) == ([64, 32], 24, 30)
    assert (plain[0]["dims"], plain[0]["min_dim"], plain[0]["default_dim"]) == ([64], None, 64)


def test_default_dims_apply_to_requests_that_name_none():
    client = client_of(fake_info(), Settings(default_dimensions=16))
    assert width_of(answer_of(client)) == 16
    assert width_of(answer_of(client, dimensions=None)) == 16
    assert width_of(answer_of(client, dimensions=32)) == 32


def test_a_tier_takes_precedence_over_default_dims(tmp_path):
    with build_index(NestedHashEncoder(), CORPUS, POINT, tmp_path / "index") as index:
        parts = {"index": index, "tiers": TIERS}
        client = client_of(fake_info(), Settings(default_dimensions=16), **parts)
        assert width_of(answer_of(client)) == 16
        assert width_of(answer_of(client, model=f"{NAME}:best")) == 64
        widths = {
            each["id"]: each["default_dim"] for each in client.get("/v1/models").json()["data"]
        }
        assert (widths[NAME], widths[f"{NAME}:fast"], widths[f"{NAME}:best"]) == (16, 16, 64)


@pytest.mark.parametrize(
    ("info", "dim", "words"),
    [
        (fake_info(), 17, "--default-dimensions 17 is not a trained width of tiny. Choose one of"),
        (RANGE, 16, "Choose any from 24 to 64, or pass --allow-any-dimension"),
        (RANGE, 0, "--default-dimensions 0 is not from 1 to full_dim=64 of tiny"),
        (RANGE, 65, "--default-dimensions 65 is not from 1 to full_dim=64 of tiny"),
    ],
)
def test_default_dims_are_checked_when_the_server_starts(info, dim, words):
    with pytest.raises(InvalidArgument) as raised:
        client_of(info, Settings(default_dimensions=dim))
    assert words in str(raised.value)


def test_default_dims_of_the_index_need_no_training(tmp_path):
    """The user chose the operating point of the index, for example by a plan."""
    model = NestedHashEncoder(PLAIN)
    with build_index(model, CORPUS, "24:int8@5>64:float16", tmp_path / "index") as index:
        client = client_of(PLAIN, Settings(default_dimensions=24), index=index)
        assert width_of(answer_of(client)) == 24
        assert width_of(answer_of(client, dimensions=24)) == 24
        assert answer_of(client, dimensions=25).status_code == 400


def test_any_dimension_can_be_allowed_as_the_default():
    settings = Settings(default_dimensions=17, allow_any_dimension=True)
    assert width_of(answer_of(client_of(PLAIN, settings))) == 17


def test_a_vector_of_the_default_dims_is_no_query(tmp_path):
    with build_index(NestedHashEncoder(), CORPUS, POINT, tmp_path / "index") as index:
        client = client_of(fake_info(), Settings(default_dimensions=16), index=index)
        vector = answer_of(client).json()["data"][0]["embedding"]
        answer = client.post("/v1/search", {"embedding": vector})
        assert "Send the full vector (dimensions=64)" in error_of(answer)["message"]


def test_a_model_that_must_not_be_truncated_is_served_at_full_width_only(tmp_path):
    info = fake_info(dims=(64,), dims_trained=False, not_prefixes="its widths are separate layers")
    settings = Settings(allow_any_point=True, allow_any_dimension=True)
    refused = "is refused for tiny: its widths are separate layers. Use full_dim=64"
    with build_index(NestedHashEncoder(info), CORPUS, "64:int8", tmp_path / "index") as index:
        client = client_of(info, settings, index=index)
        assert width_of(answer_of(client, dimensions=64)) == 64
        error = error_of(answer_of(client, dimensions=16))
        assert f"dim=16 {refused}" in error["message"]
        assert error["param"] == "dimensions"
        answer = client.post("/v1/search", {"query": "read csv", "point": "16:int8@5>64:float16"})
        assert answer.status_code == 400
        assert f"dim=16 {refused}" in error_of(answer)["message"]
        answer = client.post("/v1/search", {"query": "read csv", "point": "64:float16"})
        assert answer.status_code == 200
        for wrong in (
            {"settings": Settings(default_dimensions=16, allow_any_dimension=True)},
            {"tiers": TIERS},
        ):
            with pytest.raises(InvalidArgument, match=refused):
                client_of(info, index=index, **wrong)
