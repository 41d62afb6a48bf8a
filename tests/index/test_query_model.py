"""An index whose queries are encoded by another model than its documents."""

import shutil

import numpy as np
import pytest

from fakes import retrieval_set
from nestvec.engines.registry import engine_at
from nestvec.errors import InvalidArgument, ModelError, ModelMismatch
from nestvec.index.adapting import adapt_index
from nestvec.index.building import build_index, count_unfinished
from nestvec.index.index import Index
from nestvec.index.model import load_for_index
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.models.adapter import Adapter, Head
from nestvec.models.encoding import embed_documents
from nestvec.models.load import load_model
from nestvec.models.paired import RecordedEncoder
from nestvec.models.precomputed import save_vectors
from nestvec.planning.budget import Budget
from nestvec.planning.choose import plan
from nestvec.types import Document
from pairs import save_model, save_pair
from ten_documents import CORPUS

POINT = "16:int8@5>32:float16"
QUERY = ["read csv file"]
FINE = Grid(dims=(32, 16), precisions=("float32", "int8"), keeps=(5,), depth=5)


@pytest.fixture
def folders(tmp_path):
    return save_pair(tmp_path)


@pytest.fixture
def path(tmp_path, folders):
    """An index of documents by one model and queries by another."""
    pair = load_model(folders[0], query_model=folders[1], same_space=True)
    build_index(pair, CORPUS, POINT, tmp_path / "index").close()
    return tmp_path / "index"


@pytest.fixture
def vectors(tmp_path, folders):
    folder = tmp_path / "vectors"
    folder.mkdir()
    found = embed_documents(load_model(folders[0]), CORPUS)
    save_vectors(list(CORPUS), found, folder, kind="document")
    return folder


def exact(folder, index):
    """The hits that the documents' own index returns for vectors of a model."""
    return index.search(load_model(folder).encode(QUERY, kind="query"), 5)


def test_queries_are_encoded_by_the_recorded_model(path, folders, caplog):
    with Index.open(path) as index:
        assert index.search(QUERY, 5) == exact(folders[1], index) != exact(folders[0], index)
        assert index.info.query_model.name == str(folders[1])
    assert caplog.messages == []


def test_the_model_of_documents_is_loaded_when_a_document_is_added(path, folders):
    with Index.open(path) as index:
        index.search(QUERY)
        documents = index.model.by_kind["document"]
        assert isinstance(documents, RecordedEncoder)
        assert documents._loaded is None
        index.add(["new"], ["read csv file"])
        expected = load_model(folders[0]).encode(["read csv file"], kind="document")
        found = index.search(expected, 1)
        assert found.scores[0][0] == pytest.approx(1, abs=1e-3)


def test_an_index_is_searched_without_its_model_of_documents(path, folders):
    shutil.rmtree(folders[0])
    with Index.open(path) as index:
        assert index.search(QUERY, 5) == exact(folders[1], index)
        with pytest.raises(ModelError, match=r"large, the model of .* does not exist"):
            index.add(["new"], ["read csv file"])


