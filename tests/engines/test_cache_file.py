"""Cache files: a file is read if it is complete and has the expected label, else refused."""

import os

import numpy as np
import pytest

from nestvec.engines.embedded.checksums import read_cache, write_cache
from nestvec.errors import DamagedFile, DataError

CONTENT = np.random.default_rng(0).integers(0, 256, 500).astype(np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "file"


def write(path, content=CONTENT, label="of this"):
    write_cache(path, label, len(content), lambda room: np.copyto(room, content))


@pytest.mark.parametrize("n", [0, 1, 500])
def test_read_cache_returns_the_written_content(path, n):
    write(path, CONTENT[:n])
    np.testing.assert_array_equal(read_cache(path, "of this"), CONTENT[:n])
    assert path.stat().st_size == 64 + n
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_the_returned_content_is_read_only(path):
    write(path)
    with pytest.raises(ValueError, match="read-only"):
        read_cache(path, "of this")[0] = 1


def test_a_file_with_another_label_is_refused(path):
    write(path)
    for label in ("of that", "", "of this "):
        with pytest.raises(DamagedFile, match="differs from what was written"):
            read_cache(path, label)


@pytest.mark.parametrize("n", [0, 1, 500])
def test_every_flipped_bit_is_detected(path, n):
    write(path, CONTENT[:n])
    whole = path.read_bytes()
    for at in {*range(64), *range(64, 64 + n, 50), 63 + n}:
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << at % 8
        path.write_bytes(spoilt)
        with pytest.raises(DamagedFile, match="differs from what was written"):
            read_cache(path, "of this")
    path.write_bytes(whole)
    read_cache(path, "of this")


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 563, 565, 1000])
def test_another_file_length_is_detected(path, size):
    write(path)
    os.truncate(path, size)
    with pytest.raises(DamagedFile, match="differs from what was written"):
        read_cache(path, "of this")


def test_a_missing_file_and_a_folder_are_refused(path):
    with pytest.raises(DamagedFile, match="file: is missing"):
        read_cache(path, "of this")
    path.mkdir(parents=True)
    with pytest.raises(DamagedFile, match="file: cannot be read"):
        read_cache(path, "of this")


def test_a_failed_write_leaves_the_old_file(path):
    write(path)

    def fail(room):
        room[0] = 1
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        write_cache(path, "of this", 900, fail)
    np.testing.assert_array_equal(read_cache(path, "of this"), CONTENT)
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_mapped_file_is_unchanged_when_it_is_replaced(path):
    write(path)
    mapped = read_cache(path, "of this")
    write(path, CONTENT[::-1].copy())
    np.testing.assert_array_equal(mapped, CONTENT)
    np.testing.assert_array_equal(read_cache(path, "of this"), CONTENT[::-1])
