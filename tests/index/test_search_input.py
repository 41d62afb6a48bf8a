"""What an index accepts as queries and vectors, and what its hits show."""

import time

import numpy as np
import pytest
import torch

from nestvec.errors import InvalidArgument
from nestvec.index.arguments import documents_of
from nestvec.models.adapter import Adapter, Head
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.types import Hit
from ten_documents import CORPUS, WORDS


@pytest.fixture
def vectors(model):
    return model.encode(WORDS[:3], kind="query")


@pytest.mark.parametrize(
    "given",
    [
        lambda vectors: vectors.tolist(),
        lambda vectors: tuple(map(tuple, vectors)),
        lambda vectors: list(vectors),
        lambda vectors: vectors.astype(np.float64),
        lambda vectors: torch.from_numpy(vectors),
        lambda vectors: torch.from_numpy(vectors).requires_grad_(),
        lambda vectors: list(torch.from_numpy(vectors)),
    ],
    ids=["lists", "tuples", "list of arrays", "float64", "tensor", "gradient", "list of tensors"],
)
def test_lists_and_tensors_search_as_arrays_do(index, vectors, given):
    assert index.search(given(vectors), 3) == index.search(vectors, 3)


def test_a_bfloat16_tensor_is_accepted(index, vectors):
    rounded = torch.from_numpy(vectors).bfloat16()
    assert index.search(rounded, 3) == index.search(rounded.float().numpy(), 3)


def test_one_vector_is_one_query(index, vectors):
    for one in (vectors[0], vectors[0].tolist(), torch.from_numpy(vectors[0])):
        assert index.search(one, 3) == index.search(vectors[:1], 3)


def test_an_array_of_strings_holds_texts(index):
    assert index.search(np.array(WORDS[:2]), 3) == index.search(WORDS[:2], 3)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (["read", 3], r"queries\[1\] has the type int"),
        ([["read"]], r"queries cannot be read as vectors"),
        ([[1.0], [1.0, 2.0]], r"queries cannot be read as vectors"),
        ({"read": 1}, r"queries cannot be read as vectors \(dict"),
        (None, r"queries cannot be read as vectors \(NoneType"),
    ],
)
def test_queries_of_another_kind_get_one_clear_line(index, queries, message):
    with pytest.raises(InvalidArgument, match=message) as caught:
        index.search(queries, 3)
    assert "\n" not in str(caught.value)


def test_lists_and_tensors_are_added_as_arrays_are(index, model):
    (vector,) = model.encode(["new words"], kind="document")
    index.add(["list"], ["new words"], embeddings=[vector.tolist()])
    index.add(["tensor"], ["new words"], embeddings=torch.from_numpy(vector[None]))
    found = index.search(["new words"], 2)
    assert set(found.ids[0]) == {"list", "tensor"}
    assert found.scores[0][0] == found.scores[0][1]


def test_hits_give_id_score_text_title_and_metadata(index):
    found = index.search(WORDS[:2], 3)
    assert len(found) == 2
    for query, hits in enumerate(found):
        assert hits == found[query]
        assert [hit.id for hit in hits] == found.ids[query]
        for hit, score in zip(hits, found.scores[query], strict=True):
            document = CORPUS[hit.id]
            assert hit == Hit(hit.id, score, document.text, document.title, document.metadata)


def test_a_hit_that_was_deleted_since_has_no_text(index):
    found = index.search(["read"], 1)
    (id_,) = found.ids[0]
    index.delete([id_])
    assert found[0] == [Hit(id_, found.scores[0][0], "", "", {})]


def test_a_duplicate_among_many_ids_is_reported_at_once():
    ids = [str(number) for number in range(400_000)]
    start = time.perf_counter()
    with pytest.raises(InvalidArgument, match="id '399999' is repeated"):
        documents_of([*ids, "399999"], None, titles=None, metadata=None)
    assert time.perf_counter() - start < 5  # 50 minutes where the time grows with the square


def test_an_adapter_and_saved_vectors_accept_tensors_and_lists(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32)
    head = Head(np.eye(4, dtype=np.float32)[::-1].copy())
    adapter = Adapter("linear", (4,), "", "", False, head, head, 0)
    expected = adapter.apply(vectors, "document")
    for number, given in enumerate((vectors.tolist(), torch.from_numpy(vectors))):
        np.testing.assert_array_equal(adapter.apply(given, "document"), expected)
        save_vectors(["a", "b", "c"], given, tmp_path / str(number), kind="document")
        loaded = load_model(tmp_path / str(number))
        np.testing.assert_array_equal(loaded.take(["a", "b", "c"], kind="document"), vectors)
