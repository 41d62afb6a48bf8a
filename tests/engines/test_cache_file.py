"""Files that can be made again: whole and of what they say, or known not to be."""

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
def test_what_was_written_is_read(path, n):
    write(path, CONTENT[:n])
    np.testing.assert_array_equal(read_cache(path, "of this"), CONTENT[:n])
    assert path.stat().st_size == 64 + n
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_what_is_read_cannot_be_changed(path):
    write(path)
    with pytest.raises(ValueError, match="read-only"):
        read_cache(path, "of this")[0] = 1


def test_a_file_of_something_else_is_not_taken_for_this(path):
    write(path)
    for label in ("of that", "", "of this "):
        with pytest.raises(DamagedFile, match="is not what was written"):
            read_cache(path, label)


@pytest.mark.parametrize("n", [0, 1, 500])
def test_every_flipped_bit_is_seen(path, n):
    write(path, CONTENT[:n])
    whole = path.read_bytes()
    for at in {*range(64), *range(64, 64 + n, 50), 63 + n}:
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << at % 8
        path.write_bytes(spoilt)
        with pytest.raises(DamagedFile, match="is not what was written"):
            read_cache(path, "of this")
    path.write_bytes(whole)
    read_cache(path, "of this")


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 563, 565, 1000])
def test_another_length_is_seen(path, size):
    write(path)
    os.truncate(path, size)
    with pytest.raises(DamagedFile, match="is not what was written"):
        read_cache(path, "of this")


def test_what_is_not_there_or_no_file_is_said(path):
    with pytest.raises(DamagedFile, match="file: is missing"):
        read_cache(path, "of this")
    path.mkdir(parents=True)
    with pytest.raises(DamagedFile, match="file: cannot be read"):
        read_cache(path, "of this")


def test_a_file_that_could_not_be_filled_leaves_the_old_one(path):
    write(path)

    def fail(room):
        room[0] = 1
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        write_cache(path, "of this", 900, fail)
    np.testing.assert_array_equal(read_cache(path, "of this"), CONTENT)
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_who_has_the_old_file_mapped_keeps_it(path):
    write(path)
    mapped = read_cache(path, "of this")
    write(path, CONTENT[::-1].copy())
    np.testing.assert_array_equal(mapped, CONTENT)
    np.testing.assert_array_equal(read_cache(path, "of this"), CONTENT[::-1])
