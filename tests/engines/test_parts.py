"""Parts of an index: there are few, and searches do not depend on them."""

import logging
from contextlib import closing

import numpy as np
import pytest

from made_index import build
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.embedded import part, reader
from nestvec.engines.embedded import state as state_module
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.embedded.state import Span, State, next_parts
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError
from nestvec.types import OperatingPoint

pytestmark = pytest.mark.usefixtures("small_calibration")

POINTS = [
    "16:int4",
    "8:binary",
    "8:binary@60>32:float16",
    "16:int4@90>8:binary@40>32:int2",
    "16:int8",
    "16:pq4@60>32:int8",
]


def state(*lengths, tail=0):
    ends = np.cumsum([0, *lengths, tail]).tolist()
    parts = [Span(first, n) for first, n in zip(ends[: len(lengths)], lengths, strict=True)]
    return State(segments=(Span(0, ends[-1]),), parts=tuple(parts))


@pytest.mark.parametrize(
    ("lengths", "tail", "expected"),
    [
        ([], 5, [5]),
        ([10], 5, [10, 5]),  # twice as long: not merged
        ([9], 5, [14]),
        ([100, 20], 15, [100, 35]),
        ([100, 40], 30, [170]),  # merged with the last part, then with the first
        ([100, 40, 8], 4, [100, 40, 8, 4]),
    ],
)
def test_parts_are_merged_until_each_is_twice_as_long_as_the_next(lengths, tail, expected):
    parts = next_parts(state(*lengths, tail=tail), at_least=1)
    assert [part.n_rows for part in parts] == expected
    assert [part.first_row for part in parts] == np.cumsum([0, *expected[:-1]]).tolist()


def test_a_short_tail_is_not_encoded():
    assert next_parts(state(10, tail=4), at_least=5) is None
    assert next_parts(state(10), at_least=0) is None
    assert next_parts(state(), at_least=1) is None


def test_there_are_few_parts_and_rows_are_encoded_few_times():
    now, coded = State(), 0
    for _ in range(1000):
        now = State(segments=(Span(0, now.n_rows + 7),), parts=now.parts)
        parts = next_parts(now, at_least=1)
        coded += parts[-1].n_rows
        now = State(segments=now.segments, parts=parts)
        assert len(parts) <= np.log2(now.n_rows / 7) + 1
    assert coded <= now.n_rows * (np.log2(1000) + 1)


@pytest.fixture
def short_tails(monkeypatch):
    for module in (state_module, reader):
        monkeypatch.setattr(module, "TAIL_ROWS", 20)


def grown(path, model, corpus, embeddings, text, *, steps=13):
    """Return an index to which the corpus was added in several batches."""
    create_folder(path, Manifest(model, "float16", OperatingPoint.parse(text)))
    index = EmbeddedEngine(path)
    ids = list(corpus)
    for lines in np.array_split(np.arange(len(ids)), steps):
        index.add({ids[line]: corpus[ids[line]] for line in lines}, embeddings[lines])
    return index


@pytest.mark.usefixtures("short_tails")
@pytest.mark.parametrize("text", ["32:float16", *POINTS])
def test_many_additions_and_a_compaction_return_the_same_hits_as_one_build(
    tmp_path, model, corpus, embeddings, queries, text
):
    index = grown(tmp_path / "grown", model, corpus, embeddings, text)
    build(
        tmp_path / "built",
        model=model,
        corpus=corpus,
        embeddings=embeddings,
        point=OperatingPoint.parse(text),
        stored="float16",
    )
    built = EmbeddedEngine(tmp_path / "built")
    index.build_codes()
    assert index.stats().parts > 1
    if text == "32:float16":  # the codecs of other points were fitted to fewer documents
        assert index.search(queries, 30) == built.search(queries, 30)
    assert index.search(np.zeros_like(queries), 250) == built.search(np.zeros_like(queries), 250)
    for each in (index, built):
        assert each.delete(["zz", "doc-7"]) == 2
        each.compact()
    assert index.stats().parts == 1
    assert index.search(queries, 30) == built.search(queries, 30)
    index.close()
    built.close()


@pytest.mark.usefixtures("short_tails")
@pytest.mark.parametrize("text", POINTS)
def test_a_codec_is_fitted_again_as_the_index_grows(tmp_path, model, corpus, embeddings, text):
    # A codec fitted to only the first documents would be a bad fit for all later ones.
    index = grown(tmp_path / "i", model, corpus, embeddings, text)
    coded = 250 - index.stats().uncoded
    ids, rows = list(corpus), range(250)
    came = np.cumsum([len(lines) for lines in np.array_split(np.arange(250), 13)]).tolist()
    for key, codec in index.manifest.codecs.items():
        fitted = []
        for n in came:
            order = sorted(rows[:n], key=ids.__getitem__, reverse=True)
            fresh = Codec.fit_stored(as_stored(embeddings[order]).astype(np.float16), *key)
            if np.array_equal(fresh.calibration, codec.calibration):
                fitted.append(n)
        assert fitted[-1] > coded / 3  # the last fit used over 1/3 of the rows that have codes
    index.close()


