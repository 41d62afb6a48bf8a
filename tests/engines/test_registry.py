"""The registry finds engines by name and by URL; capabilities of engines."""

from importlib.metadata import EntryPoint

import pytest

from nestvec.engines import registry
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.engine import Capabilities
from nestvec.engines.registry import capabilities, engine_at, engine_class, engine_name
from nestvec.errors import DataError, InvalidArgument, MissingExtra
from nestvec.index.index import Index
from nestvec.types import OperatingPoint

HALVES = frozenset({"float16"})


@pytest.fixture
def installed(monkeypatch):
    """Install engines by entry points, as another package does."""

    def install(**targets):
        found = [EntryPoint(name, value, "nestvec.engines") for name, value in targets.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        registry.engines.cache_clear()
        registry.engine_class.cache_clear()

    yield install
    monkeypatch.undo()
    registry.engines.cache_clear()
    registry.engine_class.cache_clear()


def test_paths_use_the_embedded_engine(tmp_path):
    for place in (tmp_path, str(tmp_path), "index", "C:\\index", "a/b"):
        assert engine_at(place) is EmbeddedEngine


@pytest.mark.parametrize("place", ["oracle://host/db", "embedded://here", "Weaviate://x"])
def test_a_url_without_an_installed_engine_is_refused_in_one_line(place):
    with pytest.raises(InvalidArgument, match=r"no engine is installed for \w+://\. Pass the path"):
        engine_at(place)
    with pytest.raises(InvalidArgument, match="no engine is installed"):
        Index.open(place)


def test_an_unknown_name_is_refused():
    with pytest.raises(
        InvalidArgument, match=r"engine 'oracle' is not installed\. Choose one of: embedded"
    ):
        capabilities("oracle")


def test_another_package_adds_an_engine_by_an_entry_point(installed, tmp_path):
    installed(ours="engine_elsewhere:OurEngine", embedded="engine_elsewhere:OurEngine")
    assert engine_name("ours://host/table") == "ours"
    assert engine_at("ours://host/table").__name__ == "OurEngine"
    assert engine_class("embedded") is EmbeddedEngine  # it cannot be replaced
    with pytest.raises(DataError, match="ours://host/table: is not there"):
        Index.open("ours://host/table")


def test_an_engine_that_cannot_be_imported_raises_missing_extra(installed):
    installed(broken="no_such_module:Engine", empty="engine_elsewhere:Nothing")
    for name in ("broken", "empty"):
        with pytest.raises(MissingExtra, match=f"engine {name} cannot be imported"):
            engine_class(name)


def test_the_embedded_engine_runs_every_point():
    for text in ("8:float32", "8:binary@5>8:int2@3>8:float16"):
        assert capabilities("embedded").can_run(OperatingPoint.parse(text))


def test_can_run_follows_the_capabilities():
    engine = Capabilities(
        frozenset({"binary", "int8"}), frozenset({"float32"}), stored=HALVES, max_stages=2
    )
    runs = {
        "8:binary": True,
        "8:int4": False,
        "8:int8@9>8:float32": True,
        "8:int8@9>8:int8": False,
        "8:int8@9>8:float32@5>8:float32": False,
    }
    assert {text: engine.can_run(OperatingPoint.parse(text)) for text in runs} == runs
