"""The embedded engine: searches, stored documents, and error messages."""

import json
import shutil
import threading

import numpy as np
import pytest

from made_index import build
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError, InvalidArgument, ModelMismatch
from nestvec.types import Document, Hits, OperatingPoint

POINTS = ["32:float32", "16:int4", "16:binary@40>32:int8", "16:binary@40>32:int8@20>32:float16"]
POINTS += ["16:pq4@50>32:int8", "8:binary@50>30:pq4"]
POINT = OperatingPoint.parse("8:int8")


def test_a_reopened_or_moved_index_returns_the_same_hits(folder, queries, tmp_path):
    index = EmbeddedEngine(folder)
    hits = index.search(queries, 7)
    index.close()
    folder.rename(tmp_path / "moved")
    again = EmbeddedEngine(tmp_path / "moved", verify=True)
    assert again.search(queries, 7) == hits
    again.close()


def test_equal_scores_are_in_descending_order_of_id(folder, corpus, embeddings):
    query = embeddings[[list(corpus).index("aa")]]
    for text in ("32:float32", "16:binary@250>32:int8"):
        built(folder, corpus, embeddings, text)
        index = EmbeddedEngine(folder)
        hits = index.search(query, 2)
        assert hits.ids == [["zz", "aa"]]
        assert hits.scores[0][0] == hits.scores[0][1]
        zero = index.search(np.zeros_like(query), 250)
        assert zero.ids == [sorted(corpus, reverse=True)]
        assert set(zero.scores[0]) == {0.0}
        index.close()


def built(folder, corpus, embeddings, text):
    index = EmbeddedEngine(folder)
    model = index.manifest.model
    index.close()
    shutil.rmtree(folder)
    point = OperatingPoint.parse(text)
    build(folder, model=model, corpus=corpus, embeddings=embeddings, point=point)


def test_get_returns_the_added_documents(folder, corpus):
    index = EmbeddedEngine(folder)
    assert index.get(list(corpus)) == corpus
    asked = ["ü", "no such id", "with 'quotes' \"\\", "", "doc-7"]
    assert list(index.get(asked)) == ["ü", "with 'quotes' \"\\", "", "doc-7"]
    assert index.get([]) == {}
    index.close()


def test_unusual_ids_and_texts_are_stored_unchanged(tmp_path, model):
    corpus = {
        id_: Document(f"text of {id_}", metadata={"a": 1, "b": 2.5, "c": "ü"})
        for id_ in (
            "a\x00b",
            "a",
            "line\nbreak",
            "\u2028",
            "𝒳",
            "e\u0301",
            "é",
            " ",
            "%",
            "10",
            "9",
        )
    }
    embeddings = np.eye(len(corpus), 32, dtype=np.float32)
    point = OperatingPoint.parse("32:float32")
    build(tmp_path / "i", model=model, corpus=corpus, embeddings=embeddings, point=point)
    index = EmbeddedEngine(tmp_path / "i")
    hits = index.search(embeddings, 1)
    assert [id_ for (id_,) in hits.ids] == list(corpus)
    assert index.get(list(corpus)) == corpus
    index.close()


def test_an_unpaired_surrogate_is_refused(tmp_path, model):
    corpus = {"a": Document("b\ud800")}
    with pytest.raises(InvalidArgument, match="document 'a' has text that cannot be stored"):
        build(
            tmp_path / "i",
            model=model,
            corpus=corpus,
            embeddings=np.ones((1, 32), np.float32),
            point=OperatingPoint.parse("8:int8"),
        )
    index = EmbeddedEngine(tmp_path / "i")
    assert len(index) == 0
    index.close()


@pytest.mark.parametrize("text", POINTS)
def test_one_document_and_k_above_n(tmp_path, model, text):
    build(
        tmp_path / "i",
        model=model,
        corpus={"only": Document("text")},
        embeddings=np.ones((1, 32), np.float32),
        point=OperatingPoint.parse(text),
    )
    index = EmbeddedEngine(tmp_path / "i")
    assert index.search(np.ones((2, 32), np.float32), 10).ids == [["only"], ["only"]]
    index.close()


def test_a_search_returns_k_hits_unless_corpus_or_shortlist_is_smaller(folder, queries):
    index = EmbeddedEngine(folder)  # ...@20>32:float16
    for k, found in ((1, 1), (20, 20), (21, 20), (10_000, 20)):
        hits = index.search(queries, k)
        assert {len(ids) for ids in hits.ids} == {len(scores) for scores in hits.scores} == {found}
    assert index.search(queries[:0], 5) == Hits([], [])
    index.close()


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_1_is_refused(folder, queries, k):
    index = EmbeddedEngine(folder)
    with pytest.raises(InvalidArgument, match=f"k={k} is smaller than 1"):
        index.search(queries, k)
    index.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_query_with_nan_or_infinity_is_refused(folder, queries, value):
    queries = queries.astype(np.float64)
    queries[3, 5] = value
    index = EmbeddedEngine(folder)
    with pytest.raises(InvalidArgument, match="a query vector contains NaN or infinity"):
        index.search(queries, 3)
    index.close()


@pytest.mark.parametrize("shape", [(2, 16), (2, 64), (32,), (1, 2, 32)])
def test_queries_of_another_width_are_refused(folder, shape):
    index = EmbeddedEngine(folder)
    with pytest.raises(ModelMismatch) as caught:
        index.search(np.ones(shape, np.float32), 3)
    for message in (str(shape), "models/ours", "[n, 32]", "Encode at full width"):
        assert message in str(caught.value)
    index.close()


