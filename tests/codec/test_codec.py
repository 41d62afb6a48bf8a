"""Codes: by hand, against float64 references, and for every precision and odd dim."""

import json

import faiss
import numpy as np
import pytest

from nestvec.codec import codec as codec_module
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import normalize, prefix
from nestvec.codec.quantizer import PRODUCT, QUANTIZERS, SIGN, can_code
from nestvec.errors import InvalidArgument
from nestvec.types import PRECISIONS

ODD_DIMS = (1, 3, 7, 8, 12, 36, 64, 300)
CODABLE = [(dim, precision) for dim in ODD_DIMS for precision in PRECISIONS]
CODABLE = [each for each in CODABLE if can_code(*each)]
FIXED = ("int4", "int2", "binary")  # fixed codebooks, in the rotated space
# Of the rotation of 64 dims: its first values, and its rounded values weighted by position.
EXPECTED_ROTATION = [-0.12361399, 0.02117644, 0.11515091]
EXPECTED_SUM = 19737.963


def vectors(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def codebook(dim, precision):
    """Return the codebook values of one dimension, ascending, from decoded random codes."""
    codec = Codec(dim, precision, False, np.empty(0, np.float32))
    codes = np.random.default_rng(1).integers(0, 256, (256, codec.bytes_per_vector), np.uint8)
    return np.unique(codec.decode(codes))


# Computed by hand


def test_int8_by_hand():
    # Truncated to 2 dims: (.6, .8) and (1, 0). Ranges: .6 to 1 and 0 to .8. The codes are the
    # ends of the ranges. Code c decodes to the middle of part c of 255 (code 255: beyond the end).
    corpus = np.array([[3, 4, 12, 84], [5, 0, 12, 84]], dtype=np.float32)
    codec = Codec.fit(corpus, 2, "int8")
    np.testing.assert_allclose(codec.calibration, [0.6, 0, 0.4, 0.8], rtol=1e-6)
    codes = codec.encode(corpus)
    np.testing.assert_array_equal(codes, [[0, 255], [255, 0]])
    np.testing.assert_allclose(
        codec.decode(codes),
        [
            [0.6 + 0.4 * 0.5 / 255, 0.8 * 255.5 / 255],
            [0.6 + 0.4 * 255.5 / 255, 0.8 * 0.5 / 255],
        ],
        rtol=1e-6,
    )


def test_bits_by_hand(monkeypatch):
    # Without the rotation, each bit is the sign of its dimension, the first dim the lowest bit.
    monkeypatch.setattr(codec_module, "_rotation", lambda dim: np.eye(dim, dtype=np.float32))
    codec = Codec(4, "binary", False, np.empty(0, np.float32))  # without a mean
    query = np.array([[3, -4, 12, -84, 99, 99, 99, 99]], dtype=np.float32)
    codes = codec.encode(query)
    np.testing.assert_array_equal(codes, [[0b0101]])
    decoded = codec.decode(codes)
    np.testing.assert_array_equal(np.sign(decoded), [[1, -1, 1, -1]])
    assert len(np.unique(np.abs(decoded))) == 1
    # A float query with the signs: (3 + 4 + 12 + 84) / 85 times the level.
    level = np.abs(decoded)[0, 0]
    assert (codec.prepare(query) @ decoded.T).item() == pytest.approx(103 / 85 * level, rel=1e-6)


# Codes


def test_codecs_do_not_change_their_input():
    embeddings = vectors(6, 16)
    before = embeddings.copy()
    for precision in PRECISIONS:
        Codec.fit(embeddings, 16, precision).encode(embeddings)
    np.testing.assert_array_equal(embeddings, before)


def test_every_quantizer_is_in_the_installed_faiss():
    for precision in PRECISIONS:
        name = QUANTIZERS[precision].faiss_name
        assert name in (None, PRODUCT, SIGN) or hasattr(faiss.ScalarQuantizer, name), precision


@pytest.mark.parametrize(("dim", "precision"), CODABLE)
def test_bytes_per_vector_is_the_width_of_a_code(dim, precision):
    codec = Codec.fit(vectors(5, 300), dim, precision)
    codes = codec.encode(vectors(4, 300))
    assert codes.dtype == np.uint8
    assert codes.shape == (4, codec.bytes_per_vector)
    bits = {"float32": 32, "float16": 16, "int8": 8, "int4": 4, "int2": 2, "pq4": 2}
    bits |= {"binary": 1, "sign": 1}
    assert codec.bytes_per_vector == int(np.ceil(dim * bits[precision] / 8))
    if precision != "sign":
        assert codec.new_faiss_index().sa_code_size() == codec.bytes_per_vector
    assert codec.decode(codes).shape == (4, dim)


@pytest.mark.parametrize("dim", [d for d in ODD_DIMS if d > 1])
def test_int8_is_within_half_a_step(dim):
    corpus = vectors(200, 300)
    codec = Codec.fit(corpus, dim, "int8")
    steps = codec.calibration[dim:] / 255
    error = np.abs(codec.decode(codec.encode(corpus)) - codec.prepare(corpus))
    assert (error <= steps * 0.5 * (1 + 1e-3) + 1e-7).all()


@pytest.mark.parametrize("dim", ODD_DIMS)
def test_float32_is_kept_and_float16_is_within_half_a_step(dim):
    corpus = vectors(50, 300)
    expected = prefix(corpus, dim)
    codec = Codec.fit(corpus, dim, "float32")
    np.testing.assert_array_equal(codec.decode(codec.encode(corpus)), expected)
    codec = Codec.fit(corpus, dim, "float16")
    steps = np.spacing(np.abs(expected).astype(np.float16)).astype(np.float64)
    error = np.abs(codec.decode(codec.encode(corpus)).astype(np.float64) - expected)
    assert (error <= steps / 2).all()


@pytest.mark.parametrize("precision", FIXED)
@pytest.mark.parametrize("dim", ODD_DIMS)
def test_low_bits_are_the_nearest_of_the_codebook_in_the_rotated_space(dim, precision):
    corpus = vectors(100, 300)
    codec = Codec.fit(corpus, dim, precision)
    values = codebook(dim, precision)
    assert len(values) == 2 ** QUANTIZERS[precision].bits
    residuals = codec.center.residuals(codec.prepare(corpus))
    nearest = np.abs(residuals[..., None] - values).min(axis=-1)
    error = np.abs(codec.decode_quantized(codec.encode(corpus)) - residuals)
    np.testing.assert_allclose(error, nearest, atol=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_equal_a_float64_reference_of_the_formula(precision, layer_norm):
    full_dim, dim = 48, 36
    corpus, queries = vectors(60, full_dim) + 0.3, vectors(7, full_dim, seed=1)
    codec = Codec.fit(corpus, dim, precision, layer_norm=layer_norm)
    scores = codec.prepare(queries) @ codec.decode(codec.encode(corpus)).T

    def prepared(embeddings):
        x = embeddings.astype(np.float64)
        if layer_norm:
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = x[:, :dim]
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x @ codec_module._rotation(dim).astype(np.float64) if precision in FIXED else x

    x, q = prepared(corpus), prepared(queries)
    if precision == "sign":
        x, q = (np.where(each > 0, 1.0, -1.0) for each in (x, q))
        tolerance = 0
    elif precision == "int8":
        low, extent = x.min(0), np.ptp(x, axis=0)
        x = low + extent * (np.floor((x - low) / extent * 255 + 1e-9) + 0.5) / 255
        tolerance = 1e-2 / 255 * dim  # a value on the border of two codes may get either
    elif precision == "pq4":
        centroids = codec.calibration.reshape(18, 16, 2).astype(np.float64)
        pairs = x.reshape(-1, 18, 1, 2)
        nearest = ((pairs - centroids) ** 2).sum(axis=3).argmin(axis=2)
        x = centroids[np.arange(18), nearest].reshape(x.shape)
        tolerance = 1e-6
    elif precision in FIXED:
        values, mean = codebook(dim, precision).astype(np.float64), x.mean(0)
        scale = np.sqrt(((x - mean) ** 2).sum(1).mean())
        residuals = (x - mean) / scale
        decoded = values[np.abs(residuals[..., None] - values).argmin(axis=-1)]
        along = np.outer(decoded @ mean, mean) / (mean @ mean)
        shrinkage = {"int4": 0, "int2": 2 / 3, "binary": 6}[precision]
        weight = max(0, 1 - shrinkage * (mean @ mean))
        x = mean + scale * (decoded - (1 - weight) * along)
        tolerance = 1e-5
    else:
        x = x.astype(np.float16 if precision == "float16" else np.float64)
        tolerance = 1e-4 if precision == "float16" else 1e-6
    np.testing.assert_allclose(scores, q @ x.T.astype(np.float64), atol=tolerance)


def test_a_query_loses_nothing_to_quantization():
    queries = vectors(5, 64)
    for precision in set(PRECISIONS) - {"sign"}:
        codec = Codec.fit(vectors(50, 64), 32, precision)
        prepared = codec.prepare(queries)
        np.testing.assert_allclose(
            prepared @ prepared.T, prefix(queries, 32) @ prefix(queries, 32).T, atol=1e-6
        )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_codec_survives_json_bit_for_bit(precision):
    corpus = vectors(50, 64)
    codec = Codec.fit(corpus, 34, precision, layer_norm=True)
    again = Codec.from_json(json.loads(json.dumps(codec.to_json())))
    assert again.calibration.dtype == np.float32
    assert again.calibration.tobytes() == codec.calibration.tobytes()
    assert (again.dim, again.precision, again.layer_norm) == (34, precision, True)
    fresh = vectors(20, 64, seed=5)
    np.testing.assert_array_equal(again.encode(fresh), codec.encode(fresh))
    np.testing.assert_array_equal(
        again.decode(codec.encode(fresh)), codec.decode(codec.encode(fresh))
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_fitted_codec_encodes_vectors_beyond_its_ranges(precision):
    codec = Codec.fit(np.full((3, 8), 0.5, np.float32) + 1e-3 * vectors(3, 8), 8, precision)
    calibration = codec.calibration.copy()
    outside = vectors(20, 8, seed=2)
    decoded = codec.decode(codec.encode(outside))
    assert np.isfinite(decoded).all()
    np.testing.assert_array_equal(codec.calibration, calibration)
    if precision == "int8":  # clipped at the end of the range
        low, extent = np.split(codec.calibration, 2)
        assert (decoded >= low).all()
        assert (decoded <= low + extent * 256 / 255 + 1e-6).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_vector_is_enough_to_fit(precision):
    corpus = vectors(1, 16)
    codec = Codec.fit(corpus, 16, precision)
    score = (codec.prepare(corpus) @ codec.decode(codec.encode(corpus)).T).item()
    best = 16 if precision == "sign" else 1
    assert score == pytest.approx(best, abs=0.05)  # the vector is the mean of the corpus


def test_equal_vectors_have_equal_codes_in_any_batch():
    corpus = vectors(40, 100)
    for precision in PRECISIONS:
        codec = Codec.fit(corpus, 100, precision)
        np.testing.assert_array_equal(
            codec.encode(np.repeat(corpus[:1], 40, axis=0)),
            np.repeat(codec.encode(corpus)[:1], 40, axis=0),
        )


# Product codes


def test_product_codes_by_hand():
    # Four distinct vectors of two dims, 50 copies each: every corner is one centroid.
    corners = np.array([[3, 4], [-3, 4], [3, -4], [-3, -4]], dtype=np.float32)
    corpus = np.repeat(corners, 50, axis=0)
    codec = Codec.fit(corpus, 2, "pq4")
    assert codec.calibration.shape == (32,)
    np.testing.assert_allclose(codec.decode(codec.encode(corners)), corners / 5, atol=1e-3)


def test_product_codes_of_few_vectors_keep_them_whole():
    # There are at least as many centroids as vectors, so encoding is lossless.
    for n in (1, 3, 15, 16):
        corpus = vectors(n, 8)
        codec = Codec.fit(corpus, 8, "pq4")
        np.testing.assert_array_equal(codec.decode(codec.encode(corpus)), codec.prepare(corpus))


def test_centroids_are_equal_for_any_number_of_threads():
    corpus = vectors(6000, 16)  # FAISS draws a sample of these
    threads = faiss.omp_get_max_threads()
    try:
        calibrations = []
        for number in (1, 2):
            faiss.omp_set_num_threads(number)
            calibrations.append(Codec.fit(corpus, 16, "pq4").calibration)
            assert faiss.omp_get_max_threads() == number
        np.testing.assert_array_equal(*calibrations)
    finally:
        faiss.omp_set_num_threads(threads)


def test_product_codes_lose_less_than_scalar_codes_of_equal_bytes():
    # The two dims of each pair are correlated, as in embeddings of a model.
    corpus = vectors(3000, 32)
    corpus[:, 1::2] += 2 * corpus[:, ::2]
    lost = {}
    for precision in ("pq4", "int2"):
        codec = Codec.fit(corpus, 32, precision)
        errors = codec.decode(codec.encode(corpus)) - codec.prepare(corpus)
        lost[precision] = float((errors**2).sum())
    assert lost["pq4"] < 0.9 * lost["int2"]


def test_product_codes_of_an_odd_dim_raise():
    with pytest.raises(InvalidArgument, match="pq4 encodes dims in pairs, and dim=7 is odd"):
        Codec.fit(vectors(30, 8), 7, "pq4")


# The rotation


@pytest.mark.parametrize("dim", [1, 2, 7, 64, 300])
def test_the_rotation_is_orthogonal(dim):
    rotation = codec_module._rotation(dim).astype(np.float64)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(dim), atol=1e-6)


def test_the_rotation_never_changes():
    # Stored indexes depend on the rotation. If this fails, searches of older indexes return noise.
    rotation = codec_module._rotation(64)
    np.testing.assert_allclose(rotation[0, :3], EXPECTED_ROTATION, atol=1e-6)
    coarse = np.round(rotation.astype(np.float64), 3)
    assert abs(float((coarse * np.arange(4096).reshape(64, 64)).sum()) - EXPECTED_SUM) < 1


# Bad input


def test_a_dim_outside_the_limits_raises():
    corpus = vectors(3, 8)
    for dim, message in (
        (9, "dim=9 is larger than full_dim=8"),
        (0, "dim=0 is"),
        (-1, "dim=-1 is"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            Codec.fit(corpus, dim, "int8")
    with pytest.raises(InvalidArgument, match="dim=9 is larger than full_dim=8"):
        Codec.fit(vectors(3, 9), 9, "int8").prepare(corpus)


def test_one_dimensional_arrays_raise():
    with pytest.raises(InvalidArgument, match=r"shape \(8,\). Pass an array of shape \[n, dim\]"):
        Codec.fit(vectors(1, 8)[0], 4, "float32")


def test_fitting_on_no_vectors_raises_and_encoding_none_returns_none():
    none = np.empty((0, 8), dtype=np.float32)
    for precision in PRECISIONS:
        with pytest.raises(InvalidArgument, match="Cannot fit a codec on 0 vectors"):
            Codec.fit(none, 4, precision)
        codec = Codec.fit(vectors(3, 8), 4, precision)
        assert codec.encode(none).shape == (0, codec.bytes_per_vector)
        assert codec.decode(codec.encode(none)).shape == (0, 4)


def test_codes_of_another_quantizer_or_dim_raise():
    values = Codec.fit(vectors(3, 8), 8, "int8").to_json()
    with pytest.raises(InvalidArgument, match="Codes of QT_6bit cannot be read as int8"):
        Codec.from_json(values | {"quantizer": "QT_6bit"})
    with pytest.raises(InvalidArgument, match="16 calibration values do not match dim=7"):
        Codec.from_json(values | {"dim": 7})


@pytest.mark.parametrize("dim", [1, 2, 3, 8, 36, 300])
@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_stored_vectors_decode_as_their_codes_do(dim, stored):
    many = normalize(vectors(2_000, dim))
    many[7] = 0
    kept = many.astype(stored)
    for width in {dim, dim // 2 or 1}:
        codec = Codec.fit(many, width, "float16")
        expected = codec.decode(codec.encode_stored(kept))
        np.testing.assert_array_equal(codec.decode_stored(kept), expected)
        np.testing.assert_array_equal(codec.decode_stored(kept[:, :width]), expected)
