"""The engine contract on LanceDB on a real S3 server: SeaweedFS, on the loopback interface."""

import re

import pytest
from lance_corpus import (
    IDS,
    QUERIES,
    SOURCE,
    VECTORS,
    expected_ids,
    load,
    made_document,
    manifest,
)
from lance_loader import Loader, documents_of, ids_of, race, vectors_of
from pyarrow import fs
from s3_server import KEY, SECRET, s3_server

from engine_contract import EngineContract
from engine_setup import UrlSetup
from nestvec.engines.lancedb import connection
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The URL of an empty bucket; the environment names its server."""
    with s3_server(tmp_path_factory.mktemp("s3"), "indexes") as url:
        yield url


class LanceS3Setup(UrlSetup):
    """The setup of LanceDB on S3."""

    name = "lancedb"

    def __init__(self, bucket, request):
        self._prefix = f"{bucket}/t{abs(hash(request.node.nodeid))}"

    def url(self, place):
        return f"{self._prefix}/{place.name}?table=docs"


class TestLanceS3(EngineContract):
    @pytest.fixture
    def setup(self, bucket, request):
        return LanceS3Setup(bucket, request)


def test_a_built_index_is_searched_by_another_connection(bucket):
    place = f"{bucket}/built"
    with LanceEngine.building(place, manifest(), source=SOURCE) as engine:
        load(engine, 0, 2_000, batch=500)
    reader, writer = LanceEngine.open(place), LanceEngine.open(place)
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(2_000))
    writer.delete([f"d{number:05}" for number in range(100)])
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(100, 2_000))
    writer.compact()
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(100, 2_000))
    with LanceEngine.building(place, manifest(), source=SOURCE) as engine:
        load(engine, 0, 500, batch=500)
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(500))
    for engine in (reader, writer):
        engine.close()


def test_two_writers_lose_and_repeat_no_document(bucket):
    place = f"{bucket}/writers"
    LanceEngine.create(place, manifest()).close()
    loaders = [Loader(place, first, first + 8) for first in (0, 100)]
    assert [len(loader.acknowledged()) for loader in loaders] == [8, 8]
    engine = LanceEngine.open(place)
    expected = [id_ for batch in (*range(8), *range(100, 108)) for id_ in ids_of(batch)]
    assert sorted(engine.ids()) == expected
    engine.close()


def test_a_killed_load_continues(bucket):
    place = f"{bucket}/killed"
    LanceEngine.create(place, manifest()).close()
    loader = Loader(place, 0, 100)
    loader.wait_until_ready()
    loader.kill_after(1.0)
    done = loader.acknowledged()
    engine = LanceEngine.open(place)
    ids = list(engine.ids())
    assert len(ids) == len(set(ids))
    assert set(ids) >= {id_ for batch in done for id_ in ids_of(batch)}
    present = {id_[:5] for id_ in ids}
    assert len(ids) == 10 * len(present)
    batch = len(present)
    engine.add(documents_of(batch), vectors_of(batch))
    assert engine.search(vectors_of(batch), 1, exact=True).ids == [[id_] for id_ in ids_of(batch)]
    engine.close()


def test_credentials_are_neither_stored_nor_shown(bucket, monkeypatch):
    place = f"{bucket}/secret"
    engine = LanceEngine.create(place, manifest())
    engine.add({"a": Document("")}, VECTORS[:1])
    engine.close()
    server = connection.LancePlace.parse(place).storage_options()["aws_endpoint"]
    files = fs.S3FileSystem(endpoint_override=server.partition("://")[2], scheme="http", region="x")
    found = files.get_file_info(fs.FileSelector("indexes/secret", recursive=True))
    for each in found:
        if each.is_file:
            content = files.open_input_stream(each.path).read()
            assert KEY.encode() not in content
            assert SECRET.encode() not in content
    monkeypatch.setattr(connection, "RETRY_S", 1.0)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-value")
    with pytest.raises(DataError) as raised:
        LanceEngine.open(place)
    assert re.match(rf"{place}: .*", str(raised.value))
    assert "\n" not in str(raised.value)
    assert "secret-value" not in str(raised.value)
    assert KEY not in str(raised.value)


def test_a_server_that_does_not_answer_is_reported(bucket, monkeypatch):
    monkeypatch.setattr(connection, "RETRY_S", 1.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"^s3://indexes/none: "):
        LanceEngine.exists("s3://indexes/none")


@pytest.mark.parametrize("least_rows", [10_000, 100], ids=["without index", "with index"])
def test_two_processes_cannot_add_the_same_new_id(bucket, monkeypatch, least_rows):
    place = f"{bucket}/race{least_rows}"
    monkeypatch.setattr("nestvec.engines.lancedb.indexes.LEAST_ROWS", least_rows)
    with LanceEngine.building(place, manifest(), source=SOURCE) as engine:
        load(engine, 0, 200, batch=200)
    added, refused = race(place, rounds=8)
    assert sorted(added + refused) == sorted([*range(8)] * 2)
    assert sorted(added) == [*range(8)]
    engine = LanceEngine.open(place)
    ids = [id_ for id_ in engine.ids() if id_ not in IDS[:200]]
    # Each round adds the same id and an id of the process: the refused batches are not there.
    assert len(ids) == len(set(ids)) == 2 * 8
    assert len([id_ for id_ in ids if id_.startswith("same")]) == 8
    engine.close()


@pytest.mark.parametrize("stored", ["its own documents", "other documents"])
def test_a_commit_whose_answer_is_lost_is_recognized(bucket, monkeypatch, stored):
    from nestvec.engines.lancedb.merging import Merge

    place = f"{bucket}/lost-{stored[:3]}"
    engine, run = LanceEngine.create(place, manifest()), Merge.run
    other = LanceEngine.open(place)

    def loses_the_answer(self, table):
        if self.attempts == 0:
            monkeypatch.setattr(Merge, "run", run)
            if stored == "its own documents":
                self.run(table)
            else:
                self.attempts += 1
                other.add({"b": made_document(2), "c": made_document(3)}, VECTORS[1:3])
            raise RuntimeError("connection closed")
        run(self, table)

    monkeypatch.setattr(Merge, "run", loses_the_answer)
    added = {"a": made_document(0), "b": made_document(1)}
    if stored == "its own documents":
        engine.add(added, VECTORS[:2])
        assert sorted(engine.ids()) == ["a", "b"]
    else:
        with pytest.raises(InvalidArgument, match="'b'"):
            engine.add(added, VECTORS[:2])
        assert sorted(engine.ids()) == ["b", "c"]
    for each in (engine, other):
        each.close()