def test_float64_and_strided_queries_are_accepted_and_unchanged(folder, queries):
    index = EmbeddedEngine(folder)
    expected = index.search(queries, 5)
    wide = np.repeat(queries.astype(np.float64), 2, axis=1)
    before = wide.copy()
    assert index.search(wide[:, ::2], 5) == expected
    np.testing.assert_array_equal(wide, before)
    index.close()


def test_the_manifest_describes_the_index(folder, model):
    values = json.loads((folder / "manifest.json").read_text())
    assert values["format"] == "nestvec-index"
    assert values["version"] == 3
    assert values["stored"] == "float16"
    assert values["model"]["fingerprint"] == "f" * 64
    assert values["full_dim"] == 32
    assert values["point"] == "16:binary@40>32:int8@20>32:float16"
    codecs = {codec["quantizer"]: len(codec["calibration"]) for codec in values["codecs"]}
    assert codecs == {"QT_1bit_tqmse": 16 + 1, "QT_8bit": 64, "QT_fp16": 0}


def test_bytes_are_those_of_the_files(folder):
    index = EmbeddedEngine(folder)
    head = 64
    sizes = {file.name: file.stat().st_size - head for file in folder.glob("codes/*/*.codes")}
    assert sizes == {"16-binary.codes": 250 * 2, "32-int8.codes": 250 * 32}
    found, vectors = index.bytes(), [*folder.glob("vectors/*"), *folder.glob("codes/*/*")]
    assert found.ram_per_vector == 2
    assert found.disk_per_vector == sum(each.stat().st_size for each in vectors) / 250
    assert found.text_per_vector == (folder / "documents.sqlite").stat().st_size / 250
    assert found.read_per_query == 40 * 32 + 20 * 64
    index.close()


def test_building_does_not_change_its_inputs(tmp_path, model, corpus, embeddings):
    before = embeddings.copy()
    embeddings.setflags(write=False)
    point = OperatingPoint.parse("16:binary@40>32:int8")
    build(tmp_path / "i", model=model, corpus=corpus, embeddings=embeddings, point=point)
    np.testing.assert_array_equal(embeddings, before)


def test_vectors_that_do_not_fit_are_refused_by_row(folder, model, corpus, embeddings):
    index = EmbeddedEngine(folder)
    spoilt = embeddings.copy()
    spoilt[7, 3], spoilt[9, 0] = np.nan, np.inf
    cases = [
        (embeddings[:-1], r"embeddings have shape \(249, 32\) for 250 documents"),
        (embeddings[:, :16], r"embeddings have shape \(250, 16\) for 250 documents"),
        (spoilt, r"vector 7 \(id 'doc-7'\) contains NaN or infinity \(1 more"),
    ]
    for vectors, message in cases:
        with pytest.raises(InvalidArgument, match=message):
            index.add(corpus, vectors, replace=True)
    with pytest.raises(InvalidArgument, match="id 'doc-0' and 249 more are already in the index"):
        index.add(corpus, embeddings)
    assert len(index) == 250
    index.close()


def test_a_wider_point_and_one_that_needs_float32_are_refused(folder, queries):
    index = EmbeddedEngine(folder)
    for text, message in (
        ("64:int8", "dim=64 is larger than full_dim=32"),
        ("16:float32", "stores float16 vectors"),
    ):
        point = OperatingPoint.parse(text)
        with pytest.raises(InvalidArgument, match=message):
            index.search(queries, 3, point=point)
        with pytest.raises(InvalidArgument, match=message):
            index.use(point)
    index.close()


@pytest.mark.parametrize("file", ["thesis.txt", "manifest.json"])
def test_a_folder_that_is_not_empty_is_refused(tmp_path, model, file):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / file).write_text("{}")
    with pytest.raises(DataError, match="is not empty"):
        create_folder(tmp_path / "theirs", Manifest(model, "float16", POINT))
    assert [each.name for each in tmp_path.rglob("*")] == ["theirs", file]


def test_several_threads_can_use_one_index(folder, queries, corpus):
    index = EmbeddedEngine(folder)
    expected = [index.search(queries[i : i + 1], 15) for i in range(len(queries))]
    ids = list(corpus)
    wrong = []

    def work(seed):
        try:
            for number in np.random.default_rng(seed).integers(0, len(queries), 30):
                if index.search(queries[number : number + 1], 15) != expected[number]:
                    wrong.append(number)
                some = ids[number * 7 : number * 7 + 5]
                if index.get(some) != {id_: corpus[id_] for id_ in some}:
                    wrong.append(some)
        except Exception as error:  # would otherwise be lost with the thread
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    index.close()


def test_a_folder_that_cannot_be_created_and_unknown_precisions_are_refused(tmp_path, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be created"):
        create_folder(tmp_path / "file" / "i", Manifest(model, "float16", POINT))
    with pytest.raises(InvalidArgument, match="stored='int8' is not supported"):
        create_folder(tmp_path / "i", Manifest(model, "int8", POINT))
    assert not (tmp_path / "i").exists()


def test_a_compaction_succeeds_even_if_the_database_cannot_be_made_smaller(
    folder, corpus, queries, monkeypatch, caplog
):
    index = EmbeddedEngine(folder)
    gone = list(corpus)[:100]
    index.delete(gone)
    execute = Database.execute

    def on_a_full_disk(self, statement, values=()):
        if statement == "vacuum":
            raise DataError(self.path, "database or disk is full")
        return execute(self, statement, values)

    monkeypatch.setattr(Database, "execute", on_a_full_disk)
    index.compact()
    assert "disk is full" in caplog.text
    assert index.stats().deleted == index.stats().uncoded == 0
    assert not {id_ for line in index.search(queries, 250).ids for id_ in line} & set(gone)
    index.close()
