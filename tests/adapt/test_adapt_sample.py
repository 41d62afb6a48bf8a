"""The sample of an adapter: checked, then split so that no vector is in both parts."""

import numpy as np
import pytest

from nestvec.adapt.sample import Sample, check_vectors, split_sample, unit_vectors
from nestvec.errors import InvalidArgument

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((400, 8)).astype(np.float32)
NO_QUERIES = np.empty((0, 8), np.float32)


def test_vectors_come_out_at_unit_length_and_zeros_stay():
    given = np.vstack([VECTORS, np.zeros((2, 8), np.float32)])
    found = check_vectors(given)
    np.testing.assert_allclose(np.linalg.norm(found[:-2], axis=1), 1, rtol=1e-5)
    assert not found[-2:].any()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (VECTORS[:31], "31 nonzero vectors: an adapter for 8 dims needs at least 32"),
        (np.vstack([VECTORS[:31], np.zeros((9, 8), np.float32)]), "31 nonzero vectors"),
        (
            np.repeat(VECTORS[:100], 3, axis=0),
            "200 of 300 vectors are duplicates, more than 50",
        ),
        (np.where(np.arange(400)[:, None] == 7, np.nan, VECTORS), "Vector 7 contains NaN"),
        (VECTORS[0], r"shape \[8\]"),
    ],
)
def test_unusable_vectors_are_rejected(vectors, message):
    with pytest.raises(InvalidArgument, match=message):
        check_vectors(vectors.astype(np.float32))


def test_half_of_the_vectors_may_be_duplicates():
    check_vectors(np.repeat(VECTORS[:100], 2, axis=0))


def test_a_fifth_is_held_out_and_shares_no_vector():
    split = split_sample(Sample(unit_vectors(VECTORS), NO_QUERIES), seed=0)
    fitted, held = ({row.tobytes() for row in each.documents} for each in
                    (split.fitted, split.held_out))  # fmt: skip
    assert (len(fitted), len(held)) == (320, 80)
    assert not fitted & held
    assert split.document_queries.tolist() == list(range(80))


def test_relevant_documents_of_held_out_queries_are_held_out():
    rows = [np.array([number, 399 - number]) for number in range(100)]
    sample = Sample(unit_vectors(VECTORS), unit_vectors(VECTORS[:100] + 1), tuple(rows))
    split = split_sample(sample, seed=3)
    assert len(split.held_out.queries) == 20
    assert len(split.document_queries) > 20  # used for nearest@10, as the queries are few
    known = {row.tobytes(): number for number, row in enumerate(sample.documents)}
    known_queries = {row.tobytes(): number for number, row in enumerate(sample.queries)}
    for of in (split.fitted, split.held_out):
        for query, positives in zip(of.queries, of.positives, strict=True):
            number = known_queries[query.tobytes()]
            answers = {known[of.documents[row].tobytes()] for row in positives}
            assert answers <= {number, 399 - number}
            if of is split.held_out:
                assert len(answers) == 2


def test_labels_do_not_hold_out_more_than_a_fifth():
    rows = tuple(np.array([number % 400]) for number in range(3000))
    queries = unit_vectors(np.repeat(VECTORS, 8, axis=0)[:3000] + 1)
    split = split_sample(Sample(unit_vectors(VECTORS), queries, rows), seed=0)
    assert len(split.fitted.documents) == 320
    assert all(len(answers) == 1 for answers in split.held_out.positives)
    assert 500 <= len(split.held_out.queries) <= 600


def test_queries_without_labels_are_not_held_out():
    rows = tuple(np.array([number] if number < 100 else [], int) for number in range(400))
    split = split_sample(Sample(unit_vectors(VECTORS), unit_vectors(VECTORS + 1), rows), seed=0)
    assert len(split.held_out.positives) == 80
    assert all(len(answers) == 1 for answers in split.held_out.positives)


def test_equal_documents_stay_together():
    vectors = unit_vectors(np.repeat(VECTORS[:200], 2, axis=0))
    split = split_sample(Sample(vectors, NO_QUERIES), seed=0)
    fitted, held = ({row.tobytes() for row in each.documents} for each in
                    (split.fitted, split.held_out))  # fmt: skip
    assert fitted
    assert held
    assert not fitted & held


def test_labels_of_too_few_queries_are_ignored_with_a_warning(caplog):
    rows = tuple(np.array([number]) for number in range(99))
    sample = Sample(unit_vectors(VECTORS), unit_vectors(VECTORS[:99] + 1), rows)
    assert not split_sample(sample, seed=0).fitted.labeled
    assert "labels are ignored: 99 labeled queries are fewer than the 100" in caplog.text


def test_the_split_depends_on_the_seed():
    sample = Sample(unit_vectors(VECTORS), NO_QUERIES)
    one, two, other = (split_sample(sample, seed=seed).held_out.documents for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
