"""The canaries of an index in a database, from the build to a check."""

import numpy as np
import psycopg
import pytest
from postgres import running_server

from fakes import NestedHashEncoder
from nestvec.engines.registry import engine_at, open_engine
from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index, count_unfinished
from nestvec.index.canaries import record_canaries
from nestvec.index.copying import copy_index
from nestvec.operate.check import CheckOptions, check_search
from nestvec.operate.drift import DriftOptions
from nestvec.operate.relevance_check import Labels
from nestvec.sources.logged_queries import LoggedQueries
from nestvec.types import Document

CORPUS = {f"d{n}": Document(f"word{n} and others {n % 7}") for n in range(1_030)}
POINT = "16:float32@50>64:float32"


class Interrupted(NestedHashEncoder):
    """Fails at the second batch."""

    def encode(self, texts, **options):
        if self.calls:
            raise RuntimeError("quota")
        return super().encode(texts, **options)


def stored(place):
    return engine_at(place).read_manifest(place).canaries


def check_canaries(place, folder):
    """Build, continue, copy and check the index of an engine; it stores its canaries."""
    with pytest.raises(RuntimeError, match="quota"):
        build_index(Interrupted(), CORPUS, POINT, place)
    assert count_unfinished(place) == 1_024
    model = NestedHashEncoder()
    build_index(model, CORPUS, POINT, place).close()
    assert len(model.calls[0][1]) == 6  # the build continued, although its manifest has canaries
    canaries = stored(place)
    assert len(canaries.texts) == 32
    assert np.array_equal(canaries.vectors, model.encode(canaries.texts, kind="document"))
    copy_index(place, folder / "copy").close()
    assert stored(str(folder / "copy")) == canaries
    copy_index(folder / "copy", f"{place}2").close()
    assert stored(f"{place}2") == canaries

    report = check_search(place, None, CheckOptions(sampled=10), model=model)
    assert report.canaries.lowest == pytest.approx(1, abs=1e-6)
    assert report.calibration is None
    engine = open_engine(place)
    engine.use(engine.manifest.point)
    engine.close()
    assert stored(place) == canaries
    assert len(record_canaries(place, model, texts=["one", "two"]).texts) == 2
    assert {*stored(place).texts} == {"one", "two"}


@pytest.fixture
def server():
    with running_server() as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        yield server


def test_an_index_in_postgresql_has_canaries_and_a_table_has_none(server):
    place, model = f"{server.url}?table=built", NestedHashEncoder()
    build_index(model, CORPUS, POINT, place).close()
    found = check_search(place, None, CheckOptions(sampled=10), model=model).canaries
    assert (found.texts, found.lowest) == (32, pytest.approx(1, abs=1e-6))
    threshold_options = CheckOptions(sampled=10, labels=Labels({"q0": {"d0": 1}}), threshold=True)
    log = LoggedQueries("log", ["q0"], ["word0 and others 0"], None, [""], {})
    fitted = check_search(place, log, threshold_options, model=model).threshold
    assert (fitted.pairs, fitted.relevant, fitted.recall) == (10, 1, 1)

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE docs (id text, embedding vector(64))")
        row = "[" + ",".join(["1"] * 64) + "]"
        connection.execute("INSERT INTO docs VALUES ('d0', %s)", [row])
    table = f"{server.url}?table=docs"
    report = check_search(table, None, CheckOptions(sampled=1))
    assert report.canaries is report.calibration is None
    with pytest.raises(InvalidArgument, match="a table of other programs, which has no canaries"):
        check_search(table, None, CheckOptions(drift=DriftOptions(canaries=True)))
    with pytest.raises(InvalidArgument, match="needs an index of nestvec"):
        check_search(table, log, threshold_options, model=model)
