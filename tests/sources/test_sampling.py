"""Uniform samples of vectors: the same for any order of rows, in memory bounded by the sample."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

import nestvec as nv
from nestvec.curve.sample import DocumentSample, Draw
from nestvec.errors import DataError, InvalidArgument
from nestvec.sources import sampling
from nestvec.sources.load import open_vectors
from nestvec.sources.stream import ANY_COLUMNS
from vector_files import DIM, IDS, VECTORS, N, write_lines


@pytest.fixture
def place(tmp_path):
    write_lines(tmp_path / "v.jsonl")
    return tmp_path / "v.jsonl"


def expected(n, seed):
    def key(id_):
        return hashlib.blake2b(f"{seed}:{id_}".encode(), digest_size=8).digest()

    return sorted(sorted(IDS, key=key)[:n])


@pytest.mark.parametrize("seed", [0, 7])
def test_the_rows_with_the_smallest_hashes_are_the_sample(place, seed):
    found = nv.load_embeddings(place, sample=9, seed=seed)
    assert list(found.ids) == expected(9, seed)
    np.testing.assert_array_equal(found.values, VECTORS[[IDS.index(id_) for id_ in found.ids]])
    assert found.sample == DocumentSample(9, N, seed)


def test_the_order_of_the_rows_does_not_matter(place, tmp_path):
    order = np.random.default_rng(1).permutation(N)
    write_lines(tmp_path / "w.jsonl", [IDS[row] for row in order], VECTORS[order].tolist())
    one, other = (nv.load_embeddings(tmp_path / name, sample=9) for name in ("v.jsonl", "w.jsonl"))
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.values, other.values)


def test_every_row_is_equally_likely(place):
    """400 samples of 10 of 40 rows: each row is in 100 of them, with a deviation of 8.7."""
    drawn = [
        id_ for seed in range(400) for id_ in nv.load_embeddings(place, sample=10, seed=seed).ids
    ]
    counts = np.array([drawn.count(id_) for id_ in IDS])
    assert counts.sum() == 4_000
    assert np.abs(counts - 100).max() < 4 * 8.7


def test_a_larger_sample_is_the_whole_table(place):
    found = nv.load_embeddings(place, sample=N + 1)
    assert sorted(IDS) == found.ids
    assert found.sample == DocumentSample(N, N, 0)


def test_memory_is_bounded_by_the_sample(place, monkeypatch):
    sizes = []
    real = sampling.new_embeddings

    def recorded(n, dim, **options):
        sizes.append((n, dim))
        return real(n, dim, **options)

    monkeypatch.setattr(sampling, "new_embeddings", recorded)
    nv.load_embeddings(place, sample=5)
    assert max(sizes) == (5, DIM)


def test_rows_are_read_once(place):
    stream = open_vectors(place, columns=ANY_COLUMNS)
    reads = []

    def read():
        reads.append(1)
        yield from stream.read()

    sampling.collect_sample(replace(stream, read=read), Draw(5))
    assert len(reads) == 1


def test_row_numbers_are_sampled(tmp_path):
    np.save(tmp_path / "v.npy", VECTORS)
    found = nv.load_embeddings(tmp_path / "v.npy", sample=5)
    np.testing.assert_array_equal(found.values, VECTORS[list(map(int, found.ids))])


def test_a_sampled_id_that_appears_twice_is_an_error(tmp_path):
    write_lines(tmp_path / "v.jsonl", [*IDS, IDS[3]], [*VECTORS.tolist(), [1.0] * DIM])
    with pytest.raises(DataError, match="id 'd3' appears twice"):
        nv.load_embeddings(tmp_path / "v.jsonl", sample=N)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"sample": 0}, "sample=0 is below 1"),
        ({"sample": 2, "seed": -1}, "seed=-1 is outside 0 to"),
    ],
)
def test_other_values_are_refused(place, options, problem):
    with pytest.raises(InvalidArgument, match=problem):
        nv.load_embeddings(place, **options)
