import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from nestvec.models.vector_store import VectorStore

DIM = 8


def keys(*words):
    return [hashlib.sha256(word.encode()).digest() for word in words]


def vectors(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def fill(store, wanted):
    out = np.full((len(wanted), DIM), 9, dtype=np.float32)
    return store.fill(wanted, out), out


@pytest.fixture
def store(tmp_path):
    store = VectorStore(tmp_path, DIM)
    store.add(keys("a", "b", "c"), vectors(3))
    return store


@pytest.mark.parametrize("again", [False, True])
def test_what_was_added_is_found_by_this_and_by_a_later_process(store, tmp_path, again):
    store = VectorStore(tmp_path, DIM) if again else store
    missing, out = fill(store, keys("c", "x", "a", "c"))
    assert missing == [1]
    np.testing.assert_array_equal(out[[0, 2, 3]], vectors(3)[[2, 0, 2]])
    assert (out[1] == 9).all()


def test_a_folder_that_does_not_exist_holds_nothing_and_is_not_made(tmp_path):
    missing, _ = fill(VectorStore(tmp_path / "none", DIM), keys("a"))
    assert missing == [0]
    assert not (tmp_path / "none").exists()


def test_shards_that_others_write_meanwhile_are_found(store, tmp_path):
    VectorStore(tmp_path, DIM).add(keys("d"), vectors(1, seed=1))
    missing, out = fill(store, keys("a", "d"))
    assert missing == []
    np.testing.assert_array_equal(out[1], vectors(1, seed=1)[0])


def test_the_same_key_in_two_shards_does_no_harm(store, tmp_path):
    store.add(keys("b"), vectors(3)[[1]])
    missing, out = fill(VectorStore(tmp_path, DIM), keys("a", "b", "c"))
    assert missing == []
    np.testing.assert_array_equal(out, vectors(3))


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


DAMAGES = {
    "a byte of the sum": lambda content: flip(content, 3),
    "a byte of a vector": lambda content: flip(content, len(content) - 5),
    "the end is missing": lambda content: content[:-10],
    "a vector is missing": lambda content: content[: -4 * DIM - 32],
    "the vectors are missing": lambda content: content[: 4 * 32],
    "something was appended": lambda content: content + b"0" * (4 * DIM + 32),
    "nothing is there": lambda content: b"",
    "another file": lambda content: b"PK\x03\x04 something else",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("again", [False, True])
def test_a_damaged_shard_is_reported_and_deleted(store, tmp_path, caplog, damage, again):
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    store = VectorStore(tmp_path, DIM) if again else store
    with caplog.at_level(logging.WARNING):
        missing, out = fill(store, keys("a", "b", "c"))
    assert missing == [0, 1, 2]
    assert (out == 9).all()
    assert caplog.text.count("cannot be used (its ") == 1
    assert not file.exists()
    store.add(keys("a", "b", "c"), vectors(3))
    assert fill(VectorStore(tmp_path, DIM), keys("a", "b", "c"))[0] == []


def test_whatever_byte_is_damaged_no_other_vector_is_served(store, tmp_path):
    (file,) = tmp_path.iterdir()
    content, names = file.read_bytes(), keys("a", "b", "c")
    for position in range(len(content)):
        file.write_bytes(flip(content, position))
        missing, out = fill(VectorStore(tmp_path, DIM), names)
        assert missing == [0, 1, 2]
        assert (out == 9).all()


def test_vectors_of_another_width_are_damage(store, tmp_path):
    assert VectorStore(tmp_path, DIM + 1).fill(keys("a"), np.empty((1, DIM + 1))) == [0]


def test_a_shard_that_somebody_deletes_is_encoded_again_without_a_word(store, tmp_path, caplog):
    store.add(keys("d"), vectors(1, seed=1))
    for file in tmp_path.iterdir():
        file.unlink()
    missing, _ = fill(store, keys("a", "b", "d"))
    assert missing == [0, 1, 2]
    assert not caplog.text


def test_a_shard_that_may_not_be_read_is_left_to_who_may(store, tmp_path, caplog, monkeypatch):
    def refuse(self, *_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert fill(store, keys("a"))[0] == [0]
    assert "Permission denied" in caplog.text
    assert len(list(tmp_path.iterdir())) == 1
