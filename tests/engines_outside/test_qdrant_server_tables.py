"""Collections of a Qdrant server: records, builds, other collections, other processes."""

import json
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
from qdrant_client import models
from qdrant_rest import serving
from qdrant_server_setup import ServerSetup, create, names

from engine_setup import CORPUS, MODEL, PLAIN, QUERIES, VECTORS
from nestvec.engines import table_reader
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant.columns import NamedVectors
from nestvec.engines.qdrant_server import tables
from nestvec.engines.qdrant_server.engine import QdrantServerEngine
from nestvec.engines.table_engine import UNFINISHED
from nestvec.engines.tables import Record
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.types import Document, OperatingPoint

SHORT = OperatingPoint.parse("8:float16@50>32:float32")
MANIFEST = Manifest(MODEL, "float32", PLAIN)
ALL = list(CORPUS)


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def filled(server):
    """An open index of the corpus."""
    index = create(server)
    index.add(CORPUS, VECTORS)
    yield index
    index.close()


def opened_again(index):
    return QdrantServerEngine.open(index.place)


class TestRecords:
    def test_a_record_is_stored_in_the_metadata_of_the_collection(self, server, filled):
        (table,) = names(server) - {"docs"}
        assert table.startswith("docs_")
        metadata = server.local.get_collection("docs").config.metadata
        stored = json.loads(metadata["nestvec"])
        assert stored["collection"] == table
        assert stored["manifest"]["point"] == str(PLAIN)
        filled.use(SHORT)
        assert QdrantServerEngine.read_manifest(filled.place).point == SHORT

    def test_an_adapter_is_stored_in_parts(self, server, monkeypatch):
        monkeypatch.setattr(tables, "_PART", 1_000)
        content = bytes(range(256)) * 20
        index = QdrantServerEngine.create(f"{server.url}/other", MANIFEST)
        record = Record(MANIFEST, "docs", content)
        index._tables.create("docs", record)
        assert index._tables.read("docs").adapter == content
        fresh = tables.ServerTables.connect(f"{server.url}/docs")
        assert fresh.read("docs").adapter == content
        adapter = fresh.read("docs").table + "_adapter"
        assert server.local.count(adapter).count == 7
        fresh.drop("docs")
        assert adapter not in names(server)
        fresh.close()
        index.close()

    def test_a_changed_record_is_detected(self, server, filled):
        metadata = server.local.get_collection("docs").config.metadata
        changed = metadata["nestvec"].replace('"float32"', '"float16"')
        server.local.update_collection("docs", metadata={"nestvec": changed})
        with pytest.raises(DamagedFile, match="checksum does not match"):
            QdrantServerEngine.open(filled.place)
        server.local.update_collection("docs", metadata={"nestvec": "{}"})
        with pytest.raises(DamagedFile, match=r"metadata of docs\): cannot be read"):
            QdrantServerEngine.open(filled.place)

    def test_another_collection_is_never_replaced(self, server):
        server.local.create_collection("docs", {})
        assert not QdrantServerEngine.exists(f"{server.url}/docs")
        with pytest.raises(DataError, match="the collection docs exists, and is no index"):
            create(server)
        building = QdrantServerEngine.building(f"{server.url}/docs", MANIFEST, source={})
        with pytest.raises(DataError, match="the collection docs exists"), building:
            pass
        assert names(server) == {"docs"}

    def test_a_missing_index_is_reported(self, server):
        with pytest.raises(DataError, match=r"/docs: contains no index"):
            QdrantServerEngine.open(f"{server.url}/docs")