@pytest.mark.usefixtures("short_tails")
def test_an_index_with_several_parts_is_the_same_when_reopened(
    tmp_path, model, corpus, embeddings, queries, caplog
):
    index = grown(tmp_path / "i", model, corpus, embeddings, "16:pq4@60>32:int8")
    hits = index.search(queries, 20)
    reader = EmbeddedEngine(tmp_path / "i")
    assert reader.search(queries, 20) == hits
    reader.close()
    index.compact()
    hits = index.search(queries, 20)
    index.close()
    again = EmbeddedEngine(tmp_path / "i")
    assert again.search(queries, 20) == hits
    again.close()
    assert caplog.messages == []  # nothing was rebuilt


@pytest.mark.usefixtures("short_tails")
def test_a_reader_searches_by_other_points_without_changing_the_manifest(
    tmp_path, model, corpus, embeddings, queries
):
    index = grown(tmp_path / "i", model, corpus, embeddings, "8:binary@60>32:float16")
    manifest = (tmp_path / "i" / "manifest.json").read_bytes()
    reader = EmbeddedEngine(tmp_path / "i")
    own = reader.search(queries, 10)
    for text in ("16:int4", "32:float16", "16:binary@90>32:int8"):
        point = OperatingPoint.parse(text)
        found = reader.search(queries, 10, point=point)
        assert found != own
        assert found == index.search(queries, 10, point=point)
        assert str(reader.manifest.point) == "8:binary@60>32:float16"
    assert reader.search(queries, 10) == own
    assert (tmp_path / "i" / "manifest.json").read_bytes() == manifest
    index.use(OperatingPoint.parse("16:int4"))
    assert reader.search(queries, 10) == index.search(queries, 10)
    reader.close()
    index.close()


def test_another_point_is_exact_until_codes_are_built(
    tmp_path, model, corpus, embeddings, queries, monkeypatch
):
    monkeypatch.setattr(state_module, "CALIBRATION_ROWS", 1_000)
    create_folder(tmp_path / "i", Manifest(model, "float16", OperatingPoint.parse("8:binary")))
    index = EmbeddedEngine(tmp_path / "i")
    point = OperatingPoint.parse("16:pq4@100>32:int8")
    assert index.search(queries, 5, point=point).ids == [[]] * 6
    index.add(corpus, embeddings)
    assert index.search(queries, 5, point=point).ids == index.search(queries, 5, exact=True).ids
    index.build_codes()
    after = index.search(queries, 5, point=point)
    build(tmp_path / "b", model=model, corpus=corpus, embeddings=embeddings, point=point)
    built = EmbeddedEngine(tmp_path / "b")
    assert after == built.search(queries, 5)
    index.use(point)
    assert index.search(queries, 5) == after
    built.close()
    index.close()


@pytest.mark.parametrize("point", ["32:float16", *POINTS])
def test_a_fresh_index_opens_without_a_warning(tmp_path, model, corpus, embeddings, caplog, point):
    point = OperatingPoint.parse(point)
    build(tmp_path / "index", model=model, corpus=corpus, embeddings=embeddings, point=point)
    with caplog.at_level(logging.WARNING):
        EmbeddedEngine(tmp_path / "index").close()
    assert caplog.messages == []


def test_an_error_on_writing_codes_is_reported_and_searches_go_on(
    tmp_path, model, corpus, embeddings, caplog, monkeypatch
):
    point, place = OperatingPoint.parse("16:int8"), tmp_path / "index"
    build(place, model=model, corpus=corpus, embeddings=embeddings, point=point)
    with closing(EmbeddedEngine(place)) as index:
        expected = index.search(embeddings[:2], 5)
    for file in place.rglob("16-int8.codes"):
        file.unlink()

    def full(path, *_):
        raise DataError(path, "could not be written (No space left on device)")

    monkeypatch.setattr(part, "write_cache", full)
    with caplog.at_level(logging.WARNING), closing(EmbeddedEngine(place)) as index:
        assert index.search(embeddings[:2], 5) == expected
    assert any("No space left on device" in message for message in caplog.messages)
    assert any("used from memory" in message for message in caplog.messages)
