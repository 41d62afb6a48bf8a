"""Fast-scan: codes are stored bit for bit, and rounding errors are as computed."""

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.engines.flat import fast_scan
from nestvec.errors import UnsupportedLibrary

FAST_SCANNED = ("int4", "int2", "binary", "pq4")


def made(n, dim, precision):
    """Codes of vectors whose first dims vary more, so that the value ranges of tables differ."""
    corpus = np.random.default_rng(0).standard_normal((n, dim)).astype(np.float32)
    corpus *= np.linspace(2, 0.2, dim, dtype=np.float32)
    codec = Codec.fit(corpus, dim, precision)
    return codec, codec.encode(corpus)


@pytest.mark.parametrize("precision", FAST_SCANNED)
@pytest.mark.parametrize("dim", [8, 24, 64, 136])
def test_product_codes_are_the_scalar_codes_bit_for_bit(dim, precision):
    codec, codes = made(77, dim, precision)
    index = fast_scan.product_index(codec)
    decoded = codec.decode_quantized(codes)
    np.testing.assert_array_equal(index.sa_decode(codes), decoded)
    np.testing.assert_array_equal(index.sa_encode(decoded), codes)


@pytest.mark.parametrize("precision", FAST_SCANNED)
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("n", "dim"), [(1, 8), (31, 24), (32, 64), (33, 64), (200, 136)])
def test_codes_are_read_back_bit_for_bit(n, dim, cached, precision, monkeypatch):
    monkeypatch.setattr(fast_scan, "_CACHED_BYTES", 2**24 if cached else 0)
    codec, codes = made(n, dim, precision)
    index = fast_scan.fast_scan_index(codec, codes)
    packed = fast_scan.packed_codes(index)
    rows = np.random.default_rng(1).permutation(n)
    np.testing.assert_array_equal(fast_scan.unpack(packed, rows), codes[rows])
    assert np.shares_memory(packed, fast_scan.packed_codes(index))


def test_centroids_equal_the_fitted_centroids():
    codec, _ = made(100, 24, "pq4")
    fitted = codec.calibration.reshape(12, 16, 2)
    np.testing.assert_array_equal(fast_scan.centroids(codec), fitted)


def test_spans_of_a_query_do_not_depend_on_the_batch(monkeypatch):
    codec, _ = made(100, 24, "pq4")
    queries = np.random.default_rng(2).standard_normal((7, 24)).astype(np.float32)
    together = fast_scan.rounding_deviation(queries, fast_scan.centroids(codec))
    monkeypatch.setattr(fast_scan, "_QUERIES", 3)
    np.testing.assert_allclose(
        fast_scan.rounding_deviation(queries, fast_scan.centroids(codec)), together, rtol=1e-6
    )


def test_only_codes_of_whole_bytes_are_supported():
    fitting = {("binary", 8), ("binary", 64), ("int2", 4), ("int2", 64), ("int4", 2), ("int4", 64)}
    fitting |= {("pq4", 4), ("pq4", 64)}
    others = {("binary", 7), ("binary", 12), ("int2", 3), ("int2", 6), ("int4", 1), ("int8", 64)}
    others |= {("pq4", 2), ("pq4", 6)}
    for precision, dim in fitting | others:
        codec = made(3, dim, precision)[0]
        assert fast_scan.is_supported(codec) == ((precision, dim) in fitting), (precision, dim)


@pytest.mark.parametrize(
    ("dim", "precision"),
    [
        (64, "binary"),
        (96, "int2"),
        (512, "int4"),
        (1024, "int4"),
        (64, "pq4"),
        (512, "pq4"),
    ],
)
def test_rounding_errors_match_the_computed_deviation(dim, precision):
    # 1,024 dims at int4 are bound by the 16 bits of the sum, the others by the 8 of a table.
    codec, codes = made(2000, dim, precision)
    index = fast_scan.fast_scan_index(codec, codes)
    queries = np.random.default_rng(1).standard_normal((10, dim)).astype(np.float32)
    queries = np.ascontiguousarray(codec.prepare(queries))
    rounded, rows = index.search(queries, 1500)
    exact = np.take_along_axis(queries @ codec.decode_quantized(codes).T, rows, axis=1)
    deviation = fast_scan.rounding_deviation(queries, fast_scan.centroids(codec))
    errors = (rounded - exact) / deviation[:, None]
    assert 0.9 < errors.std() < 1.1
    assert np.abs(errors).max() < 6


def test_another_layout_of_packed_codes_is_refused(monkeypatch):
    fast_scan.check_layout.cache_clear()
    monkeypatch.setattr(fast_scan, "_LANE", np.arange(16))  # as if FAISS had another order
    with pytest.raises(UnsupportedLibrary, match=r"faiss [\d.]+ packs codes in a way"):
        fast_scan.check_layout()
    monkeypatch.undo()
    fast_scan.check_layout()
