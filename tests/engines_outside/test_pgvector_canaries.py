"""An index in PostgreSQL has canaries and a threshold; a table of other programs has neither."""

import psycopg
import pytest
from canary_story import CORPUS, POINT
from postgres import running_server

from fakes import NestedHashEncoder
from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index
from nestvec.operate.check import CheckOptions, check_search
from nestvec.operate.drift import DriftOptions
from nestvec.operate.relevance_check import Labels
from nestvec.sources.logged_queries import LoggedQueries


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
