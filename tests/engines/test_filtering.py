"""The rows that a filter selects while documents are added, replaced and deleted."""

import shutil

import numpy as np
import pytest

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.filters.where import Where
from nestvec.engines.manifest import Manifest
from nestvec.errors import InvalidArgument
from nestvec.types import Document, OperatingPoint

pytestmark = pytest.mark.usefixtures("small_calibration")

YEAR = Where.parse("year >= 2020")
NO_YEAR = Where.parse("not year >= 2020")


@pytest.fixture
def writer(tmp_path, model):
    create_folder(tmp_path / "i", Manifest(model, "float16", OperatingPoint.parse("16:int8")))
    index = EmbeddedEngine(tmp_path / "i")
    yield index
    index.close()


@pytest.fixture
def reader(writer):
    index = EmbeddedEngine(writer.path)
    yield index
    index.close()


def put(index, **years):
    """Add or replace documents with a year, or without one."""
    vectors = np.random.default_rng(len(index)).standard_normal((len(years), 32))
    index.add(
        {
            id_: Document("", metadata={} if year is None else {"year": year})
            for id_, year in years.items()
        },
        vectors.astype(np.float32),
        replace=True,
    )


def found(index, where):
    query = np.ones((1, 32), np.float32)
    (ids,) = index.search(query, 100, where=where).ids
    (exact,) = index.search(query, 100, where=where, exact=True).ids
    assert sorted(ids) == sorted(exact)
    return "".join(sorted(ids))


def test_a_filter_follows_every_kind_of_change(writer, reader):
    steps = [
        (lambda: put(writer, a=2020, b=2010, c=None), "a", "bc"),
        (lambda: put(writer, d=2021), "ad", "bc"),
        (lambda: writer.delete(["a", "b"]), "d", "c"),
        (lambda: put(writer, d=2000, c=2022), "c", "d"),
        (lambda: writer.build_codes(), "c", "d"),
        (lambda: put(writer, e=None, f=2030.5), "cf", "de"),
        (lambda: writer.compact(), "cf", "de"),
        (lambda: put(writer, g=2020, d=None), "cfg", "de"),
        (lambda: writer.use(OperatingPoint.parse("8:int4")), "cfg", "de"),
        (lambda: writer.delete(list("cdefg")), "", ""),
        (lambda: writer.compact(), "", ""),
        (lambda: put(writer, a=2020), "a", ""),
    ]
    for step, year, no_year in steps:
        step()
        for index in (writer, reader):
            assert found(index, YEAR) == year
            assert found(index, NO_YEAR) == no_year


def test_a_field_that_is_used_later_is_read_for_all_rows(writer, reader):
    put(writer, a=2020, b=2010)
    assert found(reader, YEAR) == "a"
    vectors = np.ones((2, 32), np.float32)
    new = {"c": Document("", metadata={"lang": "de"}), "d": Document("", metadata={"year": 2020})}
    writer.add(new, vectors)
    assert found(reader, Where.parse("lang = 'de' or year = 2010")) == "bc"
    assert found(reader, Where.parse("lang exists or year exists")) == "abcd"


def test_a_filter_of_every_row_and_of_none_over_several_parts(writer):
    for start in range(0, 300, 50):
        put(writer, **{f"{number:03}": number for number in range(start, start + 50)})
        if start < 200:
            writer.build_codes()
    writer.delete([f"{number:03}" for number in range(0, 300, 7)])
    stats = writer.stats()
    assert stats.parts > 0
    assert stats.uncoded > 0
    left = [f"{number:03}" for number in range(300) if number % 7]
    query = np.ones((2, 32), np.float32)
    for text, expected in [
        ("year >= 0", left),
        ("year < 0", []),
        ("year = 250", ["250"]),
        ("year = 252", []),  # deleted
        ("year in (40, 150, 299)", ["040", "150", "299"]),
    ]:
        for ids in writer.search(query, 300, where=Where.parse(text)).ids:
            assert sorted(ids) == expected


def test_an_older_snapshot_is_not_filtered_by_newer_values(writer, reader):
    put(writer, a=2020, b=2010)
    old = reader.snapshot()
    writer.delete(["a"])
    assert reader._filter.mask(NO_YEAR, old) is None  # the year of a is deleted
    new = reader.snapshot()
    assert reader._filter.mask(NO_YEAR, new).tolist() == [True, True]  # a is masked as deleted
    assert reader._filter.mask(NO_YEAR, old) is None
    put(writer, c=2030)
    assert reader._filter.mask(YEAR, new).tolist() == [False, False]  # the column was read before
    writer.compact()
    assert reader._filter.mask(Where.parse("other exists"), new) is None
    assert found(reader, YEAR) == "c"


def test_a_search_is_repeated_if_the_index_changes_during_it(writer, reader, monkeypatch):
    put(writer, a=2020, b=2010)
    mask, changes = reader._filter.mask, [lambda: put(writer, a=2000), lambda: writer.compact()]

    def raced(condition, snapshot):
        if changes:
            changes.pop()()
        return mask(condition, snapshot)

    monkeypatch.setattr(reader._filter, "mask", raced)
    (ids,) = reader.search(np.ones((1, 32), np.float32), 5, where=NO_YEAR).ids
    assert sorted(ids) == ["a", "b"]
    assert changes == []


def test_columns_of_unknown_fields_are_not_kept_and_not_read_again(writer, reader, monkeypatch):
    put(writer, a=2020, b=2010)
    for number in range(3):
        with pytest.raises(InvalidArgument, match=r"no document has the field .*: year\."):
            found(reader, Where.parse(f"other{number} = 1 or year = 2020"))
        assert reader._filter._columns.keys() <= {"year"}
        monkeypatch.setattr(documents, "field_names", None)  # the names are read once a commit
        monkeypatch.setattr(documents, "field_from", None)
    monkeypatch.undo()
    put(writer, c=2030)
    assert found(reader, YEAR) == "ac"
    writer.add({"d": Document("", metadata={"other0": 1})}, np.ones((1, 32), np.float32))
    assert found(reader, Where.parse("other0 = 1 or year = 2020")) == "ad"


def test_an_unknown_field_is_looked_up_in_the_last_commit(writer, reader, monkeypatch):
    put(writer, a=2020)
    check, changes = reader._filter._check, [lambda: put(writer, b=2030)]

    def raced(*arguments):
        if changes:
            changes.pop()()
        return check(*arguments)

    monkeypatch.setattr(reader._filter, "_check", raced)
    with pytest.raises(InvalidArgument, match="no document has the field other"):
        found(reader, Where.parse("other = 1"))
    assert changes == []


def test_a_deleted_value_does_not_count_as_a_type_of_the_field(writer, reader):
    put(writer, a=2020, b="recent")
    assert found(reader, Where.parse("year = 'recent'")) == "b"
    writer.delete(["b"])
    for index in (writer, reader):
        with pytest.raises(
            InvalidArgument, match="year contains numbers, and 'recent' is a string"
        ):
            found(index, Where.parse("year = 'recent'"))
    put(writer, c="recent")
    assert found(reader, Where.parse("year = 'recent'")) == "c"


def test_a_read_only_index_can_be_filtered(writer, tmp_path):
    put(writer, a=2020, b=2010)
    writer.close()
    shutil.copytree(writer.path, tmp_path / "copy")
    (tmp_path / "copy").chmod(0o555)
    index = EmbeddedEngine(tmp_path / "copy")
    assert found(index, YEAR) == "a"
    index.close()
    (tmp_path / "copy").chmod(0o755)
