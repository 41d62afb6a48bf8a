"""Canaries: which texts are chosen, what is stored, and that it fits and survives."""

import json

import numpy as np
import pytest
from test_text_index import WORDS, make_model

from fakes import NestedHashEncoder, fake_info
from nestvec.engines import manifest
from nestvec.engines.canaries import MOST_BYTES, MOST_TEXTS, Canaries
from nestvec.engines.registry import engine_at
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.index.adapting import adapt_index
from nestvec.index.building import build_index, reembed
from nestvec.index.canaries import record_canaries
from nestvec.index.copying import copy_index
from nestvec.index.index import Index
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.types import Document

POINT = "16:binary@8>32:int8"
RNG = np.random.default_rng(5)
CORPUS = {
    f"d{number}": Document(" ".join(RNG.choice(WORDS[1:], 6)), title="file" if number % 3 else "")
    for number in range(80)
}


def stored(path):
    return engine_at(path).read_manifest(str(path)).canaries


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


def make_adapter(model):
    """Return a random rotation."""
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((32, 32)))[0].astype(np.float32)
    head, base = Head(turn), model.info
    return Adapter("linear", (32, 16), base.fingerprint, base.name, False, head, head, 0)


def test_a_build_stores_vectors_of_the_model_bit_by_bit(model, tmp_path):
    build_index(model, CORPUS, POINT, tmp_path / "index").close()
    canaries = stored(tmp_path / "index")
    assert len(canaries.texts) == MOST_TEXTS
    assert {*canaries.texts} <= {document.content for document in CORPUS.values()}
    assert canaries.precision == "float32"
    made = model.encode(canaries.texts, kind="document")
    assert np.array_equal(canaries.vectors, made)
    with Index.open(tmp_path / "index") as index:
        summary = index.stats().to_json()["canaries"]
        assert (summary["texts"], summary["precision"]) == (MOST_TEXTS, "float32")


def test_no_text_is_encoded_twice_for_canaries(tmp_path):
    model = NestedHashEncoder()
    build_index(model, CORPUS, POINT, tmp_path / "index").close()
    texts = [document.content for document in CORPUS.values()]
    assert sorted(model.times_encoded("document").elements()) == sorted(texts)


def test_the_choice_depends_on_ids_and_not_on_their_order(model, tmp_path):
    build_index(model, CORPUS, POINT, tmp_path / "one").close()
    build_index(model, dict(reversed(CORPUS.items())), POINT, tmp_path / "two").close()
    assert stored(tmp_path / "one").texts == stored(tmp_path / "two").texts
    record_canaries(tmp_path / "two")  # chooses from the stored documents
    assert stored(tmp_path / "one").texts == stored(tmp_path / "two").texts


def test_canaries_survive_changes_of_the_index(model, tmp_path):
    with build_index(model, CORPUS, POINT, tmp_path / "index") as index:
        before = stored(tmp_path / "index")
        index.use("8:int8@20>32:float16")
        index.delete(["d1", "d2"])
        index.add(["new"], ["read csv"])
        index.compact()
    assert stored(tmp_path / "index") == before
    copy_index(tmp_path / "index", tmp_path / "copy").close()
    assert stored(tmp_path / "copy") == before


def test_canaries_of_an_adapted_index_are_those_before_the_adapter(model, tmp_path):
    build_index(model, CORPUS, POINT, tmp_path / "late").close()
    before = stored(tmp_path / "late")
    adapter = make_adapter(model)
    adapt_index(tmp_path / "late", adapter).close()
    assert stored(tmp_path / "late") == before
    build_index(AdaptedEncoder(model, adapter), CORPUS, POINT, tmp_path / "early").close()
    early = stored(tmp_path / "early")
    assert early.texts == before.texts
    assert np.array_equal(early.vectors, before.vectors)
    record_canaries(tmp_path / "early")
    assert np.array_equal(stored(tmp_path / "early").vectors, before.vectors)


def test_another_model_gets_canaries_of_its_own(model, tmp_path):
    build_index(model, CORPUS, POINT, tmp_path / "index").close()
    other = make_model(tmp_path / "other", seed=9)
    reembed(tmp_path / "index", other).close()
    canaries = stored(tmp_path / "index")
    assert np.array_equal(canaries.vectors, other.encode(canaries.texts, kind="document"))


def test_documents_without_a_text_or_a_vector_are_no_canaries(tmp_path):
    corpus = {"a": Document("one"), "b": Document(" "), "c": Document("zero")}
    model = NestedHashEncoder(spoiled={"zero": 0.0})
    build_index(model, corpus, "64:float16", tmp_path / "index").close()
    assert stored(tmp_path / "index").texts == ("one",)


def test_an_index_without_texts_has_no_canaries(tmp_path):
    build_index(NestedHashEncoder(), {}, "64:float16", tmp_path / "index").close()
    assert stored(tmp_path / "index") is None
    with pytest.raises(InvalidArgument, match="all are empty"):
        record_canaries(tmp_path / "index", NestedHashEncoder())
    model = NestedHashEncoder()
    many = [f"text {number}" for number in range(1_000)]
    assert len(record_canaries(tmp_path / "index", model, texts=many).texts) == MOST_TEXTS
    assert sum(model.times_encoded("document").values()) == MOST_TEXTS  # of the chosen ones only


