"""Adapting an existing index: no text is encoded, queries are transformed, and undo works."""

from pathlib import Path

import numpy as np
import pytest

from nestvec.engines.embedded.folder import WriterLock
from nestvec.errors import DamagedFile, DataError, InvalidArgument, ModelMismatch
from nestvec.index import adapting as index_adapting
from nestvec.index.adapting import adapt_index, backup_place, undo_adapting
from nestvec.index.building import build_index, reembed
from nestvec.index.index import Index
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.models.adapter_file import save_adapter
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.recipes.adapted_files import apply_adapter
from ten_documents import CORPUS, WORDS, first

POINT = "64:float16"


def make(*, base="f" * 64, method="linear", two_heads=False):
    """Return a random rotation; for queries the same, or its negative to distinguish them."""
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))[0].astype(np.float32)
    head = Head(turn)
    return Adapter(
        method, (64, 16), base, "fake/nested", False, head, Head(-turn) if two_heads else head, 0
    )


@pytest.fixture
def path(tmp_path, model):
    build_index(model, CORPUS, POINT, tmp_path / "index").close()
    model.calls.clear()
    return tmp_path / "index"


def test_stored_vectors_are_transformed_and_no_text_is_encoded(path, model, monkeypatch):
    monkeypatch.setattr(index_adapting, "BLOCK", 4)
    seen = []
    with adapt_index(path, make(), on_progress=lambda *now: seen.append(now)) as index:
        assert model.calls == []
        assert (len(index), str(index.point), seen[-1]) == (10, POINT, (10, 10))
        assert index.get(["d3"]) == {"d3": CORPUS["d3"]}
        assert index.info.adapter == make().digest()


def test_texts_and_vectors_of_the_model_find_the_same_documents_as_before(path, model):
    adapt_index(path, make()).close()
    with Index.open(path, model) as index:
        for number, word in enumerate(WORDS):
            assert first(index, word) == f"d{number}"
        vectors = model.encode(WORDS[:3], kind="query")
        assert [ids[0] for ids in index.search(vectors, 1).ids] == ["d0", "d1", "d2"]
        index.verify()


def test_queries_are_transformed_by_their_own_matrix(path, model):
    adapt_index(path, make(two_heads=True)).close()
    with Index.open(path, model) as index:
        scores = index.search(WORDS, 10).scores
    assert max(row[-1] for row in scores) < 0  # queries are transformed to their opposite


def test_documents_added_later_are_transformed(path, model):
    adapt_index(path, make()).close()
    with Index.open(path, model) as index:
        index.add(["new"], ["unheard unheard of"])
        index.add(["given"], ["x"], embeddings=model.encode(["something given"], kind="document"))
        assert first(index, "unheard") == "new"
        assert first(index, "given") == "given"


def test_another_point_can_be_set_when_adapting(path, model):
    with adapt_index(path, make(), point="16:int8@8>64:float16") as index:
        assert str(index.point) == "16:int8@8>64:float16"
    with pytest.raises(DataError, match="the name of the backup is in use"):
        adapt_index(path, make())


def test_an_index_opened_before_adapting_searches_the_old_vectors_and_changes_nothing(path, model):
    with Index.open(path, model) as opened:
        before = opened.search(WORDS, 3), opened.search(WORDS, 3, point="16:int8")
        adapt_index(path, make(), point="16:int8").close()
        assert (opened.search(WORDS, 3), opened.search(WORDS, 3, point="16:int8")) == before
        with Index.open(backup_place(path), model) as old:  # its codes are built only now
            expected = old.search(WORDS, 3, point="32:int8")
        assert opened.search(WORDS, 3, point="32:int8") == expected
        assert (opened.info.adapter, str(opened.point)) == ("", POINT)
        with pytest.raises(DataError, match="was replaced since it was opened"):
            opened.add(["new"], ["unheard of"])


def test_undoing_restores_the_index(path, model):
    with Index.open(path, model) as index:
        before = index.search(WORDS, 3)
    adapt_index(path, make()).close()
    undo_adapting(path).close()
    assert not Path(backup_place(path)).exists()
    with Index.open(path, model) as index:
        assert index.search(WORDS, 3) == before
        assert index.info.adapter == ""
    with pytest.raises(DataError, match=r"its backup index\.unadapted does not exist"):
        undo_adapting(path)


def test_undoing_is_refused_if_documents_were_added_or_deleted(path, model):
    adapt_index(path, make()).close()
    with Index.open(path, model) as index:
        index.delete(["d1"])
        index.add(["new"], ["unheard unheard of"])
    with pytest.raises(DataError, match="2 documents changed since"):
        undo_adapting(path)
    with Index.open(path, model) as index:
        assert "new" in index


def test_undoing_is_refused_if_a_document_was_changed(path, model):
    adapt_index(path, make()).close()
    with Index.open(path, model) as index:
        index.upsert(["d1"], ["another text"])
    with pytest.raises(DataError, match="1 document changed since"):
        undo_adapting(path)
    with Index.open(path, model) as index:
        assert index.get(["d1"])["d1"].text == "another text"


