"""Plans: error rate of the verdict, cost of the choice, reasons, limits and files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nestvec.curve.curve import Curve
from nestvec.curve.point import Cost, CurvePoint
from nestvec.curve.query_scores import QueryScores
from nestvec.errors import DataError, InvalidArgument
from nestvec.planning.budget import Budget
from nestvec.planning.choose import Plan, plan
from nestvec.types import ModelInfo, OperatingPoint
from nestvec.wording import percent_at_least

FULL = "512:float32"
GAINS = np.append(1 / np.log2(np.arange(10) + 2), 0.0)

# Point, bytes in memory, bytes on disk, retention.
FUNNEL = (
    (FULL, 2048, 0, 1.0),
    ("512:int8", 512, 0, 1.0),
    ("512:int4", 256, 0, 0.999),
    ("256:int4", 128, 0, 0.978),
    ("256:binary", 32, 0, 0.9),
    ("256:binary@200>512:int8", 32, 512, 0.998),
    ("256:binary@200>512:int4", 32, 256, 0.997),
    ("128:binary", 16, 0, 0.82),
    ("128:binary@200>512:int8", 16, 512, 0.991),
    ("64:binary@200>512:int8", 8, 512, 0.96),
    ("32:binary@200>512:int8", 4, 512, 0.8),
)
BORDER = tuple((point, ram, disk, min(kept, 0.98)) for point, ram, disk, kept in FUNNEL[1:])


def make_curve(n, seed, rows=FUNNEL):
    """Draw the scores of n queries; a query lost at one point is lost at worse points."""
    rng = np.random.default_rng(seed)
    full = GAINS[rng.integers(0, 11, n)]
    luck = rng.random(n)
    rows = {name: (ram, disk, kept) for name, ram, disk, kept in (FUNNEL[0], *rows)}
    scores = np.stack([full * (luck < kept) for _, _, kept in rows.values()])
    means = scores.mean(axis=1).tolist()
    points = tuple(
        CurvePoint(
            OperatingPoint.parse(name),
            {"ndcg@10": mean},
            {"ndcg@10": mean / means[0]},
            Cost(ram, disk, 200.0 * disk, 0.1, 0.5, 1.0 + disk / 1000, 1.5, 900.0),
        )
        for (name, (ram, disk, _)), mean in zip(rows.items(), means, strict=True)
    )
    ids = np.array([f"q{number}" for number in range(n)])
    return Curve(
        model=ModelInfo("a-model", "f00d", 512, (512, 256, 128, 64, 32), "config.json", True),
        dataset={"name": "made", "split": "test", "n_documents": 46254, "n_queries": n},
        machine={},
        points=points,
        scores=QueryScores(
            ids, {"ndcg@10": scores}, np.array(["d"]), np.zeros((len(points), n, 1), np.int32)
        ),
        encode_ms=0.1,
    )


def test_chooses_the_cheapest_point_that_meets_the_target():
    chosen = plan(make_curve(8000, seed=1))
    assert chosen.confirmed
    assert str(chosen.point) == "128:binary@200>512:int8"
    assert 0.98 == chosen.at_least < chosen.kept == chosen.retention < 0.995
    assert (chosen.queries_ordering, chosen.queries_tested) == (4000, 4000)


def test_less_disk_breaks_a_tie_of_memory_if_that_is_safe():
    rows = tuple(row for row in FUNNEL if row[1] >= 32)
    assert str(plan(make_curve(8000, seed=1, rows=rows)).point) == "256:binary@200>512:int4"


def test_false_confirmations_are_as_rare_as_the_confidence_requires():
    """All points retain 98 % or less, so confirming a target just above is always false."""
    trials, confidence = 150, 0.9
    budget = Budget(min_retention=0.9801, confidence=confidence)
    false = sum(
        plan(make_curve(800, seed, BORDER), budget, seed=seed).confirmed for seed in range(trials)
    )
    assert false / trials <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / trials)


def test_points_below_the_target_are_confirmed_as_rarely_as_the_confidence_requires():
    true = {name: kept for name, _, _, kept in FUNNEL}
    trials, false = 100, 0
    for seed in range(trials):
        chosen = plan(make_curve(1500, seed), Budget(confidence=0.9), seed=seed)
        false += chosen.confirmed and true[str(chosen.point)] < 0.98
    assert false / trials <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / trials)


def test_confirms_nearly_always_if_good_points_exist():
    """Testing only the point chosen by its estimate would succeed in a third of trials."""
    plans = [plan(make_curve(2000, seed), seed=seed) for seed in range(60)]
    assert np.mean([chosen.confirmed for chosen in plans]) >= 0.97
    assert np.mean([chosen.row.cost.ram_bytes_per_vector <= 32 for chosen in plans]) >= 0.9


def test_unconfirmed_plan_names_the_safest_point_and_the_queries_needed():
    chosen = plan(make_curve(150, seed=2))
    assert not chosen.confirmed
    assert chosen.point != OperatingPoint.parse(FULL)
    assert chosen.at_least < 0.98
    assert any("The curve has 150 queries, " in reason for reason in chosen.reasons)
    assert "NOT CONFIRMED" in str(chosen)


def test_unconfirmed_plan_reports_that_more_queries_would_not_help():
    rows = tuple((point, ram, disk, kept * 0.9) for point, ram, disk, kept in FUNNEL[1:])
    chosen = plan(make_curve(500, seed=2, rows=rows))
    assert not chosen.confirmed
    assert any("More queries would not help" in reason for reason in chosen.reasons)


def test_a_point_that_never_differs_is_confirmed_with_enough_queries_only():
    same = (("512:float16", 1024, 0, 1.0),)
    assert plan(make_curve(2000, seed=0, rows=same)).confirmed
    assert not plan(make_curve(100, seed=0, rows=same)).confirmed


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_split():
    curve = make_curve(2000, seed=3)
    assert plan(curve, seed=5) == plan(curve, seed=5)
    assert plan(curve, seed=5).retention != plan(curve, seed=6).retention


def test_limits_are_kept():
    curve = make_curve(4000, seed=1)
    for budget in (Budget(max_disk_bytes_per_vector=0), Budget(max_p95_ms=1.2)):
        assert str(plan(curve, budget).point) == "512:int4"


def test_a_plan_on_an_older_curve_explains_its_disk_sizes_and_times():
    curve = make_curve(8000, seed=1)
    _, cost, *_ = plan(replace(curve, version=2)).reasons
    assert "count only the bytes read for rescoring, and its times do not include" in cost
    _, cost, *_ = plan(curve).reasons
    assert "older" not in cost


def test_reasons_report_quality_cost_and_the_rejected_points():
    chosen = plan(make_curve(8000, seed=1))
    text = str(chosen)
    assert text.startswith("128:binary@200>512:int8  CONFIRMED\n")
    assert max(map(len, text.splitlines())) <= 80
    quality, memory, cheaper, narrower, not_rescored, unmeasured, reused = chosen.reasons
    assert "with 95 % confidence, on 4,000 queries not used to choose" in quality
    assert "16 B in memory and 512 B on disk (full precision: 2,048 B" in memory
    assert "64:binary@200>512:int8 (8 B in memory)" in cheaper
    assert "With fewer than 128 dims in stage 1, the best point retains" in narrower
    assert "Without rescoring, 128:binary retains" in not_rescored
    assert "more than 46,254 documents" in unmeasured
    assert "tested on the same held-out half of the queries (seed 0)" in reused


def test_a_bound_is_never_rounded_up_to_the_target():
    assert percent_at_least(0.97999) == "97.9 %"
    assert percent_at_least(0.98) == "98.0 %"


def test_no_candidate_names_the_limits():
    curve = make_curve(200, seed=0)
    with pytest.raises(InvalidArgument, match=r"p95_ms <= 0.5 \(lowest measured: 1\)"):
        plan(curve, Budget(max_p95_ms=0.5))
    with pytest.raises(InvalidArgument, match="needs less memory than full precision"):
        plan(make_curve(200, seed=0, rows=()))


def test_curves_that_cannot_be_planned_are_rejected():
    with pytest.raises(InvalidArgument, match="'recall@10' was not measured"):
        plan(make_curve(200, seed=0), Budget(metric="recall@10"))
    with pytest.raises(InvalidArgument, match="n_queries=1 is too few"):
        plan(make_curve(1, seed=0))
    curve = make_curve(20, seed=0)
    curve.scores.metrics["ndcg@10"][:] = 0
    with pytest.raises(InvalidArgument, match="retention is undefined"):
        plan(curve)


@pytest.mark.parametrize(
    "bad",
    [
        {"min_retention": 0},
        {"min_retention": 1.2},
        {"confidence": 1.0},
        {"min_retention": 0.9, "max_drop": 0.1},
        {"max_drop": float("nan")},
        {"min_overlap": 1.1},
        {"min_slice_retention": 1.0},
        {"minimize": "money"},
        {"max_ram_bytes_per_vector": -1},
        {"max_p95_ms": -1.0},
        {"max_disk_bytes_per_vector": float("nan")},
    ],
)
def test_a_bad_budget_is_rejected(bad):
    with pytest.raises(InvalidArgument):
        Budget(**bad)


def test_a_plan_comes_back_from_its_file(tmp_path):
    chosen = plan(make_curve(2000, seed=1), Budget(max_p95_ms=9.0), seed=4)
    chosen.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == chosen


def test_files_that_are_no_plan_are_named(tmp_path):
    path = tmp_path / "plan.json"
    with pytest.raises(DataError, match="cannot be read"):
        Plan.load(path)
    path.write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        Plan.load(path)
    path.write_text('{"version": 99}')
    with pytest.raises(DataError, match="not a plan of version 2"):
        Plan.load(path)
    plan(make_curve(200, seed=1)).save(path)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in values.items() if k != "row"}))
    with pytest.raises(DataError, match="not a plan of nestvec: KeyError"):
        Plan.load(path)
    path.write_text(json.dumps(values | {"budget": {"min_retention": 7}}))
    with pytest.raises(DataError, match="min_retention=7"):
        Plan.load(path)
