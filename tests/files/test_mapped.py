"""Arrays mapped from files."""

import numpy as np
import pytest

from nestvec.files import mapped
from nestvec.files.mapped import map_array


@pytest.mark.parametrize("scattered", [False, True])
def test_mapped_rows_stay_valid_after_the_file_is_deleted(tmp_path, scattered):
    rows = np.arange(6, dtype=np.float16).reshape(3, 2)
    path = tmp_path / "rows"
    path.write_bytes(b"head" + rows.tobytes() + b"rest")
    with path.open("rb") as file:
        array = map_array(file, "float16", (3, 2), at=4, scattered=scattered)
    path.unlink()
    np.testing.assert_array_equal(array, rows)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_rows_are_prefetched(tmp_path, monkeypatch):
    path = tmp_path / "rows"
    rows = np.arange(4096, dtype=np.float32).reshape(4, 1024)  # each row is one page long
    path.write_bytes(b"12345678" + rows.tobytes())
    prefetched = []

    class Memory(mapped.mmap.mmap):
        def madvise(self, option, start=0, length=None):
            if option == mapped.mmap.MADV_WILLNEED:
                prefetched.append((start, length))

    monkeypatch.setattr(mapped.mmap, "mmap", Memory)
    with path.open("rb") as file:
        array = mapped.map_array(file, "float32", (4, 1024), at=8)
    mapped.prefetch(array, np.array([2, 0]))
    assert prefetched == [(8192, 4096 + 8), (0, 4096 + 8)]


def test_only_mapped_arrays_can_be_prefetched():
    with pytest.raises(TypeError, match="not mapped"):
        mapped.prefetch(np.zeros((2, 2)), np.array([0]))
