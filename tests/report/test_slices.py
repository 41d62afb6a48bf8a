from dataclasses import replace

import numpy as np
import pytest

from nestvec.report.slices import LEAST_QUERIES, slice_fields
from nestvec.types import OperatingPoint

POINT = OperatingPoint.parse("64:float32")


def test_each_slice_has_its_own_retention_and_a_bound_below_it(rich):
    curve = rich["Matryoshka"]
    (field,) = slice_fields(curve, POINT, "ndcg@10")
    assert field.field == "language"
    assert {row.value: row.n_queries for row in field.rows} == {"en": 500, "fr": 1495}
    for row in field.rows:
        inside = curve.scores.slices["language"] == row.value
        cheap, full = (
            curve.per_query("ndcg@10", point)[inside] for point in (POINT, curve.full.point)
        )
        assert row.retention == pytest.approx(cheap.mean() / full.mean())
        assert 0.5 < row.at_least < row.retention


def test_slices_with_few_queries_or_no_answers_are_named_and_not_evaluated(rich):
    curve = rich["Matryoshka"]
    assert slice_fields(curve, POINT, "ndcg@10")[0].not_evaluated == ("de",)

    values = np.full(curve.scores.query_ids.shape, "rest", dtype="<U10")
    values[: LEAST_QUERIES - 1], values[100:200] = "few", "unanswered"
    scores = {"ndcg@10": curve.scores.metrics["ndcg@10"].copy()}
    scores["ndcg@10"][:, 100:200] = 0
    changed = replace(curve.scores, metrics=scores, slices={"topic": values})
    (field,) = slice_fields(replace(curve, scores=changed), POINT, "ndcg@10")
    assert [row.value for row in field.rows] == ["rest"]
    assert field.not_evaluated == ("few", "unanswered")


def test_metric_without_a_value_for_each_query_has_no_slices(rich):
    assert slice_fields(rich["Matryoshka"], POINT, "v_measure") == ()
