"""An index of texts: an index with its model, and errors for other models."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.curve.point import Cost, CurvePoint
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.errors import DamagedFile, DataError, InvalidArgument, ModelError, ModelMismatch
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.models.static import save_static_model
from nestvec.planning.budget import Budget, Goal
from nestvec.planning.choose import Plan
from nestvec.types import Document, Hits, OperatingPoint

WORDS = ["[UNK]", "read", "write", "csv", "json", "file", "table", "socket", "open", "ζήτα"]
CORPUS = {
    "csv": Document("read csv file", "csv"),
    "json": Document("write json file"),
    "net": Document("open socket", metadata={"line": 80}),
    "greek": Document("ζήτα"),
    "empty": Document(""),
}
POINT = "16:binary@4>32:int8"


def make_model(folder, seed=0):
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = np.random.default_rng(seed).standard_normal((len(WORDS), 32)).astype(np.float32)
    save_static_model(table, tokenizer, folder, matryoshka_dims=(32, 16), extra={})
    return load_model(folder)


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "work" / "model")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "work" / "index"


def make_plan(model, text):
    point = OperatingPoint.parse(text)
    row = CurvePoint(point, {"ndcg@10": 0.5}, {"ndcg@10": 1.0}, Cost(1, 1, 1, 1, 1, 1, 1))
    return Plan(
        point=point,
        confirmed=True,
        goal=Goal("retention", "ndcg@10", 0.98),
        kept=1.0,
        at_least=0.98,
        retention=1.0,
        queries_ordering=5,
        queries_tested=5,
        budget=Budget(),
        seed=0,
        reasons=("because",),
        row=row,
        full=row,
        model=model.info,
        dataset={"name": "d"},
    )


def test_texts_find_their_documents(model, path):
    with build_index(model, CORPUS, POINT, path) as index:
        assert len(index) == 5
        assert index.point == OperatingPoint.parse(POINT)
        assert index.bytes.ram_per_vector == 2
        hits = index.search(["csv read csv file", "open socket", "ζήτα"], k=1)
        assert hits.ids == [["csv"], ["net"], ["greek"]]
        # Codes approximate the vectors, so the score of equal texts is nearly 1.
        assert hits.scores[2][0] == pytest.approx(1, abs=0.02)
        assert index.get(["net"]) == {"net": CORPUS["net"]}


def test_texts_and_their_embeddings_find_the_same_documents(model, path):
    texts = ["read json", "write table", "json"]
    with build_index(model, CORPUS, POINT, path) as index:
        assert index.search(model.encode(texts, kind="query"), k=3) == index.search(texts, k=3)
        assert index.search(tuple(texts), k=3) == index.search(texts, k=3)
        assert index.search([], k=3) == Hits([], [])


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_query_raises_and_names_its_position(model, path, text):
    with build_index(model, CORPUS, "32:float32", path) as index:
        for queries in (["json", text], np.array(["json", text])):
            with pytest.raises(InvalidArgument, match=r"queries\[1\] is empty"):
                index.search(queries)
        with pytest.raises(InvalidArgument, match=r"queries\[0\] is empty"):
            index.explain(text)


def test_documents_with_a_zero_vector_are_counted_once(model, path, caplog):
    more = {f"blank{number}": Document(" ") for number in range(1_500)}  # two batches
    with build_index(model, {**CORPUS, **more}, "32:float32", path) as index:
        (message,) = caplog.messages
        assert message.startswith("1,501 documents with a zero vector, such as 'empty': ")
        caplog.clear()
        index.add(["new"], [""])
        assert caplog.messages[0].startswith("1 document with a zero vector")
        caplog.clear()
        index.add(["other"], ["read csv"])
    assert not caplog.messages


def test_a_query_whose_words_the_model_does_not_know_raises(model, path):
    model.table[0] = 0  # the row of unknown words
    message = r"queries\[1\] \('zzz'\) has a zero vector"
    with (
        build_index(model, CORPUS, "32:float32", path) as index,
        pytest.raises(InvalidArgument, match=message),
    ):
        index.search(["json", "zzz"])


@pytest.mark.parametrize("as_what", ["text", "point", "plan"])
def test_a_point_is_accepted_in_each_form(model, path, as_what):
    forms = {"text": POINT, "point": OperatingPoint.parse(POINT), "plan": make_plan(model, POINT)}
    with build_index(model, CORPUS, forms[as_what], str(path)) as index:
        assert str(index.point) == POINT


def test_an_index_loads_its_model_when_a_text_is_searched_for(model, path):
    texts = ["read json"]
    with build_index(model, CORPUS, POINT, path) as index:
        expected = index.search(texts, k=3)
    with Index.open(str(path), verify=True) as index:
        assert index.search(texts, k=3) == expected


def test_an_index_finds_its_model_from_any_folder(tmp_path, path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "work" / "model")
    with build_index(load_model("work/model"), CORPUS, POINT, path) as index:
        expected = index.search(["read"], k=3)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    with Index.open(path) as index:
        assert index.search(["read"], k=3) == expected


def test_a_folder_moved_together_with_its_model_opens(tmp_path, model, path):
    with build_index(model, CORPUS, POINT, path) as index:
        expected = index.search(["read csv"], k=3)
    (tmp_path / "work").rename(tmp_path / "moved")
    with Index.open(tmp_path / "moved" / "index") as index:
        assert index.search(["read csv"], k=3) == expected


def test_a_missing_model_raises_an_error(tmp_path, model, path):
    build_index(model, CORPUS, POINT, path).close()
    shutil.move(tmp_path / "work" / "model", tmp_path / "elsewhere")
    vectors = load_model(tmp_path / "elsewhere").encode(["read"], kind="query")
    with Index.open(path) as index:
        assert len(index.search(vectors, k=2).ids[0]) == 2  # needs no model
        with pytest.raises(ModelError, match=r"the model of .*index, does not exist\. Pass"):
            index.search(["read"])
    with Index.open(path, load_model(tmp_path / "elsewhere")) as index:
        assert index.search(["read"], k=2).ids


def test_another_model_is_refused_when_passed_and_when_loaded(tmp_path, model, path):
    build_index(model, CORPUS, POINT, path).close()
    with pytest.raises(ModelMismatch, match="Open the index with its own model"):
        Index.open(path, make_model(tmp_path / "other", seed=1))
    make_model(tmp_path / "work" / "model", seed=1)  # another model at the same path
    with Index.open(path) as index, pytest.raises(ModelMismatch, match="re-embed the index"):
        index.search(["read"])


def test_a_plan_for_another_model_is_refused(tmp_path, model, path):
    plan = make_plan(make_model(tmp_path / "other", seed=1), POINT)
    with pytest.raises(ModelMismatch, match=rf"Plan with a curve .*{POINT}"):
        build_index(model, CORPUS, plan, path)
    assert not path.exists()


class Untouchable:
    """A model that raises an error if it encodes."""

    def __init__(self, info):
        self.info = info

    def encode(self, texts, *, kind, on_progress=None):
        raise AssertionError("encoded before the arguments were checked")

    def count_truncated(self, texts, *, kind):
        return 0


@pytest.mark.parametrize(
    ("point", "corpus", "message"),
    [
        ("64:int8", CORPUS, "64:int8: dim=64 is larger than full_dim=32 of"),
        ("16:int8@3>33:int8", CORPUS, "dim=33 is larger than full_dim=32"),
        ("16", CORPUS, "is not an operating point"),
    ],
)
def test_invalid_arguments_are_refused_before_encoding(model, path, point, corpus, message):
    with pytest.raises(InvalidArgument, match=message):
        build_index(Untouchable(model.info), corpus, point, path)
    assert not path.exists()


def test_a_folder_of_other_files_is_refused_before_encoding(model, path):
    path.mkdir(parents=True)
    (path / "thesis").write_text("all my work")
    with pytest.raises(DataError, match=r"is not replaced\. Choose a new path"):
        build_index(Untouchable(model.info), CORPUS, POINT, path)
    assert (path / "thesis").read_text() == "all my work"


def test_a_build_that_fails_leaves_the_old_index(model, path, monkeypatch):
    build_index(model, CORPUS, POINT, path).close()
    monkeypatch.setattr(
        model, "encode", lambda texts, **_: np.full((len(texts), 32), np.nan, np.float32)
    )
    with pytest.raises(ModelError, match="NaN"):
        build_index(model, CORPUS, "8:int4", path)
    monkeypatch.undo()
    with Index.open(path, model, verify=True) as index:
        assert index.search(["open socket"], k=1).ids == [["net"]]


def test_a_string_is_one_query(model, path):
    with build_index(model, CORPUS, POINT, path) as index:
        assert index.search("read csv") == index.search(["read csv"])
        with pytest.raises(InvalidArgument, match="k=0 is smaller than 1"):
            index.search(["read csv"], k=0)


def test_progress_of_the_encoding_is_reported(model, path):
    calls = []
    build_index(
        model, CORPUS, POINT, path, on_progress=lambda done, total: calls.append((done, total))
    ).close()
    assert calls[-1] == (5, 5)


def test_precomputed_vectors_are_indexed_by_id_and_searched_by_vector(tmp_path, model, path):
    folder = tmp_path / "vectors"
    ids = [id_ for id_ in CORPUS if id_ != "empty"]
    texts = [CORPUS[id_].content for id_ in ids]
    save_vectors(ids[::-1], model.encode(texts[::-1], kind="document"), folder, kind="document")
    # "0" is not a query: a text must not be mistaken for a row number.
    save_vectors(
        ["0", "1"], model.encode(["open socket", "ζήτα"], kind="query"), folder, kind="query"
    )
    vectors = load_model(folder)
    corpus = {id_: CORPUS[id_] for id_ in ids}
    with build_index(vectors, corpus, POINT, path) as index:
        hits = index.search(vectors.take(["1", "0"], kind="query"), k=1)
        assert hits.ids == [["greek"], ["net"]]
        with pytest.raises(ModelError, match=r"nestvec index model .* MODEL"):
            index.search(["read csv file"])


def test_layer_normalization_and_fingerprint_are_stored_in_the_index(model, path, monkeypatch):
    info = replace(model.info, layer_norm=True)
    monkeypatch.setattr(type(model), "info", property(lambda self: info))
    build_index(model, CORPUS, "16:float32", path).close()
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["model"]["fingerprint"] == info.fingerprint
    assert manifest["codecs"][0]["layer_norm"] is True


def test_the_engine_is_closed_if_the_model_does_not_match(tmp_path, model, path, monkeypatch):
    build_index(model, CORPUS, POINT, path).close()
    closed = []
    close = EmbeddedEngine.close
    monkeypatch.setattr(
        EmbeddedEngine, "close", lambda self: (closed.append(self.path), close(self))
    )
    with pytest.raises(ModelMismatch):
        Index.open(path, make_model(tmp_path / "other", seed=1))
    assert closed == [path]


def test_verify_detects_damage(model, path):
    build_index(model, CORPUS, POINT, path).close()
    (file,) = path.glob("vectors/*")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    Index.open(path, model).close()
    with pytest.raises(DamagedFile, match=r"0-0\.vectors: the vector in row 4 differs"):
        Index.open(path, model, verify=True)
