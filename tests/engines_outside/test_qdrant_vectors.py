"""Vectors of points of Qdrant that other programs wrote: Edge, and an interface of a server."""

import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import qdrant_edge as edge
from qdrant_client import models
from qdrant_rest import serving

import nestvec as nv
from nestvec.curve.sample import DocumentSample
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.engines.qdrant_server.engine import QdrantServerEngine
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.sources import qdrant_points
from nestvec.sources.load import open_vectors
from nestvec.sources.save import convert_embeddings
from nestvec.sources.stream import ANY_COLUMNS
from nestvec.types import Document, ModelInfo, OperatingPoint

N, DIM = 2_500, 8
VECTORS = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32) * 3
UUIDS = [str(uuid.UUID(int=n + 1)) for n in range(9)]
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM,), "config.json", True)
MANIFEST = Manifest(MODEL, "float32", OperatingPoint.parse("8:float32"))


def shard(folder, vectors, points):
    folder.mkdir(parents=True)
    written = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    points = [edge.Point(*point) for point in points]
    written.update(edge.UpdateOperation.upsert_points(points))
    written.close()
    return f"qdrant-edge://{folder}"


def params(size=DIM, **options):
    return edge.EdgeVectorParams(size=size, distance=edge.Distance.Dot, **options)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A shard with one unnamed vector: numbers in a shuffled order, and UUIDs."""
    order = np.random.default_rng(1).permutation(N).tolist()
    points = [(n, VECTORS[n].tolist(), {"key": f"k{n}"}) for n in order]
    points += [(id_, VECTORS[n].tolist(), {"key": f"u{n}"}) for n, id_ in enumerate(UUIDS)]
    return shard(tmp_path_factory.mktemp("edge") / "numbers", params(), points)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A shard with two named vectors, of which one point lacks the second."""
    half = params(4, datatype=edge.VectorStorageDatatype.Float16)
    rows = [
        (n, {"title": VECTORS[n].tolist(), "body": VECTORS[n, :4].tolist()}, {})
        for n in range(1, 6)
    ]
    rows.append((6, {"title": VECTORS[6].tolist()}, {}))
    place = tmp_path_factory.mktemp("edge") / "named"
    return shard(place, {"title": params(), "body": half}, rows)


def test_points_are_read_in_the_order_of_their_ids(numbers):
    found = nv.load_embeddings(numbers)
    assert list(found.ids) == [*map(str, range(N)), *UUIDS]
    np.testing.assert_array_equal(found.values, np.concatenate([VECTORS, VECTORS[:9]]))
    assert found.path == numbers


def test_points_are_streamed(numbers):
    stream = open_vectors(numbers, columns=ANY_COLUMNS)
    assert [len(block.values) for block in stream.read()] == [1_024, 1_024, N + 9 - 2_048]


def test_a_named_vector_and_ids_of_the_payload(numbers, named):
    found = nv.load_embeddings(f"{named}?vector=title")
    np.testing.assert_array_equal(found.values, VECTORS[1:7])
    assert nv.load_embeddings(f"{numbers}?id=key").ids[-1] == "u8"
    assert nv.load_embeddings(numbers, number_rows=True).ids[-1] == str(N + 8)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", r"no column vector or embedding \(its columns: .*\). Append &vector="),
        ("?vector=absent", "has no column absent"),
        ("?vector=body", "the vector of point 6 is missing"),
        ("?vector=title&id=absent", "row 0 has no id"),
    ],
)
def test_a_wrong_name_is_one_line(named, query, problem):
    with pytest.raises(DataError, match=problem) as caught:
        nv.load_embeddings(f"{named}{query}")
    assert "\n" not in str(caught.value)


def test_another_folder_is_not_changed(tmp_path):
    with pytest.raises(DataError, match="is no shard of Qdrant Edge"):
        nv.load_embeddings(f"qdrant-edge://{tmp_path}")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidArgument, match="unknown parameter") as caught:
        nv.load_embeddings(f"qdrant-edge://{tmp_path}?token=secret")
    assert "secret" not in str(caught.value)


def test_points_are_not_changed_by_reading(named):
    before = nv.load_embeddings(f"{named}?vector=title").values
    folder = Path(named.partition("://")[2])
    opened = edge.EdgeShard.load(str(folder), None)
    with pytest.raises(IndexLocked, match="is open in a program"):
        nv.load_embeddings(f"{named}?vector=title")
    opened.close()
    np.testing.assert_array_equal(nv.load_embeddings(f"{named}?vector=title").values, before)


def test_a_shard_is_sampled_and_converted(numbers, tmp_path):
    found = nv.load_embeddings(numbers, sample=20, seed=2)
    assert found.sample == DocumentSample(20, N + 9, 2)
    assert convert_embeddings(numbers, tmp_path / "points.npy").rows == N + 9


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["edge", "server"])
def test_the_vectors_of_an_index_are_read(tmp_path, kind):
    ids = ["a b", "c/d", "é", "plain"]
    with serving() as server:
        place = f"qdrant-edge://{tmp_path}/index" if kind == "edge" else f"{server.url}/docs"
        engine = {"edge": QdrantEdgeEngine, "server": QdrantServerEngine}[kind].create(
            place, MANIFEST
        )
        engine.add({id_: Document("text") for id_ in ids}, VECTORS[:4])
        engine.close()
        found = nv.load_embeddings(place)
    order = [ids.index(id_) for id_ in found.ids]
    assert sorted(order) == [0, 1, 2, 3]
    np.testing.assert_allclose(found.values, unit(VECTORS[:4])[order], rtol=1e-6)


def test_a_collection_of_a_server_is_read(monkeypatch):
    with serving() as server:
        dot = models.VectorParams(size=DIM, distance=models.Distance.DOT)
        server.local.create_collection("one", dot)
        points = [
            models.PointStruct(id=n, vector=VECTORS[n].tolist(), payload={"key": f"k{n}"})
            for n in range(2_100)
        ]
        server.local.upsert("one", points)
        server.local.create_collection("two", {"a": dot, "embedding": dot})
        vectors = {"a": VECTORS[7].tolist(), "embedding": VECTORS[8].tolist()}
        server.local.upsert("two", [models.PointStruct(id=UUIDS[0], vector=vectors)])
        found = nv.load_embeddings(f"{server.url}/one")
        assert list(found.ids) == list(map(str, range(2_100)))
        np.testing.assert_array_equal(found.values, VECTORS[:2_100])
        assert nv.load_embeddings(f"{server.url}/one?id=key").ids[5] == "k5"
        np.testing.assert_array_equal(nv.load_embeddings(f"{server.url}/two").values, VECTORS[8:9])
        with pytest.raises(DataError, match=r"no collection absent \(collections: one, two\)"):
            nv.load_embeddings(f"{server.url}/absent")
        with pytest.raises(InvalidArgument, match="contains credentials"):
            nv.load_embeddings(f"{server.url.replace('://', '://key@')}/one")
        kinds = {kind for kind, path, _ in server.received if not path.endswith("/scroll")}
        assert kinds == {"GET"}
        place = server.url
    monkeypatch.setattr("nestvec.sources.qdrant_connection.CONNECT_S", 1)
    with pytest.raises(DataError, match="the server did not answer") as caught:
        nv.load_embeddings(f"{place}/one")
    assert "\n" not in str(caught.value)


def test_several_vectors_of_one_name_are_refused():
    points = [SimpleNamespace(id=1, vector={"v": [[1.0, 2.0], [3.0, 4.0]]})]
    with pytest.raises(DataError, match="the vector of point 1 is not one vector"):
        qdrant_points._matrix(points, "v", 0, "x")