@pytest.mark.parametrize(("dim", "letters"), [(32, 900), (768, 300), (3072, 300), (1024, 20_000)])
def test_wide_models_and_long_texts_fit(dim, letters):
    vectors = (RNG.standard_normal((40, dim)) * 1e6).astype(np.float32)  # no float16 is so large
    texts = [f"{number} " + "ü" * (letters // 6) for number in range(40)]
    canaries = Canaries.pack(texts, vectors)
    assert 1 < len(canaries.texts) <= MOST_TEXTS
    assert len(json.dumps(canaries.to_json())) < MOST_BYTES + 200
    again = Canaries.from_json(json.loads(json.dumps(canaries.to_json())))
    assert again == canaries
    own = vectors[: len(canaries.texts)]
    assert again.cosines(own).min() > 1 - 1e-6
    assert canaries.precision == ("float32" if dim == 32 else "float16")


def test_cosines_are_those_of_numpy():
    canaries = Canaries.pack(["a", "b"], np.array([[3, 4], [0, 2]], np.float32))
    assert canaries.cosines(np.array([[4, 3], [0, 0]], np.float32)) == pytest.approx([0.96, 0])
    with pytest.raises(InvalidArgument, match=r"\[2, 2\], not \[1, 2\]"):
        canaries.cosines(np.ones((1, 2), np.float32))


def test_short_texts_are_preferred(tmp_path):
    corpus = {f"d{n}": Document("long " * 300 + str(n)) for n in range(100)}
    corpus["short"] = Document("short")
    build_index(NestedHashEncoder(), corpus, "64:float16", tmp_path / "index").close()
    assert "short" in stored(tmp_path / "index").texts


def test_a_text_that_is_larger_than_a_manifest_is_left_out(tmp_path, caplog):
    corpus = {"d": Document("word " * 20_000)}
    build_index(NestedHashEncoder(), corpus, "64:float16", tmp_path / "index").close()
    assert stored(tmp_path / "index") is None
    with pytest.raises(InvalidArgument, match="--texts FILE"):
        record_canaries(tmp_path / "index", NestedHashEncoder())
    record_canaries(tmp_path / "index", NestedHashEncoder(), texts=["my own", "", "two"])
    assert {*stored(tmp_path / "index").texts} == {"my own", "two"}
    assert "1 of 3 texts were not stored" in caplog.text
    caplog.clear()
    record_canaries(tmp_path / "index", NestedHashEncoder(), texts=["my own", "two"])
    assert not caplog.text


def test_a_changed_model_makes_no_new_canaries(tmp_path):
    build_index(NestedHashEncoder(), CORPUS, "64:float16", tmp_path / "index").close()
    before = stored(tmp_path / "index")

    class Changed(NestedHashEncoder):
        """The same fingerprint, and other vectors: an API model that changed."""

        def encode(self, texts, **options):
            return super().encode(texts, **options) + 1

    with pytest.raises(ModelMismatch, match="did not make the vectors"):
        record_canaries(tmp_path / "index", Changed())
    assert stored(tmp_path / "index") == before


def test_a_build_that_continues_keeps_the_canaries_of_its_first_batch(tmp_path):
    class Fails(NestedHashEncoder):
        """Fails at the second batch, as an API whose quota ends."""

        def encode(self, texts, **options):
            if self.calls:
                raise RuntimeError("quota")
            return super().encode(texts, **options)

    corpus = {f"d{n}": Document(f"word{n} and others") for n in range(1_030)}
    with pytest.raises(RuntimeError, match="quota"):
        build_index(Fails(), corpus, "64:float16", tmp_path / "index")
    model = NestedHashEncoder()
    build_index(model, corpus, "64:float16", tmp_path / "index").close()
    assert len(model.calls[0][1]) == 6  # the rest of the corpus
    canaries = stored(tmp_path / "index")
    assert len(canaries.texts) == MOST_TEXTS
    assert np.array_equal(canaries.vectors, model.encode(canaries.texts, kind="document"))


def test_an_earlier_manifest_opens_without_canaries(tmp_path):
    info = fake_info()
    build_index(NestedHashEncoder(info), CORPUS, "64:float16", tmp_path / "index").close()
    file = tmp_path / "index" / "manifest.json"
    values = json.loads(file.read_text("utf-8"))
    del values["canaries"], values["sha256"]
    values["sha256"] = manifest._checksum(values)
    file.write_text(json.dumps(values), encoding="utf-8")
    with Index.open(tmp_path / "index", NestedHashEncoder(info)) as index:
        assert index.stats().canaries is None
        assert index.search("read csv", 1).ids
    assert len(record_canaries(tmp_path / "index", NestedHashEncoder(info)).texts) == MOST_TEXTS
