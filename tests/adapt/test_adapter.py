"""Adaptors: what they make of vectors, what they are for, and that a file gives them back."""

import numpy as np
import pytest

from fakes import fake_info
from nestvec.codec.prefix import prefix
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.models import adapter as module
from nestvec.models.adapter import Head, adapted_info
from nestvec.models.adapter_file import load_adaptor, save_adaptor

RNG = np.random.default_rng(1)
WIDTH = 16
VECTORS = (3 * RNG.standard_normal((40, WIDTH))).astype(np.float32)
MATRIX, OTHER = RNG.standard_normal((2, WIDTH, WIDTH)).astype(np.float32)


def mlp():
    inner, outer = RNG.standard_normal((2, WIDTH, WIDTH)).astype(np.float32)
    return Head(MATRIX, inner, np.ones(WIDTH, np.float32), outer)


def test_a_linear_head_multiplies_unit_vectors(make_adaptor):
    expected = prefix(VECTORS, WIDTH) @ MATRIX
    np.testing.assert_allclose(make_adaptor(MATRIX).apply(VECTORS, "document"), expected, rtol=1e-5)


def test_queries_go_through_their_own_head_where_there_is_one(make_adaptor):
    adaptor = make_adaptor(MATRIX, OTHER)
    expected = prefix(VECTORS, WIDTH) @ OTHER
    np.testing.assert_allclose(adaptor.apply(VECTORS, "query"), expected, rtol=1e-5)
    assert not np.allclose(adaptor.apply(VECTORS, "document"), expected)


def test_an_mlp_adds_its_hidden_layer_and_zero_stays_zero(make_adaptor):
    head = mlp()
    vectors = np.vstack([VECTORS[:2], np.zeros((1, WIDTH), np.float32)])
    unit = prefix(vectors, WIDTH)
    expected = unit @ MATRIX + np.maximum(unit @ head.inner + 1, 0) @ head.outer
    found = make_adaptor(head, method="mlp").apply(vectors, "document")
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-4)
    assert not found[2].any()


@pytest.mark.parametrize("head", [Head(MATRIX), mlp()], ids=["linear", "mlp"])
def test_a_matrix_comes_after_a_head(head):
    unit = prefix(VECTORS, WIDTH)
    np.testing.assert_allclose(head.then(OTHER)(unit), head(unit) @ OTHER, rtol=1e-3, atol=1e-4)


def test_blocks_give_the_same_as_all_at_once(make_adaptor, monkeypatch):
    whole = make_adaptor(MATRIX).apply(VECTORS, "document")
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_allclose(
        make_adaptor(MATRIX).apply(VECTORS, "document"), whole, rtol=1e-5, atol=1e-6
    )


def test_layer_normalisation_comes_first(make_adaptor):
    expected = prefix(VECTORS, WIDTH, layer_norm=True) @ MATRIX
    found = make_adaptor(MATRIX, layer_norm=True).apply(VECTORS, "document")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_none_leaves_vectors_and_the_model_as_they_are(make_adaptor):
    adaptor = make_adaptor(np.eye(WIDTH, dtype=np.float32), method="none")
    np.testing.assert_array_equal(adaptor.apply(VECTORS, "query"), VECTORS)
    info = fake_info(full_dim=WIDTH, dims=(WIDTH,))
    assert adapted_info(info, adaptor) == info


def test_vectors_of_another_width_are_refused(make_adaptor):
    with pytest.raises(InvalidArgument, match=r"shape \[2, 8\], adaptor for 16 dims"):
        make_adaptor(MATRIX).apply(np.ones((2, 8), np.float32), "query")


def test_the_digest_is_of_what_decides_vectors(make_adaptor):
    digest = make_adaptor(MATRIX).digest()
    assert digest == make_adaptor(MATRIX.copy(), dims=(4,), base="b").digest()
    changed = MATRIX.copy()
    changed[3, 3] += 1e-4
    others = [
        make_adaptor(changed),
        make_adaptor(MATRIX, OTHER),
        make_adaptor(MATRIX, layer_norm=True),
        make_adaptor(mlp(), method="mlp"),
    ]
    assert digest not in {each.digest() for each in others}


def test_an_adapted_model_is_another_model(make_adaptor):
    info = fake_info(full_dim=WIDTH, dims=(WIDTH,), layer_norm=True)
    found = adapted_info(info, make_adaptor(MATRIX, layer_norm=True))
    assert found.fingerprint != info.fingerprint
    assert found.fingerprint != adapted_info(info, make_adaptor(OTHER, layer_norm=True)).fingerprint
    assert (found.dims, found.dims_source, found.layer_norm) == ((16, 8, 4), "adaptor", False)
    assert found.adaptor == make_adaptor(MATRIX, layer_norm=True).digest()


def test_dims_that_were_asked_for_stay(make_adaptor):
    info = fake_info(full_dim=WIDTH, dims=(WIDTH, 8), dims_source="asked for")
    found = adapted_info(info, make_adaptor(MATRIX))
    assert (found.dims, found.dims_trained) == ((16, 8), True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"full_dim": 32}, "has 32 dims, the adaptor is for 16"),
        ({"fingerprint": "0" * 64}, "is not the model that the adaptor was fitted on"),
        ({"layer_norm": True}, "the model, but not the adaptor, layer-normalises"),
        ({"adaptor": "a"}, "is adapted already"),
    ],
)
def test_another_model_is_refused(make_adaptor, changes, message):
    info = fake_info(**{"full_dim": WIDTH, "dims": (WIDTH,)} | changes)
    with pytest.raises(ModelMismatch, match=message):
        adapted_info(info, make_adaptor(MATRIX, base="f" * 64))


def test_of_vectors_of_no_known_model_only_the_width_is_checked(make_adaptor):
    adapted_info(fake_info(full_dim=WIDTH, dims=(WIDTH,)), make_adaptor(MATRIX, base=""))


def test_only_one_matrix_is_given_as_one(make_adaptor):
    np.testing.assert_array_equal(make_adaptor(MATRIX).matrix(), MATRIX)
    for adaptor, why in ((make_adaptor(MATRIX, OTHER), "a head of its own"),
                         (make_adaptor(mlp(), method="mlp"), "not linear")):  # fmt: skip
        with pytest.raises(InvalidArgument, match=why):
            adaptor.matrix()


@pytest.mark.parametrize("kind", ["linear", "two heads", "mlp"])
def test_a_file_gives_back_what_was_written(make_adaptor, tmp_path, kind):
    adaptor = {
        "linear": make_adaptor(MATRIX),
        "two heads": make_adaptor(MATRIX, OTHER),
        "mlp": make_adaptor(mlp(), method="mlp", base="f", layer_norm=True),
    }[kind]
    path = tmp_path / "adaptor.safetensors"
    save_adaptor(adaptor, path)
    found = load_adaptor(path)
    np.testing.assert_array_equal(found.apply(VECTORS, "query"), adaptor.apply(VECTORS, "query"))
    for name in ("method", "dims", "base", "base_name", "layer_norm", "seed", "fitted"):
        assert getattr(found, name) == getattr(adaptor, name)
    assert found.two_heads == adaptor.two_heads
