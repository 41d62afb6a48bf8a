"""An index of one's own vectors: the model that made them is recorded once, after a check."""

import json

import numpy as np
import pytest
from test_adapting_an_index import make as make_adapter
from test_text_index import WORDS, make_model

from nestvec.errors import InvalidArgument, ModelError, ModelMismatch
from nestvec.index.adapting import adapt_index
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.models.adapter import Adapter, Head
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.serve.served import load_served
from nestvec.types import Document

QUERY = "read csv read csv read csv"
POINT = "16:binary@8>32:int8"
PROMPTS = {"query": "open ", "document": "table "}
CORPUS = {
    f"d{number}": Document(f"{first} {second}", metadata={"n": number})
    for number, (first, second) in enumerate(zip(WORDS[1:], [*WORDS[3:], *WORDS[1:3]], strict=True))
}


@pytest.fixture
def model(tmp_path):
    make_model(tmp_path / "model")
    return load_model(tmp_path / "model", prompts=PROMPTS)


@pytest.fixture
def path(tmp_path, model):
    """An index of vectors that another program made with the model and its document prompt."""
    texts = [document.content for document in CORPUS.values()]
    made = model.encode(texts, kind="document")
    save_vectors(list(CORPUS), made, tmp_path / "vectors", kind="document")
    build_index(load_model(tmp_path / "vectors"), CORPUS, POINT, tmp_path / "index").close()
    return tmp_path / "index"


def test_an_index_of_vectors_names_the_command_that_records_a_model(path, model):
    with Index.open(path) as index, pytest.raises(ModelError, match=rf"index model {path} MODEL"):
        index.search("json")
    with pytest.raises(
        ModelMismatch, match=rf"record the model: nestvec index model {path} \S*/model"
    ):
        Index.open(path, model)


def test_a_recorded_model_encodes_queries_and_documents_with_its_prompts(path, model):
    with Index.open(path) as index:
        before = index.info
        assert index.record_model(model) > 0.999
        assert index.search(QUERY, 1).ids == [["d0"]]
    with Index.open(path) as index:  # loads the recorded model, with the recorded prompts
        assert (index.model.info.query_prompt, index.model.info.document_prompt) == (
            "open ",
            "table ",
        )
        found = index.search(QUERY, 3)
        assert found.ids[0][0] == "d0"
        query = model.encode([QUERY], kind="query")
        assert index.search(query, 3) == found
        index.add(["new"], ["socket socket"])
        assert index.search("socket socket", 1).ids == [["new"]]
        assert index.info == before  # plans and curves of the vectors remain valid
        assert index.stats().encoder.document_prompt == "table "
        assert index.stats().to_json()["encoder"]["pooling"] == "mean"
        index.verify()
    served = load_served([path])
    assert served.model is not None
    assert served.index.search(QUERY, 3) == Index.open(path).search(QUERY, 3)
    served.close()


def test_the_model_is_still_recorded_after_changes_of_the_index(path, model):
    with Index.open(path) as index:
        index.record_model(model)
        index.use("32:int8")
        index.delete(["d3"])
        index.compact()
    with Index.open(path) as index:
        assert index.search(QUERY, 1).ids == [["d0"]]


def test_an_open_index_uses_a_model_that_another_process_recorded(path, model):
    with Index.open(path) as early:
        with Index.open(path) as index:
            index.record_model(model)
        early.search(np.ones((1, 32), dtype=np.float32))  # reads the last commit
        assert early.search(QUERY, 1).ids == [["d0"]]


@pytest.mark.parametrize("prompts", [{}, {"document": "read "}])
def test_a_wrong_document_prompt_is_refused_with_the_lowest_cosine(path, tmp_path, prompts):
    other = load_model(tmp_path / "model", prompts=prompts)
    with Index.open(path) as index:
        with pytest.raises(ModelMismatch, match=r"lowest cosine of 9 documents is .*prompts"):
            index.record_model(other)
        with pytest.raises(ModelError, match="records no model"):
            index.search("json")
    assert "encoder" not in json.loads((path / "manifest.json").read_text())


def test_another_model_another_width_and_vectors_are_refused(path, tmp_path, model):
    with Index.open(path) as index:
        with pytest.raises(ModelMismatch, match="did not make the vectors"):
            index.record_model(make_model(tmp_path / "other", seed=1))
        with pytest.raises(InvalidArgument, match="contains vectors, so it cannot encode"):
            index.record_model(tmp_path / "vectors")
        narrow = tmp_path / "narrow"
        save_vectors(list(CORPUS), np.ones((9, 8), dtype=np.float32), narrow, kind="document")
        build_index(load_model(narrow), CORPUS, "8:int8", tmp_path / "narrow-index").close()
    with (
        Index.open(tmp_path / "narrow-index") as index,
        pytest.raises(ModelMismatch, match=r"has 32 dims, but the vectors .* have 8 dims"),
    ):
        index.record_model(model)


def test_an_index_without_texts_is_refused_with_the_reason(path, tmp_path, model):
    blank = {id_: Document("") for id_ in CORPUS}
    build_index(load_model(tmp_path / "vectors"), blank, POINT, path).close()
    with (
        Index.open(path) as index,
        pytest.raises(InvalidArgument, match=r"none of 9 documents of .* has a text"),
    ):
        index.record_model(model)


@pytest.mark.parametrize("fitted_on", ["vectors", "model"])
def test_an_adapted_index_of_vectors_applies_its_adapter_to_the_recorded_model(
    path, model, fitted_on
):
    made = make_adapter()
    matrix, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((32, 32)))
    head = Head(matrix.astype(np.float32))
    adapter = Adapter(
        method=made.method,
        dims=(32, 16),
        base=model.info.fingerprint if fitted_on == "model" else "",
        base_name=fitted_on,
        layer_norm=False,
        documents=head,
        queries=head,
        seed=0,
    )
    with Index.open(path) as index:
        index.record_model(model)
        plain = index.search(QUERY, 3, exact=True)
    adapt_index(path, adapter).close()
    with Index.open(path) as index:
        found = index.search(QUERY, 3, exact=True)
        assert found.ids == plain.ids  # an orthogonal matrix changes no score
        np.testing.assert_allclose(found.scores, plain.scores, atol=1e-3)
        assert index.record_model(model) > 0.999  # compared through the adapter
    with load_served([path]).index as index:
        assert index.search(QUERY, 3, exact=True).ids == plain.ids
