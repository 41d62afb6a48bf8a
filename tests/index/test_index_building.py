"""Building and re-embedding an index, with and without interrupts."""

import shutil

import numpy as np
import pytest

from fakes import NestedHashEncoder, fake_info
from nestvec.engines.embedded import folder as lock
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.index.building import build_index, reembed
from nestvec.index.index import Index
from nestvec.models import encoding as batches
from nestvec.types import Document

CORPUS = {
    f"d{number}": Document(f"own{number} words", f"title{number}", {"n": number, "lang": "ü"})
    for number in range(10)
}
POINT = "16:binary@8>64:int8"
OTHER = fake_info(name="fake/other", fingerprint="0" * 64)


class Interrupt(BaseException):
    """An interrupt by the user; pytest would stop at a KeyboardInterrupt."""


class Interrupted(NestedHashEncoder):
    """An encoder that is interrupted after a number of batches."""

    def __init__(self, batches, *, info=None):
        super().__init__(*[info] if info else [])
        self._left = batches

    def encode(self, texts, *, kind, on_progress=None):
        if self._left == 0:
            raise Interrupt
        self._left -= 1
        return super().encode(texts, kind=kind, on_progress=on_progress)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(batches, "_BATCH", 4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


def interrupt(path, *, corpus=CORPUS, point=POINT, batches=2, **options):
    with pytest.raises(Interrupt):
        build_index(Interrupted(batches), corpus, point, path, **options)


def encoded(path, *, corpus=CORPUS, point=POINT, info=None, **options):
    """Build an index, and return the number of encoded texts."""
    model = NestedHashEncoder(*[info] if info else [])
    with build_index(model, corpus, point, path, **options) as index:
        assert index.get(list(index.ids())) == dict(corpus)
        index.verify()
        for id_, document in corpus.items():
            assert index.search([document.content], 1, exact=True).ids == [[id_]]
        assert index.stats().uncoded == 0
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return sum(model.times_encoded("document").values())


# Building


def test_a_build_encodes_each_document_once_with_its_title(path):
    progress = []
    model = NestedHashEncoder()
    build_index(model, CORPUS, POINT, path, on_progress=lambda *done: progress.append(done)).close()
    texts = [f"title{number} own{number} words" for number in range(10)]
    assert model.calls == [
        ("document", texts[start:end]) for start, end in ((0, 4), (4, 8), (8, 10))
    ]
    assert list(dict.fromkeys(progress)) == [(4, 10), (8, 10), (10, 10)]


def test_an_interrupted_build_is_continued(path):
    interrupt(path)
    assert not path.exists()
    assert encoded(path) == 2
    assert encoded(path) == 10  # the unfinished folder is gone


def test_a_continued_build_reports_progress_over_all_documents(path):
    interrupt(path)
    progress = []
    model = NestedHashEncoder()
    build_index(model, CORPUS, POINT, path, on_progress=lambda *done: progress.append(done)).close()
    assert set(progress) == {(10, 10)}


def test_a_build_can_be_interrupted_many_times(path):
    interrupt(path, batches=1)
    interrupt(path, batches=1)
    assert encoded(path) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"corpus": CORPUS | {"d9": Document("other text")}},
        {"corpus": CORPUS | {"d9": Document("own9 words", "title9", {"n": 10})}},
        {"corpus": dict(list(CORPUS.items())[:9])},
        {"info": OTHER},
        {"point": "16:int8"},
        {"stored": "float32"},
    ],
    ids=["text", "metadata", "fewer", "model", "point", "stored"],
)
def test_a_build_from_another_source_starts_again(path, other):
    interrupt(path)
    assert encoded(path, **other) == len(other.get("corpus", CORPUS))


def test_a_damaged_unfinished_build_starts_again(path):
    interrupt(path)
    half = path.with_name(".index.unfinished")
    database = half / "documents.sqlite"
    database.write_bytes(b"x" * database.stat().st_size)
    assert encoded(path) == 10


@pytest.mark.parametrize("point", [POINT, "16:int8"], ids=["the same", "another"])
def test_two_builds_at_the_same_time_do_not_disturb_each_other(path, point, monkeypatch):
    monkeypatch.setattr(lock, "_WAIT_S", 0)

    class Meanwhile(NestedHashEncoder):
        def encode(self, texts, *, kind, on_progress=None):
            with pytest.raises(IndexLocked, match="is being changed by process"):
                build_index(Interrupted(0), CORPUS, point, path)
            return super().encode(texts, kind=kind, on_progress=on_progress)

    with build_index(Meanwhile(), CORPUS, POINT, path) as index:
        assert len(index) == 10
        assert str(index.point) == POINT


def test_a_build_interrupted_before_its_first_batch_leaves_no_files(path):
    interrupt(path, batches=0)
    assert list(path.parent.iterdir()) == []


def test_an_interrupted_build_leaves_the_existing_index(path):
    encoded(path)
    interrupt(path, point="16:int8", batches=1)
    with Index.open(path, NestedHashEncoder(), verify=True) as index:
        assert str(index.point) == POINT
        assert len(index) == 10


@pytest.mark.parametrize(
    ("point", "stored", "kept"),
    [
        ("64:float32", None, "float32"),
        ("16:int8@5>64:float32", None, "float32"),
        ("64:float16", None, "float16"),
        ("16:int8", None, "float16"),
        ("16:int8", "float32", "float32"),
    ],
)
def test_the_precision_of_stored_vectors_follows_the_point_or_the_argument(
    path, point, stored, kept
):
    with build_index(NestedHashEncoder(), CORPUS, point, path, stored=stored) as index:
        assert index.stats().stored == kept


