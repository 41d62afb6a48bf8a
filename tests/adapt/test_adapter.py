"""Adapters: what they make of vectors, what they are for, and that a file gives them back."""

import numpy as np
import pytest

from fakes import fake_info
from nestvec.codec.prefix import prefix
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.models import adapter as module
from nestvec.models.adapter import Head, adapted_info
from nestvec.models.adapter_file import load_adapter, save_adapter

RNG = np.random.default_rng(1)
WIDTH = 16
VECTORS = (3 * RNG.standard_normal((40, WIDTH))).astype(np.float32)
MATRIX, OTHER = RNG.standard_normal((2, WIDTH, WIDTH)).astype(np.float32)


def mlp():
    inner, outer = RNG.standard_normal((2, WIDTH, WIDTH)).astype(np.float32)
    return Head(MATRIX, inner, np.ones(WIDTH, np.float32), outer)


def test_a_linear_head_multiplies_unit_vectors(make_adapter):
    expected = prefix(VECTORS, WIDTH) @ MATRIX
    np.testing.assert_allclose(make_adapter(MATRIX).apply(VECTORS, "document"), expected, rtol=1e-5)


def test_queries_go_through_their_own_head_where_there_is_one(make_adapter):
    adapter = make_adapter(MATRIX, OTHER)
    expected = prefix(VECTORS, WIDTH) @ OTHER
    np.testing.assert_allclose(adapter.apply(VECTORS, "query"), expected, rtol=1e-5)
    assert not np.allclose(adapter.apply(VECTORS, "document"), expected)


def test_an_mlp_adds_its_hidden_layer_and_zero_stays_zero(make_adapter):
    head = mlp()
    vectors = np.vstack([VECTORS[:2], np.zeros((1, WIDTH), np.float32)])
    unit = prefix(vectors, WIDTH)
    expected = unit @ MATRIX + np.maximum(unit @ head.inner + 1, 0) @ head.outer
    found = make_adapter(head, method="mlp").apply(vectors, "document")
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-4)
    assert not found[2].any()


@pytest.mark.parametrize("head", [Head(MATRIX), mlp()], ids=["linear", "mlp"])
def test_a_matrix_comes_after_a_head(head):
    unit = prefix(VECTORS, WIDTH)
    np.testing.assert_allclose(head.then(OTHER)(unit), head(unit) @ OTHER, rtol=1e-3, atol=1e-4)


def test_blocks_give_the_same_as_all_at_once(make_adapter, monkeypatch):
    whole = make_adapter(MATRIX).apply(VECTORS, "document")
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_allclose(
        make_adapter(MATRIX).apply(VECTORS, "document"), whole, rtol=1e-5, atol=1e-6
    )


def test_layer_normalization_comes_first(make_adapter):
    expected = prefix(VECTORS, WIDTH, layer_norm=True) @ MATRIX
    found = make_adapter(MATRIX, layer_norm=True).apply(VECTORS, "document")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_none_leaves_vectors_and_the_model_as_they_are(make_adapter):
    adapter = make_adapter(np.eye(WIDTH, dtype=np.float32), method="none")
    np.testing.assert_array_equal(adapter.apply(VECTORS, "query"), VECTORS)
    info = fake_info(full_dim=WIDTH, dims=(WIDTH,))
    assert adapted_info(info, adapter) == info


def test_vectors_of_another_width_are_refused(make_adapter):
    with pytest.raises(InvalidArgument, match=r"shape \[2, 8\]\. The adapter requires \[n, 16\]"):
        make_adapter(MATRIX).apply(np.ones((2, 8), np.float32), "query")


def test_the_digest_is_of_what_decides_vectors(make_adapter):
    digest = make_adapter(MATRIX).digest()
    assert digest == make_adapter(MATRIX.copy(), dims=(4,), base="b").digest()
    changed = MATRIX.copy()
    changed[3, 3] += 1e-4
    others = [
        make_adapter(changed),
        make_adapter(MATRIX, OTHER),
        make_adapter(MATRIX, layer_norm=True),
        make_adapter(mlp(), method="mlp"),
    ]
    assert digest not in {each.digest() for each in others}


def test_an_adapted_model_is_another_model(make_adapter):
    info = fake_info(full_dim=WIDTH, dims=(WIDTH,), layer_norm=True)
    found = adapted_info(info, make_adapter(MATRIX, layer_norm=True))
    assert found.fingerprint != info.fingerprint
    assert found.fingerprint != adapted_info(info, make_adapter(OTHER, layer_norm=True)).fingerprint
    assert (found.dims, found.dims_source, found.layer_norm) == ((16, 8, 4), "adapter", False)
    assert found.adapter == make_adapter(MATRIX, layer_norm=True).digest()


def test_dims_that_were_asked_for_stay(make_adapter):
    info = fake_info(full_dim=WIDTH, dims=(WIDTH, 8), dims_source="requested")
    found = adapted_info(info, make_adapter(MATRIX))
    assert (found.dims, found.dims_trained) == ((16, 8), True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"full_dim": 32}, "has 32 dims, but the adapter has 16"),
        ({"fingerprint": "0" * 64}, "is not the model that the adapter was fitted on"),
        ({"layer_norm": True}, "the model, but not the adapter uses layer"),
        ({"adapter": "a"}, "is adapted already"),
    ],
)
def test_another_model_is_refused(make_adapter, changes, message):
    info = fake_info(**{"full_dim": WIDTH, "dims": (WIDTH,)} | changes)
    with pytest.raises(ModelMismatch, match=message):
        adapted_info(info, make_adapter(MATRIX, base="f" * 64))


def test_of_vectors_of_no_known_model_only_the_width_is_checked(make_adapter):
    adapted_info(fake_info(full_dim=WIDTH, dims=(WIDTH,)), make_adapter(MATRIX, base=""))


def test_only_one_matrix_is_given_as_one(make_adapter):
    np.testing.assert_array_equal(make_adapter(MATRIX).matrix(), MATRIX)
    for adapter, why in ((make_adapter(MATRIX, OTHER), "a separate head"),
                         (make_adapter(mlp(), method="mlp"), "not linear")):  # fmt: skip
        with pytest.raises(InvalidArgument, match=why):
            adapter.matrix()


@pytest.mark.parametrize("kind", ["linear", "two heads", "mlp"])
def test_a_file_gives_back_what_was_written(make_adapter, tmp_path, kind):
    adapter = {
        "linear": make_adapter(MATRIX),
        "two heads": make_adapter(MATRIX, OTHER),
        "mlp": make_adapter(mlp(), method="mlp", base="f", layer_norm=True),
    }[kind]
    path = tmp_path / "adapter.safetensors"
    save_adapter(adapter, path)
    found = load_adapter(path)
    np.testing.assert_array_equal(found.apply(VECTORS, "query"), adapter.apply(VECTORS, "query"))
    for name in ("method", "dims", "base", "base_name", "layer_norm", "seed", "fitted"):
        assert getattr(found, name) == getattr(adapter, name)
    assert found.two_heads == adapter.two_heads
