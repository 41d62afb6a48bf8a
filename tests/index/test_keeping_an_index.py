"""Changing the operating point, compacting, verifying, statistics and closing."""

import json
from pathlib import Path

import pytest

from nestvec.engines.embedded import folder as lock
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.index.index import Index
from ten_documents import first


def test_use_changes_the_point_for_all_readers(index, model):
    with Index.open(index.place, model) as reader:
        index.use("32:int4@5>64:float16")
        for each in (index, reader):
            assert first(each, "read own0") == "d0"
            assert str(each.point) == "32:int4@5>64:float16"
        assert index.search(["csv json"], 5) == reader.search(["csv json"], 5)
    names = {path.name for path in Path(index.place).glob("codes/*/*.codes")}
    assert names == {"32-int4.codes"}


def test_use_on_an_empty_index(index):
    index.delete(list(index.ids()))
    index.compact()
    for point in ("16:int8", "32:pq4@5>64:float16", "16:binary@4>64:int8"):
        index.use(point)
        assert index.search(["read"], 3).ids == [[]]
        assert first(index, "read", exact=True) is None
    index.add(["a", "b"], ["read", "write"])
    assert first(index, "read") == "a"
    index.compact()
    assert first(index, "read") == "a"


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("65:int8", "dim=65 is larger than full_dim=64"),
        ("16:int8@5>64:float32", "stores float16 vectors, not float32. Use float16"),
        ("7:pq4", "pq4 encodes dims in pairs, and dim=7 is odd"),
    ],
)
def test_an_invalid_point_is_refused_and_the_old_one_remains(index, point, message):
    with pytest.raises(InvalidArgument, match=message):
        index.use(point)
    assert str(index.point) == "16:binary@8>64:int8"


def test_use_is_refused_while_another_writer_has_the_lock(index, model, monkeypatch):
    monkeypatch.setattr(lock, "_WAIT_S", 0)
    index.add(["a"], ["text"])
    with Index.open(index.place, model) as other:
        with pytest.raises(IndexLocked, match="is being changed by process"):
            other.use("32:int4")
        assert json.loads((Path(index.place) / "manifest.json").read_text())["point"] == str(
            index.point
        )
        assert not list(Path(index.place).glob("codes/*/32-int4.codes"))


def test_compact_verify_and_stats(index):
    index.delete(["d1", "d2"])
    index.add(["a"], ["text"])
    stats = index.stats()
    assert (stats.documents, stats.deleted, stats.uncoded, stats.parts) == (9, 2, 9, 0)
    assert (stats.model, stats.full_dim, stats.stored) == ("fake/nested", 64, "float16")
    assert stats.point == "16:binary@8>64:int8"
    assert stats.disk_bytes == sum(
        f.stat().st_size for f in Path(index.place).rglob("*") if f.is_file()
    )
    index.verify()
    before = index.search(["read own0", "text"], 9, exact=True)
    compacted = index.compact()
    assert compacted.bytes_after < compacted.bytes_before
    stats = index.stats()
    assert (stats.documents, stats.deleted, stats.uncoded, stats.parts) == (9, 0, 0, 1)
    assert stats.resident_bytes == 9 * 2
    assert stats.generation == 1
    assert json.loads(json.dumps(stats.to_json()))["documents"] == 9
    index.verify()
    assert index.search(["read own0", "text"], 9, exact=True) == before


USES = {
    "len": len,
    "in": lambda index: "d1" in index,
    "ids": lambda index: list(index.ids()),
    "get": lambda index: index.get(["d1"]),
    "search": lambda index: index.search(["read"]),
    "exact": lambda index: index.search(["read"], exact=True),
    "add": lambda index: index.add(["a"], ["text"]),
    "upsert": lambda index: index.upsert(["d1"], ["text"]),
    "delete": lambda index: index.delete(["d1"]),
    "use": lambda index: index.use("16:int8"),
    "compact": lambda index: index.compact(),
    "verify": lambda index: index.verify(),
    "stats": lambda index: index.stats(),
    "lock": lambda index: index.lock(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_closed_index_raises_an_error(index, model, use):
    index.close()
    index.close()
    with pytest.raises(DataError, match="the index is closed"):
        use(index)
    with Index.open(index.place, model) as again:  # the lock is free
        again.add(["a"], ["text"])
        assert len(again) == 11