@pytest.mark.parametrize("point", ["64:float32", "7:pq4"])
def test_an_invalid_point_is_refused_before_encoding(path, point):
    with pytest.raises(InvalidArgument, match=r"stores float16|dim=7 is odd"):
        build_index(Interrupted(0), CORPUS, point, path, stored="float16")
    assert list(path.parent.iterdir()) == []


# Another model


def test_reembedding_keeps_the_documents_and_changes_the_model(path):
    with build_index(NestedHashEncoder(), CORPUS, POINT, path) as index:
        index.delete(["d0"])
        index.upsert(["d1"], ["changed"], metadata=[{"n": -1}])
        expected = index.get(list(index.ids()))
        ids = list(index.ids())
    model = NestedHashEncoder(OTHER)
    with reembed(path, model) as index:
        assert index.info == OTHER
        assert str(index.point) == POINT
        assert list(index.ids()) == ids
        assert index.get(ids) == expected
        assert index.search(["changed"], 1).ids == [["d1"]]
        assert index.search(["words"], 9, where="n < 0").ids == [["d1"]]
        assert sorted(model.times_encoded("document")) == sorted(
            document.content for document in expected.values()
        )
        index.verify()
    with Index.open(path, NestedHashEncoder(OTHER), verify=True) as index:
        assert len(index) == 9
    assert [each.name for each in path.parent.iterdir()] == ["index"]


def test_a_reembedded_index_can_be_changed(path):
    encoded(path)
    with reembed(path, NestedHashEncoder(OTHER)) as index:
        index.add(["new"], ["new text"])
        assert index.search(["new text"], 1).ids == [["new"]]
        with Index.open(path, NestedHashEncoder(OTHER)) as reader:
            assert reader.search(["new text"], 1).ids == [["new"]]
            index.delete(["new"])
            assert "new" not in reader
    with Index.open(path, NestedHashEncoder(OTHER), verify=True) as index:
        assert len(index) == 10


def test_reembedding_accepts_another_point_and_keeps_the_stored_precision(path):
    build_index(NestedHashEncoder(), CORPUS, POINT, path, stored="float32").close()
    with reembed(path, NestedHashEncoder(OTHER), point="32:int4") as index:
        assert str(index.point) == "32:int4"
        assert index.stats().stored == "float32"


def test_interrupted_reembedding_leaves_the_old_index_and_is_continued(path):
    encoded(path)
    with pytest.raises(Interrupt):
        reembed(path, Interrupted(2, info=OTHER))
    with Index.open(path, NestedHashEncoder(), verify=True) as index:
        assert index.search(["title3 own3 words"], 1).ids == [["d3"]]
        index.lock()  # the lock is free
    model = NestedHashEncoder(OTHER)
    reembed(path, model).close()
    assert len(model.times_encoded("document")) == 2


def test_an_index_built_from_vectors_is_not_reembedded(path):
    with build_index(NestedHashEncoder(), CORPUS, POINT, path) as index:
        index.delete(list(CORPUS))
        index.add(["a", "b"], embeddings=np.ones((2, 64), np.float32))
    with pytest.raises(InvalidArgument, match="has no texts to encode; it was built from vectors"):
        reembed(path, Interrupted(0, info=OTHER))
    with Index.open(path, NestedHashEncoder()) as index:
        assert len(index) == 2


def test_an_index_that_is_being_changed_is_not_reembedded(path, monkeypatch):
    monkeypatch.setattr(lock, "_WAIT_S", 0)
    with build_index(NestedHashEncoder(), CORPUS, POINT, path) as index:
        index.lock()
        with pytest.raises(IndexLocked, match="is being changed by process"):
            reembed(path, Interrupted(0, info=OTHER))


def test_a_narrower_model_needs_another_point(path):
    encoded(path)
    narrow = NestedHashEncoder(fake_info(fingerprint="1" * 64, full_dim=32, dims=(32, 16)))
    with pytest.raises(InvalidArgument, match="dim=64 is larger than full_dim=32"):
        reembed(path, narrow)
    with reembed(path, narrow, point="16:int8") as index:
        assert index.info.full_dim == 32


def test_reembedding_a_missing_index_is_refused(path):
    with pytest.raises(DataError, match="is not an index folder"):
        reembed(path, NestedHashEncoder())
    assert not path.exists()


def test_an_index_begins_empty_grows_and_is_reembedded(path):
    with build_index(NestedHashEncoder(), {}, POINT, path) as index:
        assert index.search("read a csv file").ids == [[]]
        assert (index.stats().documents, index.stats().parts) == (0, 0)
        index.verify()
    with Index.open(path, NestedHashEncoder()) as index:
        index.add(list(CORPUS), [each.content for each in CORPUS.values()])
        assert len(index) == len(CORPUS)
        assert len(index.search("read a csv file", 3).ids[0]) == 3
        index.delete(list(CORPUS))
    with reembed(path, NestedHashEncoder(OTHER)) as index:
        assert len(index) == 0


def test_a_copied_index_is_reembedded_by_itself(path, tmp_path):
    encoded(path)
    shutil.copytree(path, tmp_path / "copy")
    reembed(tmp_path / "copy", NestedHashEncoder(OTHER)).close()
    with Index.open(path, NestedHashEncoder(), verify=True) as index:
        assert len(index) == 10
