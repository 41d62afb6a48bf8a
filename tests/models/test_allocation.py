import errno
import os

import numpy as np
import pytest

from nestvec.errors import DataError
from nestvec.files import mapped as allocation
from nestvec.files.mapped import new_embeddings
from nestvec.models.encoding import embed
from nestvec.models.load import load_model


def test_small_results_lie_in_memory():
    got = new_embeddings(3, 4)
    assert type(got) is np.ndarray
    assert (got.shape, got.dtype) == ((3, 4), np.float32)


def test_large_results_lie_in_a_file_that_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(allocation, "IN_MEMORY_BYTES", 47)
    folder = tmp_path / "cache"
    got = new_embeddings(3, 4, folder=folder)
    assert isinstance(got, np.memmap)
    assert (got.shape, got.dtype) == ((3, 4), np.float32)
    got[:] = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(got[[2, 0]], [[8, 9, 10, 11], [0, 1, 2, 3]])
    assert os.name == "nt" or list(folder.iterdir()) == []


def test_a_full_disk_raises_before_any_text_is_encoded(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(allocation, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match=r"cannot store 2\.0 GB of embeddings \(.*No space left"):
        new_embeddings(1_000_000, 500, folder=tmp_path)


def test_models_give_the_same_in_a_file_as_in_memory(static_folder, monkeypatch):
    model, texts = load_model(static_folder), ["read a csv", "what is nested"]
    expected = embed(model, ["1", "2"], texts, kind="query")
    monkeypatch.setattr(allocation, "IN_MEMORY_BYTES", 0)
    np.testing.assert_array_equal(embed(model, ["1", "2"], texts, kind="query"), expected)
