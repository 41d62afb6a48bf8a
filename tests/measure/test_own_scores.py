"""Scores of a user's own become a metric: planned on, with everything missing named."""

import csv
import json

import numpy as np
import pytest

from fakes import NestedHashEncoder, made_set
from nestvec.curve.curve import Curve
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.grid import Grid
from nestvec.measure.own_scores import add_scores
from nestvec.measure.run import evaluate
from nestvec.operate.certificate import certify
from nestvec.operate.verification import verify_certificate
from nestvec.planning.budget import Budget
from nestvec.planning.choose import plan
from nestvec.report.page import write_report

FULL, GOOD, CHEAP = "64:float32", "64:int8", "16:binary"
GRID = Grid(dims=(64, 16), precisions=("float32", "int8", "binary"), shortlisted=())


@pytest.fixture(scope="module")
def curve():
    return evaluate(NestedHashEncoder(), made_set(200, 400), GRID)


def rows_of(curve, **shares):
    """Give full precision 1 or 0, and a share of these scores to other points."""
    ids = curve.scores.query_ids.tolist()
    rng = np.random.default_rng(0)
    full = (rng.random(len(ids)) < 0.9).astype(float)
    return [
        {"point": point, "query-id": id_, "score": score}
        for point, share in {FULL: 1.0, **shares}.items()
        for id_, score in zip(ids, (share * full).tolist(), strict=True)
    ]


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_plan_is_made_on_own_scores(curve, tmp_path, suffix, caplog):
    rows = rows_of(curve, **{GOOD: 0.97, CHEAP: 0.6})
    rng = np.random.default_rng(1)
    rng.shuffle(rows)
    added = add_scores(curve, write(tmp_path / f"answers{suffix}", rows))
    assert added[GOOD].retention["answers"] == pytest.approx(0.97)
    assert added[GOOD].interval["answers"].low == pytest.approx(0.97)
    assert added.main_metric == "ndcg@10"
    assert added.per_query("answers", CHEAP).max() == 0.6
    assert f"answers{suffix}: 3 points of the curve without scores" in caplog.text
    added.save(tmp_path / "curve.json")
    loaded = Curve.load(tmp_path / "curve.json")
    chosen = plan(loaded, Budget(min_retention=0.9, metric="answers"))
    assert (str(chosen.point), chosen.confirmed, chosen.kept) == (GOOD, True, pytest.approx(0.97))
    assert "answers" not in loaded["64:binary"].metrics
    certificate = certify(loaded, chosen)
    assert verify_certificate(certificate, curve=loaded).valid
    assert any("read from a file" in each for each in certificate.statement.covers)
    write_report({"a": loaded}, tmp_path / "report.html", chosen, metric="answers")
    assert "97.0" in (tmp_path / "report.html").read_text()


def test_a_point_without_the_scores_of_some_queries_is_named_and_not_planned_on(
    curve, tmp_path, caplog
):
    rows = rows_of(curve, **{GOOD: 0.97, CHEAP: 0.99})
    del rows[-2:]
    added = add_scores(curve, write(tmp_path / "a.csv", rows), name="answers")
    assert f"{CHEAP} has no score for 2 queries, such as 'q398'" in caplog.text
    assert added.counts["points_without_answers_of_some_queries"] == 1
    assert added.counts["points_without_answers"] == 3
    assert str(plan(added, Budget(min_retention=0.9, metric="answers")).point) == GOOD


def test_scores_make_a_target_of_quality_possible_on_a_query_log(curve, tmp_path):
    data = made_set(200, 400)
    log = evaluate(
        NestedHashEncoder(),
        type(data)("log", "query log", data.corpus, data.queries, {}, {}, evidence="agreement"),
        GRID,
    )
    with pytest.raises(InvalidArgument, match="no quality"):
        plan(log, Budget(min_retention=0.9))
    added = add_scores(log, write(tmp_path / "answers.csv", rows_of(log, **{GOOD: 0.97})))
    assert plan(added, Budget(min_retention=0.9, metric="answers")).verdict == "CONFIRMED"


def test_unknown_points_queries_and_columns_are_named(curve, tmp_path, caplog):
    rows = [{**row, "judge": "x"} for row in rows_of(curve, **{"32:int8": 0.9})]
    rows.append({"point": GOOD, "query-id": "nobody", "score": 1, "judge": ""})
    add_scores(curve, write(tmp_path / "answers.csv", rows))
    assert "points that the curve does not have, ignored: 400, such as '32:int8'" in caplog.text
    assert "queries that the curve does not have, ignored: 1, such as 'nobody'" in caplog.text
    assert "not used: the columns judge (800 values)" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": 4}, r"answers\.csv:2: score 4 is not from 0 to 1\. Divide"),
        ({"score": "good"}, 'score "good" is not a finite number'),
        ({"point": "nonsense"}, r"answers\.csv:2: 'nonsense' is not an operating point"),
        ({"query-id": "q1"}, r"answers\.csv:3: 64:float32 and query 'q1' appear twice"),
        ({"point": GOOD}, r"no score of 64:float32 \(full precision\) for 1 query, such as 'q0'"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(curve, tmp_path, change, message):
    rows = rows_of(curve)
    rows[0] = {**rows[0], **change}
    with pytest.raises(DataError, match=message):
        add_scores(curve, write(tmp_path / "answers.csv", rows))


@pytest.mark.parametrize("name", ["ndcg@10", "rrf:x", "", "my scores"])
def test_names_that_are_taken_or_ambiguous_are_refused(curve, tmp_path, name):
    path = write(tmp_path / "answers.csv", rows_of(curve))
    with pytest.raises(InvalidArgument, match="cannot be the name of a metric"):
        add_scores(curve, path, name=name)
    added = add_scores(curve, path)
    with pytest.raises(InvalidArgument, match="The curve has a metric 'answers'"):
        add_scores(added, path)
