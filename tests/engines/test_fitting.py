"""The width of an approximate search: the smallest that retains enough."""

import numpy as np
import pytest

from nestvec.engines.fitting import K, fit, queries_between
from nestvec.types import Hits, OperatingPoint

POINT = OperatingPoint.parse("8:float32")
IDS = [[f"{query}-{rank}" for rank in range(K)] for query in range(20)]
EXPECTED = Hits(IDS, [[0.0] * K] * 20)


def missing(n):
    """Results in which the first ``n`` queries have lost a document."""
    ids = [["other", *found[1:]] if row < n else found for row, found in enumerate(IDS)]
    return Hits(ids, EXPECTED.scores)


def test_the_smallest_width_that_retains_99_percent_is_chosen(caplog):
    tried = []

    def search(width):
        tried.append(width)
        return missing({10: 20, 20: 2, 40: 0}[width])

    fitted = fit(POINT, [10, 20, 40], search, EXPECTED)
    assert (fitted.width, fitted.overlap) == (20, pytest.approx(0.99))
    assert tried == [10, 20]  # larger widths are not searched
    assert fitted.settings("ef_search") == {"ef_search": 20, "overlap@10": 0.99}
    assert not caplog.records


def test_the_largest_width_is_used_with_a_warning_if_none_retains_enough(caplog):
    fitted = fit(POINT, [10, 20], lambda width: missing(10), EXPECTED)
    assert (fitted.width, fitted.overlap) == (20, pytest.approx(0.95))
    assert "8:float32: the index finds 95.0 % of the best 10 documents" in caplog.text
    assert "the largest width 20" in caplog.text


@pytest.mark.parametrize("few", [Hits([["a"], []], [[1.0], []]), Hits([[]], [[]])])
def test_fewer_documents_than_results_can_be_retained_completely(few):
    assert fit(POINT, [10, 20], lambda width: few, few) == (10, 1.0)


def test_queries_lie_between_documents():
    documents = np.eye(4, dtype=np.float32)
    queries = queries_between(documents)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-6)
    assert (queries @ documents.T).max() == pytest.approx(np.sqrt(0.5))
