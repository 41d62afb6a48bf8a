"""Batches by tokens: every text once, a limited number of tokens, and the same vectors."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nestvec.models.load import load_model
from nestvec.models.token_batches import encode_batches, token_batches


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 1_000))
def test_each_text_is_in_one_batch_and_batches_are_limited(lengths, tokens):
    batches = token_batches(lengths, tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(1, *(lengths[row] for row in batch), 1)
        assert len(batch) == 1 or len(batch) * longest <= tokens


def test_texts_of_equal_length_stay_in_order_and_long_texts_come_first():
    batches = token_batches([2, 5, 2, 5, 2], 10)
    assert [batch.tolist() for batch in batches] == [[1, 3], [0, 2, 4]]


@pytest.fixture
def bert(bert_folder):
    return load_model(bert_folder, device="cpu")


def test_vectors_do_not_depend_on_batches_or_threads(bert, monkeypatch):
    from nestvec.models import transformer

    texts = [f"{'read a csv ' * (n % 5)}file" for n in range(50)]
    alone = np.stack([bert.encode(text, kind="query") for text in texts])
    monkeypatch.setattr(transformer, "_TOKENS", {True: 40})
    monkeypatch.setattr(transformer, "_WINDOW", 20)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = bert.encode(texts, kind="query")
        assert torch.get_num_threads() == 3
        torch.set_num_threads(1)
        one = bert.encode(texts, kind="query")
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(several, one)
    np.testing.assert_allclose(several, alone, atol=1e-6)


def test_progress_counts_each_text(bert, monkeypatch):
    from nestvec.models import transformer

    monkeypatch.setattr(transformer, "_TOKENS", {True: 20})
    seen = []
    bert.encode(["read csv"] * 20, kind="query", on_progress=lambda *each: seen.append(each))
    assert len(seen) > 1 and seen == sorted(seen) and seen[-1] == (20, 20)


def test_truncated_texts_are_counted_with_the_vectors(bert):
    texts = ["csv " * 40, "csv", "read " * 20]
    vectors, truncated = bert.encode_counted(texts, kind="query")
    assert truncated == bert.count_truncated(texts, kind="query") == 2
    np.testing.assert_array_equal(vectors, bert.encode(texts, kind="query"))


def test_an_interrupt_ends_waiting_batches():
    encoded = []

    def encode(rows):
        encoded.append(rows)
        if len(encoded) == 1:
            raise KeyboardInterrupt
        return np.zeros((len(rows), 2), np.float32)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        batches = [np.array([row]) for row in range(1_000)]
        with pytest.raises(KeyboardInterrupt):
            list(encode_batches(encode, batches, on_cpu=True))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert len(encoded) < 1_000