class TestBuilds:
    def test_a_build_is_continued_and_replaces_the_index(self, server):
        place, source = f"{server.url}/docs", {"corpus": "one"}
        first, rest = dict(list(CORPUS.items())[:50]), dict(list(CORPUS.items())[50:])
        with (
            pytest.raises(KeyboardInterrupt),
            QdrantServerEngine.building(place, MANIFEST, source=source) as index,
        ):
            index.add(first, VECTORS[:50], build_codes=False)
            raise KeyboardInterrupt
        assert not QdrantServerEngine.exists(place)
        assert QdrantServerEngine.count_unfinished(place) == 50
        with QdrantServerEngine.building(place, MANIFEST, source=source) as index:
            assert len(index) == 50
            index.add(rest, VECTORS[50:], build_codes=False)
        assert QdrantServerEngine.count_unfinished(place) == 0
        before = names(server)
        with QdrantServerEngine.building(place, MANIFEST, source={"corpus": "two"}) as index:
            assert len(index) == 0
            assert QdrantServerEngine.disk_bytes(place) > 200 * 32 * 4
            index.add(first, VECTORS[:50])
        assert len(names(server)) == 2
        assert names(server) & before == {"docs"}
        index = QdrantServerEngine.open(place, verify=True)
        assert len(index) == 50
        index.drop()
        assert names(server) == set()

    def test_a_killed_build_is_deleted_by_the_next_one(self, server, monkeypatch):
        server.local.create_collection("docs_0123abcd", {})  # of another program
        with monkeypatch.context() as patch:
            patch.setattr(tables.ServerTables, "_alias", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                create(server)
        assert len(names(server)) == 2
        with QdrantServerEngine.building(f"{server.url}/docs", MANIFEST, source={}) as index:
            index.add(CORPUS, VECTORS)
        assert names(server) > {"docs", "docs_0123abcd"}
        assert len(names(server)) == 3
        assert f"docs{UNFINISHED}" not in names(server)

    def test_a_trial_leaves_no_collection(self, server):
        corpus = Representations(VECTORS, layer_norm=False)
        place = f"{server.url}/trial"
        trial = QdrantServerEngine.trial(corpus, ALL, CORPUS, place=place)
        for point in (PLAIN, ServerSetup.staged):
            assert len(trial.searcher(point)(QUERIES, 5).ids[0]) == 5
        assert trial.bytes(ServerSetup.staged).ram_per_vector == 16 * 2
        trial.close()
        assert names(server) == set()


class TestOtherProcesses:
    def test_a_point_without_vectors_is_refused_until_it_is_prepared(self, filled):
        with pytest.raises(InvalidArgument, match=r"nestvec index use qdrant://.* '8:float16"):
            filled.search(QUERIES, 3, point=SHORT)
        filled.use(SHORT)
        assert filled.search(QUERIES, 3, point=SHORT) == filled.search(QUERIES, 3)
        filled.use(PLAIN)
        with pytest.raises(InvalidArgument, match="has no vectors of this point"):
            filled.search(QUERIES, 3, point=SHORT)

    def test_an_open_index_follows_the_point_of_another_process(self, filled):
        filled.use(SHORT)
        reader = opened_again(filled)
        before = reader.search(QUERIES, 5)
        filled.use(ServerSetup.staged)  # removes the vectors that the reader knows
        expected = filled.search(QUERIES, 5)
        assert reader.search(QUERIES, 5) == expected
        assert reader.search(QUERIES, 5) == expected
        filled.use(SHORT)
        assert reader.search(QUERIES, 5) == before
        assert reader.search(QUERIES, 5, point=SHORT) == before
        filled.use(PLAIN)
        with pytest.raises(InvalidArgument, match="has no vectors of this point"):
            reader.search(QUERIES, 5, point=OperatingPoint.parse("8:float16@40>32:float32"))
        reader.close()

    def test_vectors_that_another_process_has_removed_are_reported_with_a_command(self, filled):
        reader = opened_again(filled)
        filled.use(SHORT)
        assert reader.search(QUERIES, 5, point=SHORT).ids[0]
        filled.use(PLAIN)
        with pytest.raises(InvalidArgument, match=r"nestvec index use .* '8:float16@50"):
            reader.search(QUERIES, 5, point=SHORT)
        reader.close()

    def test_an_open_index_follows_a_rebuild(self, server, filled):
        reader = opened_again(filled)
        few = dict(list(CORPUS.items())[:9])
        with QdrantServerEngine.building(filled.place, MANIFEST, source={}) as index:
            index.add(few, VECTORS[:9])
        assert sorted(reader.search(QUERIES[:1], 50).ids[0]) == sorted(few)
        assert len(reader) == 9
        with pytest.raises(
            DataError, match="If the index was replaced, open it again"
        ):  # it has not searched meanwhile
            filled.add({"new": Document("")}, VECTORS[:1])
        other = replace(MANIFEST, model=replace(MODEL, name="models/other"))
        with QdrantServerEngine.building(filled.place, other, source={}) as index:
            index.add(few, VECTORS[:9])
        with pytest.raises(DataError, match="replaced by one of another model"):
            reader.search(QUERIES, 5)
        reader.close()

    def test_a_batch_that_is_added_while_vectors_are_created_has_them(self, server, filled):
        """The vectors are created between reading their names and writing the points."""
        other, created = opened_again(filled), []

        def create_once(method, path):
            if method == "PUT" and path.endswith("/points") and not created:
                created.append(path)
                other._table._columns.create(other._table._columns.layout.needed(SHORT))

        server.before = create_once
        filled.add({"late": Document("")}, VECTORS[[5]])
        assert created
        lacking = models.HasVectorCondition(has_vector="p8_float16")
        assert server.local.count("docs", models.Filter(must_not=[lacking])).count == 0
        other.use(SHORT)
        assert "late" in other.search(VECTORS[[5]], 3).ids[0]
        other.close()

    def test_a_batch_is_added_while_vectors_are_removed(self, server, filled):
        filled.use(SHORT)
        other, removed = opened_again(filled), []

        def remove_once(method, path):
            if method == "PUT" and path.endswith("/points") and not removed:
                removed.append(path)
                other.use(PLAIN)

        server.before = remove_once
        filled.add({"late": Document("")}, VECTORS[[5]])
        assert removed
        assert "late" in filled.search(VECTORS[[5]], 3).ids[0]
        other.close()

    def test_vectors_of_a_document_that_is_replaced_meanwhile_are_current(self, server, filled):
        """A document is replaced between reading its vector and writing its prefix."""
        other, replaced = opened_again(filled), []

        def replace_once(method, path):
            if method == "PUT" and path.endswith("/points/vectors") and not replaced:
                replaced.append(path)
                other.add({"d5": Document("new")}, -VECTORS[[5]], replace=True)
                other.delete(["d6"])

        server.before = replace_once
        filled.use(OperatingPoint.parse("8:float32"))
        assert replaced
        assert "d6" not in filled
        (hits,) = filled.search(-VECTORS[[5]], 3).ids
        assert "d5" in hits
        other.close()

    def test_vectors_that_an_interrupt_left_incomplete_are_completed(self, filled, monkeypatch):
        def interrupt(*arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(NamedVectors, "_fill", interrupt)
            with pytest.raises(KeyboardInterrupt):
                filled.use(SHORT)
        filled.add({"late": Document("")}, VECTORS[[5]])
        with pytest.raises(InvalidArgument, match="has no vectors of this point"):
            filled.search(QUERIES, 3, point=SHORT)
        filled.use(SHORT)
        assert len(filled.search(QUERIES, 50).ids[0]) == 50

    def test_threads_share_an_index(self, filled, monkeypatch):
        monkeypatch.setattr(table_reader, "MANIFEST_AGE_S", 0.0)
        expected, found = filled.search(QUERIES, 5), []
        threads = [Thread(target=lambda: found.append(filled.search(QUERIES, 5))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 8
        assert np.isfinite(expected.scores).all()
