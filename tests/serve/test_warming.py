"""The codes that the page's sliders reach are made when it is opened, or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest

from fakes import NestedHashEncoder
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Limits, Settings
from nestvec.serve.warming import Warming
from serving_client import Client


def codes(served):
    return {file.name for file in (Path(served.index.place) / "codes").rglob("*.codes")}


def test_once_the_page_is_open_every_width_and_precision_of_its_sliders_has_codes(served):
    warming = Warming(served, Settings())
    assert len(warming.points()) == 3 * 5
    warming.start()
    warming.start()
    warming.join()
    assert codes(served) >= {
        f"{point.stages[0].dim}-{point.stages[0].precision}.codes" for point in warming.points()
    }
    warming.close()


def test_opening_the_page_begins_it_and_nothing_else_does(served, monkeypatch):
    begun = []
    monkeypatch.setattr(Warming, "start", lambda self: begun.append(self))
    client = Client(create_app(served))
    client.get("/v1/models")
    client.get("/page/main.js")
    assert begun == []
    client.get("/")
    assert len(begun) == 1


@pytest.mark.parametrize(
    "settings",
    [
        Settings(limits=Limits(warm_bytes=1000)),
        Settings(limits=Limits(warm_bytes=0)),
        Settings(allow_any_point=False),
    ],
    ids=["too much", "off", "tiers only"],
)
def test_no_codes_are_built_if_they_are_too_large_or_not_allowed(served, settings):
    before = codes(served)
    warming = Warming(served, settings)
    warming.start()
    warming.close()
    assert warming.points() == ()
    assert codes(served) == before


def test_an_engine_that_searches_only_by_built_points_is_offered_no_others(served, monkeypatch):
    built_only = replace(EmbeddedEngine.capabilities, any_point=False)
    monkeypatch.setattr(EmbeddedEngine, "capabilities", built_only)
    assert Warming(served, Settings()).points() == ()
    (model, *_) = Client(create_app(served)).get("/v1/models").json()["data"]
    assert model["index"]["any_point"] is False


def test_there_is_nothing_to_make_without_an_index():
    assert Warming(Served("tiny", NestedHashEncoder()), Settings()).points() == ()


def test_after_the_end_nothing_begins(served):
    before = codes(served)
    warming = Warming(served, Settings())
    warming.close()
    warming.start()
    assert codes(served) == before


def test_a_failure_is_left_to_whoever_asks(served, caplog):
    warming = Warming(served, Settings())
    served.close()
    warming.start()
    warming.close()
    assert "were not built" in caplog.text