def test_undoing_restores_the_index_after_a_kill_between_two_renames(path, model):
    path.rename(backup_place(path))
    with pytest.raises(DataError, match=r"adapting this index was interrupted\. Restore"):
        adapt_index(path, make())
    undo_adapting(path).close()
    with Index.open(path, model) as index:
        assert first(index, "csv") == "d2"
    assert not Path(backup_place(path)).exists()


def test_an_index_that_was_replaced_refuses_new_documents(path, model, monkeypatch):
    with Index.open(path, model) as index:
        taken = WriterLock.__init__

        def late(self, folder):
            monkeypatch.setattr(WriterLock, "__init__", taken)
            adapt_index(path, make()).close()
            taken(self, folder)

        monkeypatch.setattr(WriterLock, "__init__", late)
        with pytest.raises(DataError, match="was replaced since it was opened"):
            index.add(["new"], ["unheard of"])
    with Index.open(path, model) as index:
        assert "new" not in index
        index.add(["new"], ["unheard of"])  # the lock is free


def test_undoing_is_refused_after_reembedding_with_another_model(path, model):
    adapt_index(path, make()).close()
    reembed(path, model).close()
    with pytest.raises(DataError, match=r"is not adapted, so index\.unadapted is not its backup"):
        undo_adapting(path)


def test_an_interrupt_leaves_the_index_and_the_next_call_continues(path, model):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt_index(path, make(), on_progress=stop)
    assert not Path(backup_place(path)).exists()
    with Index.open(path, model) as index:
        assert first(index, "csv") == "d2"
    adapt_index(path, make()).close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["index", "index.unadapted"]


def test_adapting_starts_again_if_the_index_changed_since_the_interrupt(path, model):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt_index(path, make(), on_progress=stop)
    with Index.open(path, model) as index:
        index.delete(["d1"])
        index.upsert(["d2"], ["another text"])
    with adapt_index(path, make()) as adapted:
        assert "d1" not in adapted
        assert adapted.get(["d2"])["d2"].text == "another text"


def test_adapters_of_other_models_and_a_second_adapter_are_refused(path):
    other = make(base="0" * 64)
    with pytest.raises(ModelMismatch, match="is not the model that the adapter was fitted on"):
        adapt_index(path, other)
    with pytest.raises(InvalidArgument, match="changes no vector"):
        adapt_index(path, make(method="none"))
    adapt_index(path, make()).close()
    Path(backup_place(path)).rename(path.parent / "elsewhere")
    with pytest.raises(ModelMismatch, match="is adapted already"):
        adapt_index(path, make())


def test_an_index_without_its_adapter_is_refused(path, model):
    adapt_index(path, make()).close()
    file = path / "adapter.safetensors"
    file.rename(path / "away")
    with pytest.raises(DataError, match="cannot be read as an adapter"):
        Index.open(path, model)
    save_adapter(make(two_heads=True), file)
    with pytest.raises(DamagedFile, match="is not the adapter that transformed"):
        Index.open(path, model)


def test_an_index_built_with_an_adapted_encoder_stores_the_adapter(tmp_path, model):
    adapted = AdaptedEncoder(model, make())
    with build_index(adapted, CORPUS, POINT, tmp_path / "index") as index:
        assert first(index, "csv") == "d2"
    with Index.open(tmp_path / "index", model) as index:
        assert first(index, "json") == "d3"
        assert index.info.adapter == make().digest()
    other = AdaptedEncoder(model, make(two_heads=True))
    with pytest.raises(ModelMismatch, match=r"of fake/nested with an adapter .*, not of fake/"):
        Index.open(tmp_path / "index", other)


def test_vectors_of_an_adapted_encoder_are_not_transformed_again(tmp_path, model):
    adapted = AdaptedEncoder(model, make(two_heads=True))
    with build_index(adapted, CORPUS, POINT, tmp_path / "index") as index:
        expected = index.search(WORDS, 3)
        assert index.model is adapted
        assert index.search(adapted.encode(WORDS, kind="query"), 3) == expected
        index.add(["x"], ["x"], embeddings=adapted.encode(["unheard"], kind="document"))
    with Index.open(tmp_path / "index", model) as index:
        index.delete(["x"])
        assert index.search(model.encode(WORDS, kind="query"), 3) == expected
        index.add(["x"], ["x"], embeddings=model.encode(["unheard"], kind="document"))
        scores = index.search(["unheard"], 11).scores
    assert scores[0][-1] == pytest.approx(-1, abs=1e-3)  # the matrix of queries is the opposite


def test_an_index_built_from_adapted_vectors_is_not_adapted_again(tmp_path, model):
    vectors, turned = tmp_path / "vectors", tmp_path / "turned"
    vectors.mkdir()
    texts = [each.content for each in CORPUS.values()]
    save_vectors(list(CORPUS), model.encode(texts, kind="document"), vectors, kind="document")
    apply_adapter(make(base=""), vectors, turned)
    build_index(load_model(turned), CORPUS, POINT, tmp_path / "index").close()
    with pytest.raises(ModelMismatch, match="turned is adapted already"):
        adapt_index(tmp_path / "index", make(base=""))
