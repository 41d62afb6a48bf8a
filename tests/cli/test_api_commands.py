"""Commands with API models: the same results as with local models, and questions about the cost."""

from __future__ import annotations

import json
from itertools import combinations
from types import SimpleNamespace

import pytest

import nestvec as nv
from api_server import running_api
from ended_commands import run_in, write_jsonl
from made_serving import static_model
from nestvec.bulk.embedding import texts_to_encode
from nestvec.bulk.job import EmbedSettings
from nestvec.bulk.texts import TextSource
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


def test_a_missing_key_is_reported_before_the_cost_is_confirmed(place):
    ended = run_in(place, "evaluate", "openai:text-embedding-3-small", "data", "--out", "c.json")
    assert ended.code == 2
    assert "needs a key. Set the environment variable OPENAI_API_KEY." in ended.err
    assert "--yes" not in ended.err


def test_a_server_with_an_unknown_price_needs_no_confirmation(place, api):
    ended = run_in(place, "evaluate", "openai:tiny", "data", "--base-url", api.url, *GRID)
    assert ended.code == 0, ended.err
    assert "openai:tiny float32" in ended.out  # without the address
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


def test_embed_asks_about_the_cost_of_texts_that_no_complete_shard_has(place, api):
    typed = ["embed", "openai:tiny", "data", "--out", "vectors", "--shard-rows", "25"]
    typed += ["--base-url", api.url, "--prices", "prices.toml"]
    refused = run_in(place, *typed)
    assert refused.code == 2
    assert "60 texts to send" in refused.err
    assert "Add --yes to send the texts." in refused.err
    assert not (place / "vectors").exists()
    assert run_in(place, *typed, "--yes").code == 0
    remove_shard(place / "vectors" / "corpus", "00001.parquet")
    again = run_in(place, *typed, "--yes")
    assert again.code == 0, again.err
    assert "25 texts to send" in again.err
    assert "60 vectors of 64 dims as float16, 35 of them by an earlier run" in again.out


def remove_shard(folder, name):
    """Return to the state before a shard was complete."""
    (folder / name).unlink()
    manifest = json.loads((folder / "embeddings.json").read_text())
    manifest["shards"] = [each for each in manifest["shards"] if each["file"] != name]
    (folder / "embeddings.json").write_text(json.dumps(manifest | {"complete": False}))


def test_the_estimate_of_embed_contains_the_sample_of_the_codec(place, api):
    typed = ["embed", "openai:tiny", "data", "--out", "vectors", "--shard-rows", "40"]
    typed += ["--base-url", api.url, "--prices", "prices.toml", "--precision", "int8"]
    # 60 texts of the sample, sent before the 60 texts of the two shards, are the same texts.
    assert len([*texts_of(place, 40)]) == 120
    assert len([*texts_of(place, 60)]) == 60
    assert run_in(place, *typed, "--yes").code == 0
    assert sum(len(each.body["input"]) for each in api.received) == 121


def texts_of(place, shard_rows):
    settings = EmbedSettings(precision="int8", shard_rows=shard_rows)
    return texts_to_encode(TextSource(str(place / "data")), place / "vectors", settings)