def test_both_models_are_found_after_they_moved_with_the_index(path, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("large", "nano", "index"):
        shutil.move(tmp_path / name, moved / name)
    with Index.open(moved / "index") as index:
        assert index.search(QUERY, 1).ids
        index.add(["new"], ["read csv file"])


def test_a_changed_model_of_documents_is_refused(path, folders):
    save_model(folders[0], seed=5)
    with Index.open(path) as index:
        index.search(QUERY)
        with pytest.raises(ModelMismatch, match="weights or tokenizer"):
            index.add(["new"], ["read csv file"])


def test_a_changed_query_model_is_reported(path, folders, caplog):
    save_model(folders[1], noise=0.1)
    with Index.open(path) as index:
        index.search(QUERY)
    assert "records that queries are encoded by" in caplog.text


def test_another_query_model_is_used_with_a_warning(path, folders, tmp_path, caplog):
    other = save_model(tmp_path / "other", noise=0.1)
    with pytest.raises(ModelMismatch, match="not known to share a space"):
        load_for_index(None, str(path), query_model=str(other))
    found = load_for_index(None, str(path), query_model=str(other), same_space=True)
    with Index.open(path, found) as index:
        assert index.search(QUERY, 5) == exact(other, index)
    (message,) = caplog.messages
    assert f"encoded by {folders[1]}" in message
    assert f"encoded by {other}" in message


def test_an_index_of_one_model_may_get_a_query_model(tmp_path, folders, caplog):
    build_index(load_model(folders[0]), CORPUS, POINT, tmp_path / "index").close()
    found = load_for_index(
        None, str(tmp_path / "index"), query_model=str(folders[1]), same_space=True
    )
    with Index.open(tmp_path / "index", found) as index:
        assert index.search(QUERY, 5) == exact(folders[1], index)
    assert len(caplog.messages) == 1
    with pytest.raises(InvalidArgument, match="no effect without query_model"):
        load_for_index(None, str(tmp_path / "index"), same_space=True)


def test_the_query_prompt_of_an_index_is_that_of_its_query_model(path, folders, caplog):
    found = load_for_index(None, str(path), prompts={"query": "open "})
    with Index.open(path, found) as index:
        expected = load_model(folders[1], prompts={"query": "open "}).encode(QUERY, kind="query")
        assert index.search(QUERY, 5) == index.search(expected, 5)
    assert "open" in found.info.query_prompt


def test_a_plan_of_another_query_model_is_refused(tmp_path, folders):
    data = retrieval_set(
        {id_: each.text for id_, each in CORPUS.items()},
        {f"q{n}": "write" for n in range(60)},
        {f"q{n}": {"d1": 1} for n in range(60)},
    )
    pair = load_model(folders[0], query_model=folders[1], same_space=True)
    curve = evaluate(pair, data, FINE)
    assert curve.model == pair.info
    chosen = plan(curve, Budget(min_retention=0.5))
    build_index(pair, CORPUS, chosen, tmp_path / "index").close()
    with pytest.raises(ModelMismatch, match=r"query model .*nano.* in the plan, none with"):
        build_index(load_model(folders[0]), CORPUS, chosen, tmp_path / "other")


# Stored vectors


def test_an_index_of_vectors_with_a_query_model_answers_texts(vectors, folders, tmp_path, caplog):
    pair = load_model(vectors, query_model=folders[1], same_space=True)
    build_index(pair, CORPUS, POINT, tmp_path / "index").close()
    shutil.rmtree(vectors)
    with Index.open(tmp_path / "index") as index:
        assert index.search(QUERY, 5) == exact(folders[1], index)
    assert caplog.messages == []


def test_an_index_of_vectors_may_get_a_query_model_later(vectors, folders, tmp_path, caplog):
    build_index(load_model(vectors), CORPUS, POINT, tmp_path / "index").close()
    place = str(tmp_path / "index")
    found = load_for_index(None, place, query_model=str(folders[1]), same_space=True)
    with Index.open(place, found) as index:
        assert index.search(QUERY, 5) == exact(folders[1], index)
    assert caplog.messages == []


def test_stored_queries_and_a_query_model_measure_the_same_documents(vectors, folders):
    queries = {"q1": "read csv file", "q2": "open socket"}
    data = retrieval_set(
        {id_: each.text for id_, each in CORPUS.items()}, queries, {"q1": {"d1": 1}}
    )
    by_model = evaluate(load_model(vectors, query_model=folders[1], same_space=True), data, FINE)
    encoded = load_model(folders[1]).encode(list(queries.values()), kind="query")
    save_vectors(list(queries), encoded, vectors, kind="query")
    stored = evaluate(load_model(vectors), data, FINE)
    metrics = [[row.metrics for row in curve.points] for curve in (by_model, stored)]
    assert metrics[0] == metrics[1]
    assert by_model.model.query_model.name == str(folders[1])
    assert by_model.encode_ms is not None
    assert stored.encode_ms is None


def test_an_adapter_is_applied_to_queries_of_the_query_model(vectors, folders, tmp_path):
    pair = load_model(vectors, query_model=folders[1], same_space=True)
    build_index(pair, CORPUS, POINT, tmp_path / "index").close()
    mixed, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((32, 32)))
    head = Head(mixed.astype(np.float32))
    adapter = Adapter("linear", (16,), "", "", False, head, head, 0)
    with Index.open(tmp_path / "index") as index:
        before = index.search(QUERY, 3, exact=True)
    with adapt_index(tmp_path / "index", adapter) as index:
        # A rotation changes no score at full width, if documents and queries are both rotated.
        after = index.search(QUERY, 3, exact=True)
    assert after.ids == before.ids
    np.testing.assert_allclose(after.scores, before.scores, atol=2e-3)


def test_an_adapted_index_of_a_pair_is_searched_and_changed(path, folders):
    with Index.open(path) as index:
        info, before = index.info, index.search(QUERY, 3, exact=True)
    mixed, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((32, 32)))
    head = Head(mixed.astype(np.float32))
    adapter = Adapter("linear", (16,), info.fingerprint, info.name, False, head, head, 0)
    with adapt_index(path, adapter) as index:
        after = index.search(QUERY, 3, exact=True)
        index.add(["new"], ["read csv file"])
    np.testing.assert_allclose(after.scores, before.scores, atol=2e-3)


def test_recording_a_pair_checks_the_documents_and_keeps_the_query_model(
    vectors, folders, tmp_path, caplog
):
    build_index(load_model(vectors), CORPUS, POINT, tmp_path / "index").close()
    pair = load_model(folders[0], query_model=folders[1], same_space=True)
    with Index.open(tmp_path / "index") as index:
        assert index.record_model(pair) > 0.999
        wrong = load_model(folders[1], query_model=folders[0], same_space=True)
        with pytest.raises(ModelMismatch, match="did not make the vectors"):
            index.record_model(wrong)
    with Index.open(tmp_path / "index") as index:
        assert index.search(QUERY, 5) == exact(folders[1], index)
        index.add(["new"], ["read csv file"])
        assert caplog.messages == []
        index.record_model(folders[0])
    assert "From now on, they are encoded by" in caplog.text


def test_an_interrupted_build_continues_only_with_the_same_query_model(vectors, folders, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        raise Stop

    pair = load_model(vectors, query_model=folders[1], same_space=True)
    corpus = {f"{id_}{n}": each for n in ("",) for id_, each in CORPUS.items()}
    with pytest.raises(Stop):
        build_index(pair, corpus, POINT, tmp_path / "index", on_progress=stop)
    other = load_model(vectors, query_model=folders[0], same_space=True)
    build_index(other, corpus, POINT, tmp_path / "index").close()
    manifest = engine_at(tmp_path / "index").read_manifest(str(tmp_path / "index"))
    assert manifest.model.query_model.name == str(folders[0])
    assert count_unfinished(tmp_path / "index") == 0


def test_documents_of_an_index_of_vectors_cannot_be_added_as_texts(vectors, folders, tmp_path):
    pair = load_model(vectors, query_model=folders[1], same_space=True)
    with build_index(pair, CORPUS, POINT, tmp_path / "index") as index:
        with pytest.raises(Exception, match="no vector"):
            index.add_documents({"new": Document("read csv file")})
        found = load_model(folders[0]).encode(["read csv file"], kind="document")
        index.add(["new"], ["read csv file"], embeddings=found)
        assert "new" in index
