"""Estimates of what an API model costs."""

from __future__ import annotations

import pytest

import nestvec as nv
from api_server import running_api
from fakes import NestedHashEncoder
from nestvec.models.api.costs import estimate_cost
from refusals import refusal

PRICES = """
["openai:tiny"]
price_per_million_tokens = 2.0
currency = "EUR"
tokens_per_minute = 100
"""


@pytest.fixture
def model(monkeypatch, tmp_path):
    monkeypatch.setenv("NESTVEC_CACHE", str(tmp_path / "cache"))
    with running_api() as server:
        yield nv.load_model("openai:tiny", base_url=server.url)


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(PRICES, "utf-8")
    return path


def test_only_texts_that_are_not_cached_cost_something(model, prices):
    texts = ["a" * 4_000, "b" * 8_000, "b" * 8_000, "", "é" * 2_000]
    found = estimate_cost(model, texts, prices=prices)
    assert (found.texts, found.cached, found.requests) == (3, 2, 1)
    assert found.tokens == 1_000 + 2_000 + 1_000
    assert found.cost == pytest.approx(4_000 * 2 / 1e6)
    assert found.minutes == 40
    assert str(found).endswith(
        "3 texts to send (2 cached, repeated or blank), about 4,000 tokens (bytes / 4), 1 request; "
        "about 0.008000 EUR at 2 EUR per million tokens; at least 40 min at the limit of tokens "
        "per minute"
    )
    model.encode(texts, kind="document")
    later = estimate_cost(model, texts, prices=prices)
    assert (later.texts, later.cost) == (0, 0)
    assert estimate_cost(model, texts, kind="query", prices=prices).texts == 3


def test_an_unknown_price_is_stated(model, prices):
    prices.write_text("[other]\nprice_per_million_tokens = 1\n", "utf-8")
    for found in (
        estimate_cost(model, ["a"]),
        estimate_cost(model, ["a"], prices=prices),
    ):
        assert found.cost is None
        assert str(found).endswith("; price unknown")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[tiny", "is not TOML"),
        ("[tiny]\n", "price_per_million_tokens=None is not a number"),
        ("[tiny]\nprice_per_million_tokens = -1", "=-1 is not a number from 0"),
        ("[tiny]\nprice_per_million_tokens = nan", "=nan is not a number"),
        (
            "[tiny]\nprice = 1",
            "the field 'price' is unknown. Use currency, price_per",
        ),
        ("[tiny]\nprice_per_million_tokens = 1\ntokens_per_minute = 0", "is not a number above 0"),
    ],
)
def test_prices_that_cannot_be_used_are_one_line(model, prices, text, problem):
    prices.write_text(text, "utf-8")
    assert problem in refusal(estimate_cost, model, ["a"], prices=prices)


def test_other_models_have_no_costs():
    with pytest.raises(nv.InvalidArgument, match="is not an API model"):
        estimate_cost(NestedHashEncoder(), ["a"])
