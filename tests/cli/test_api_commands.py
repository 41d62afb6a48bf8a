"""Commands with API models: the same results as with local models, and questions about the cost."""

from __future__ import annotations

import json
from itertools import combinations
from types import SimpleNamespace

import pytest

import nestvec as nv
from api_server import running_api
from conftest import run_in, write_jsonl
from made_serving import static_model
from nestvec.cli.models import ModelChoice
from nestvec.serve.app import create_app
from serving_client import running
from ten_documents import WORDS

PRICES = '["openai:tiny"]\nprice_per_million_tokens = 2.0\n'
GRID = ("--dims", "32,8", "--precisions", "float32,int8", "--keeps", "20")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a retrieval set of the words that the static model knows."""
    monkeypatch.setenv("NESTVEC_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NESTVEC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    # Texts of the same words would have equal scores up to rounding, and no defined order.
    texts = [" ".join(words) for words in combinations(WORDS[:8], 4)][:60]
    write_jsonl(data / "corpus.jsonl", ({"_id": f"d{n}", "text": t} for n, t in enumerate(texts)))
    rows = [{"_id": f"q{n}", "text": " ".join(texts[n].split()[:2])} for n in range(40)]
    write_jsonl(data / "queries.jsonl", rows)
    lines = "".join(f"q{n}\td{n}\t1\n" for n in range(40))
    (data / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    (tmp_path / "prices.toml").write_text(PRICES)
    return tmp_path


@pytest.fixture
def api():
    with running_api() as server:
        yield server


@pytest.mark.parametrize("dialect", ["openai", "nestvec"])
def test_a_served_model_has_the_curve_of_the_local_model(place, dialect):
    static_model(place / "model")
    served = nv.load_served(place / "model")
    with running(create_app(served)) as address:
        options = ("--base-url", f"{address}/v1", *GRID)
        remote = run_in(
            place, "evaluate", f"{dialect}:model", "data", "--out", "remote.json", *options
        )
    served.close()
    assert remote.code == 0, remote.err
    local = run_in(place, "evaluate", "model", "data", "--out", "local.json", *GRID)
    assert local.code == 0, local.err
    ours, theirs = (nv.Curve.load(place / f"{name}.json") for name in ("local", "remote"))
    assert theirs.model.name == f"{dialect}:model@{address}/v1"
    for one, other in zip(ours.points, theirs.points, strict=True):
        assert one.point == other.point
        assert other.metrics == pytest.approx(one.metrics, abs=1e-6)


def test_the_server_of_nestvec_describes_its_model(place):
    static_model(place / "model")
    served = nv.load_served(place / "model")
    with running(create_app(served)) as address:
        info = nv.load_model("nestvec:model", base_url=f"{address}/v1").info
    served.close()
    assert (info.full_dim, info.dims, info.dims_trained) == (32, (32, 16, 8), True)
    assert info.dims_source == f"{address}/v1/models"


def test_a_command_without_a_terminal_requires_yes_if_texts_cost_something(place, api):
    build = ("index", "build", "openai:tiny", "data", "--point", "64:int8", "--out", "index")
    options = ("--base-url", api.url, "--prices", "prices.toml")
    refused = run_in(place, *build, *options)
    assert refused.code == 2
    assert "60 texts to send" in refused.err
    assert "Add --yes to send the texts." in refused.err
    assert len(api.received) == 1  # the request for the width
    assert not (place / "index").exists()
    assert run_in(place, *build, *options, "--yes").code == 0
    # All texts are cached, so nothing is asked.
    again = run_in(place, *build[:-1], "again", *options)
    assert again.code == 0
    assert "nothing to pay" in again.err or "about 0.00 USD" in again.err


def test_a_server_with_an_unknown_price_needs_no_confirmation(place, api):
    ended = run_in(place, "evaluate", "openai:tiny", "data", "--base-url", api.url, *GRID)
    assert ended.code == 0, ended.err
    assert "price unknown" in ended.err


def test_a_terminal_is_asked(place, api, monkeypatch):
    from nestvec.cli import api_costs

    class Terminal:
        @staticmethod
        def isatty():
            return True

    asked = []
    monkeypatch.setattr(api_costs, "sys", SimpleNamespace(stdin=Terminal, stderr=Terminal))
    monkeypatch.setattr(api_costs.typer, "confirm", lambda *_, **__: asked.append(1) or False)
    model = nv.load_model("openai:tiny", base_url=api.url)
    choice = ModelChoice(prices=place / "prices.toml")
    with pytest.raises(SystemExit) as ended:
        api_costs.confirm_cost(model, {"document": ["a"]}, choice)
    assert (ended.value.code, asked) == (1, [1])


def test_batch_files_are_written(place):
    ended = run_in(place, "batch", "write", "openai:tiny", "data", "--out", "requests.jsonl")
    assert ended.code == 0, ended.err
    assert "60 requests written to requests.jsonl" in ended.out
    first = json.loads((place / "requests.jsonl").read_text().splitlines()[0])
    assert first["custom_id"] == "d0"
