"""Static training: quality, determinism, and updates of used rows only."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument, NestvecError
from nestvec.train.row_adam import start_workers
from nestvec.train.static import (
    StaticConfig,
    _batches,
    _compute_loss,
    _schedule,
    tokenize,
    train_static,
)

N_CONCEPTS = 300
SMALL = StaticConfig(dims=(32, 8, 4), epochs=20, batch_size=64, learning_rate=0.1)


def synonyms(n=N_CONCEPTS, *, copies=2):
    """Pairs of two words for one concept, each among random words."""
    rng = np.random.default_rng(0)
    filler = [f"filler {word}" for word in "abcdefgh"]
    anchors = [f"ask{i} {rng.choice(filler)}" for i in range(n)] * copies
    positives = [f"answer{i} {rng.choice(filler)}" for i in range(n)] * copies
    return TrainingPairs(anchors, positives, [[] for _ in anchors])


@pytest.fixture(scope="module")
def tokens():
    return tokenize(synonyms(), SMALL)


@pytest.fixture(scope="module")
def model(tokens):
    return train_static(tokens, SMALL)


def found_first(model, tokens, dim):
    """Share of concepts whose positive is the nearest of all at a width."""
    anchors, positives = (
        (side[:N_CONCEPTS] @ model.table)[:, :dim] for side in (tokens.anchors, tokens.positives)
    )
    anchors, positives = (
        side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12)
        for side in (anchors, positives)
    )
    return np.mean((anchors @ positives.T).argmax(axis=1) == np.arange(N_CONCEPTS))


def test_the_trained_model_finds_the_pairs(model, tokens):
    untrained = train_static(tokens, replace(SMALL, epochs=1, learning_rate=1e-9))
    assert found_first(untrained, tokens, 32) < 0.3
    assert found_first(model, tokens, 32) > 0.95


def test_the_loss_falls_at_every_width(model, tokens):
    first = train_static(tokens, replace(SMALL, epochs=1, learning_rate=1e-9)).losses
    assert list(model.losses) == [4, 8, 32]
    for dim, loss in model.losses.items():
        assert loss < first[dim] / 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_matryoshka_beats_the_baseline_at_the_smallest_width(tokens, seed):
    """300 concepts fit in 4 dims, but only if the loss includes these dims."""
    nested = train_static(tokens, replace(SMALL, seed=seed))
    plain = train_static(tokens, replace(SMALL, seed=seed, dims=(32,)))
    assert found_first(nested, tokens, 4) > found_first(plain, tokens, 4) + 0.2
    assert found_first(nested, tokens, 32) > found_first(plain, tokens, 32) - 0.05


def test_the_table_depends_on_the_seed_bit_for_bit(tokens, model):
    again = train_static(tokens, SMALL)
    np.testing.assert_array_equal(again.table, model.table)
    assert again.losses == model.losses
    other = train_static(tokens, replace(SMALL, seed=1))
    assert np.abs(other.table - model.table).max() > 0.1


def test_training_with_bfloat16_products_gives_similar_losses(tokens, model):
    rounded = train_static(tokens, replace(SMALL, bfloat16=True))
    assert rounded.losses != model.losses
    for dim in SMALL.dims:
        assert found_first(rounded, tokens, dim) > found_first(model, tokens, dim) - 0.05


def test_pytorchs_global_random_state_does_not_change(tokens):
    before = torch.get_rng_state()
    train_static(tokens, replace(SMALL, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_uses_each_pair_once_in_a_new_order():
    config = StaticConfig(dims=(8,), batch_size=3, epochs=2)
    batches = list(_batches(10, config, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == 2 * [3, 3, 2, 2]
    epochs = np.concatenate(batches[:4]), np.concatenate(batches[4:])
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(10))
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize("n", [2, 3])
def test_the_batch_size_is_limited_to_the_number_of_pairs(n):
    pairs = tokenize(synonyms(n, copies=1), SMALL)
    steps = []
    train_static(pairs, SMALL, on_progress=lambda *each: steps.append(each))
    assert steps == [(step + 1, SMALL.epochs) for step in range(SMALL.epochs)]


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pairs_are_rejected(n):
    with pytest.raises(InvalidArgument, match=f"at least 2 pairs, but there are {n}"):
        train_static(tokenize(synonyms(n, copies=1), SMALL), SMALL)


def test_empty_texts_are_allowed_and_counted(caplog):
    pairs = synonyms()
    pairs.anchors[5], pairs.positives[9] = "", "  "
    pairs.anchors[7] = pairs.positives[7] = ""
    tokens = tokenize(pairs, SMALL)
    assert tokens.anchors[[5]].nnz == 0
    assert caplog.messages == ["without effect in training: 4 of 1200 texts, which have no token"]
    model = train_static(tokens, SMALL)
    assert np.isfinite(model.table).all()
    assert found_first(model, tokens, 32) > 0.9


def test_shares_are_those_of_a_texts_first_max_tokens():
    pairs = TrainingPairs(["go go home", "home"], ["go", "go home"], [[], []])
    tokens = tokenize(pairs, SMALL)
    go, home = (tokens.tokenizer.token_to_id(word) for word in ("go", "home"))
    np.testing.assert_allclose(tokens.anchors.toarray()[:, [go, home]], [[2 / 3, 1 / 3], [0, 1]])
    truncated = tokenize(pairs, replace(SMALL, max_tokens=2))
    np.testing.assert_allclose(truncated.anchors.toarray()[:, [go, home]], [[1, 0], [0, 1]])


@pytest.mark.parametrize("added", [{}, {"straight_through": "int8", "orthogonality": 1.0}])
def test_loss_and_gradient_do_not_depend_on_the_number_of_threads(added):
    config = replace(SMALL, dims=(8, 4), random_dims=1, **added)
    tokens = tokenize(synonyms(1300, copies=1), config)
    batch = tokens.batch(np.arange(1300))
    table = np.random.default_rng(0).standard_normal((batch.texts.shape[1], 8), dtype=np.float32)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with start_workers() as workers:
            found.append(_compute_loss(batch, table, config.objective(), workers, drawn=(6,)))
    torch.set_num_threads(before)
    np.testing.assert_allclose(found[1].losses, found[0].losses, rtol=1e-5)
    np.testing.assert_allclose(found[1].gradient, found[0].gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "added",
    [
        {"teach": 1.0},
        {"random_dims": 2},
        {"straight_through": "int8"},
        {"straight_through": "binary"},
        {"orthogonality": 1.0},
    ],
)
def test_optional_terms_change_the_table_and_training_still_works(tokens, model, added):
    found = train_static(tokens, replace(SMALL, **added))
    assert list(found.losses) == [4, 8, 32]
    assert found.losses != model.losses
    assert found_first(found, tokens, 32) > 0.95


def test_weights_follow_their_dims_in_any_order(tokens, model):
    short = replace(SMALL, epochs=2)
    found = [
        train_static(tokens, replace(short, dims=dims, weights=weights)).table
        for dims, weights in (((32, 4), (0.0, 1.0)), ((4, 32), (1.0, 0.0)))
    ]
    np.testing.assert_array_equal(*found)
    first = np.random.default_rng(SMALL.seed).standard_normal(model.table.shape, dtype=np.float32)
    assert np.abs(found[0] - first)[:, :4].max() > 0.1
    np.testing.assert_array_equal(found[0][:, 4:], first[:, 4:])  # 32 dims count nothing


def test_an_existing_tokenizer_is_used_without_padding(tokens):
    tokenizer = Tokenizer.from_str(tokens.tokenizer.to_str())
    tokenizer.enable_padding(length=20)
    pairs = synonyms()
    few = TrainingPairs(pairs.anchors[:3], pairs.positives[:3], pairs.negatives[:3])
    taken = tokenize(few, SMALL, tokenizer=tokenizer)
    assert taken.tokenizer is tokenizer
    np.testing.assert_array_equal(taken.anchors.toarray(), tokens.anchors[:3].toarray())


def test_training_continues_from_a_table_of_any_scale(tokens, model):
    brief = replace(SMALL, epochs=1, learning_rate=0.01)
    first = train_static(tokens, brief).losses
    before = model.table.copy()
    found = [
        train_static(tokens, brief, start=scale * np.hstack([model.table, model.table]))
        for scale in (1, 100)
    ]
    assert all(each.losses[32] < first[32] / 2 for each in found)
    np.testing.assert_allclose(found[0].table, found[1].table, atol=1e-2)
    np.testing.assert_array_equal(model.table, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[1:], r"shape \[\d+, 32\]. Pass a table of shape \[\d+, at least 32\]"),
        (lambda table: table[:, 1:], r"shape \[\d+, 31\]. Pass"),
        (lambda table: table[0], r"shape \[32\]. Pass"),
        (lambda table: 0 * table, "all zeros"),
        (lambda table: table + np.inf, "NaN or infinity"),
    ],
)
def test_an_unusable_initial_table_is_rejected(tokens, model, change, message):
    with pytest.raises(InvalidArgument, match=message):
        train_static(tokens, SMALL, start=change(model.table))


def test_vectors_of_unused_tokens_do_not_change(tokens, model):
    first = np.random.default_rng(SMALL.seed).standard_normal(model.table.shape, dtype=np.float32)
    used = np.zeros(len(first), dtype=bool)
    for side in (tokens.anchors, tokens.positives):
        used[side.indices] = True
    assert 0 < used.sum() < len(used)
    np.testing.assert_array_equal(model.table[~used], first[~used])
    assert (np.abs(model.table - first)[used].max(axis=1) > 0).all()


def test_the_learning_rate_rises_and_then_falls_to_almost_zero():
    shares = [_schedule(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == shares[10] == 1
    np.testing.assert_allclose(np.diff(shares[:10]), 0.1)
    np.testing.assert_allclose(np.diff(shares[10:]), -1 / 90)
    assert shares[-1] == pytest.approx(1 / 90)
    assert [_schedule(step, 2) for step in range(2)] == [1, 1]
    assert _schedule(0, 1) == 1


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_a_loss_of_nan_stops_training_and_is_reported_with_the_step(tokens):
    with pytest.raises(NestvecError, match=r"not finite at step [2-9] of 200. Lower learning_rate"):
        train_static(tokens, replace(SMALL, learning_rate=1e38))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": ()}, r"dims \[\] are not valid"),
        (
            {"dims": (8, 0)},
            r"dims \[8, 0\] are not valid. Use one or more distinct widths of at least 1",
        ),
        ({"dims": (8, 8)}, r"dims \[8, 8\] are not valid"),
        ({"epochs": 0}, "epochs=0 is less than 1"),
        ({"vocab_size": 0}, "vocab_size=0 is less than 1"),
        ({"max_tokens": -1}, "max_tokens=-1 is less than 1"),
        ({"batch_size": 1}, "batch_size=1 is less than 2"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is out of range"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is out of range"),
        ({"learning_rate": float("inf")}, "learning_rate=inf is out of range"),
        ({"scale": 0.0}, "scale=0.0 is out of range"),
        ({"scale": -20.0}, "scale=-20.0 is out of range"),
        ({"weights": (1.0,)}, "1 weights for 5 dims"),
        ({"teach": -1.0}, "teach=-1.0 is out of range"),
        ({"dims": (8, 4), "random_dims": 4}, "random_dims=4 is out of range"),
        ({"straight_through": "int4"}, "'int4' is not one of int8, binary"),
        ({"orthogonality": -1.0}, "orthogonality=-1.0 is out of range"),
    ],
)
def test_a_setting_out_of_range_is_rejected(changes, message):
    with pytest.raises(InvalidArgument, match=message):
        StaticConfig(**changes)


def test_the_order_of_widths_does_not_matter(tokens):
    short = replace(SMALL, epochs=2)
    found = [
        train_static(tokens, replace(short, dims=dims)).table for dims in ((4, 8, 32), (32, 4, 8))
    ]
    np.testing.assert_array_equal(*found)
