"""The engine contract on LanceDB on a real S3 server: SeaweedFS, on the loopback interface."""

import re

import pytest
from lance_corpus import QUERIES, SOURCE, VECTORS, expected_ids, load, manifest
from lance_loader import Loader, documents_of, ids_of, vectors_of
from pyarrow import fs
from s3_server import KEY, SECRET, s3_server

from engine_contract import EngineContract
from engine_setup import UrlSetup
from nestvec.engines.lancedb import connection
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.errors import DataError
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
