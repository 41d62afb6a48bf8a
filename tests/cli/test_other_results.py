"""``--fuse``, ``--rerank`` and ``--scores``: results of other systems in a curve and in a plan."""

import csv
import json

import pytest

FULL = "32:float32"
FUSED = ("--fuse", "bm25.trec", "--rerank", "bm25.trec", "--rerank-depths", "5,20")


@pytest.fixture
def folder(place):
    """The folder with a run that finds each document, and with scores of two points."""
    lines = [f"test{n} Q0 d{n + k} {k + 1} {9 - k} bm25\n" for n in range(60) for k in range(3)]
    (place / "bm25.trec").write_text(
        "".join(line for line in lines if int(line.split()[2][1:]) < 60)
    )
    with (place / "answers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("point", "query_id", "score"))
        writer.writerows(
            (point, f"test{n}", score)
            for point, score in ((FULL, 1), ("32:int8", 1), ("8:binary", 0.5))
            for n in range(60)
        )
    return place


def test_fused_and_reranked_metrics_are_measured_and_planned_on(nestvec, folder):
    ended = nestvec("evaluate", "model", "data", "--keeps", "10", *FUSED, "--out", "f.json")
    assert ended.code == 0
    shown = " ".join(ended.out.split())
    assert "At full precision: nDCG@10 " in shown
    assert "rerank20:nDCG@10 1.000" in shown
    assert "nestvec plan f.json --min-retention 0.98 --metric rrf:ndcg@10" in shown
    assert max(map(len, ended.out.splitlines())) <= 80
    for metric in ("rrf:ndcg@10", "sum:recall@100", "rerank5:ndcg@10"):
        goal = ("--min-retention", "0.8", "--metric", metric)
        planned = json.loads(nestvec("plan", "f.json", *goal, "--json").out)
        assert planned["goal"]["metric"] == metric
        assert planned["confirmed"]
    page = nestvec("report", "f.json", "--metric", "rrf:ndcg@10")
    assert (page.code, page.err) == (0, "")
    other = nestvec("evaluate", "model", "data", *FUSED[:2], "--fuse-weight", "0", "--json")
    points = json.loads(other.out)["points"]
    assert {point["metrics"]["sum:ndcg@10"] for point in points} == {1.0}


def test_own_scores_are_planned_on_without_another_measurement(nestvec, folder):
    scores = ("--scores", "answers.csv", "--scores-name", "quality")
    goal = ("--min-retention", "0.9", "--certificate", "c.json")
    ended = nestvec("plan", "curve.json", *scores, *goal, "--json")
    planned = json.loads(ended.out)
    assert (planned["point"], planned["goal"]["metric"]) == ("32:int8", "quality")
    assert any("without scores" in each for each in planned["warnings"])
    verified = nestvec("verify", "c.json", "--curve", "curve.json", "--scores", "answers.csv")
    assert verified.code == 0
    assert nestvec("verify", "c.json", "--curve", "curve.json").code == 1
    ended = nestvec("evaluate", "model", "data", "--keeps", "10", *scores, "--out", "q.json")
    assert "quality 1.000" in " ".join(ended.out.split())
    again = json.loads(nestvec("plan", "q.json", "--metric", "quality", *goal[:2], "--json").out)
    assert (again["point"], again["kept"]) == (planned["point"], planned["kept"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate model data --fuse nowhere.trec", "nowhere.trec: does not exist"),
        ("evaluate model data --fuse-weight 0.3", "--fuse-weight needs --fuse."),
        ("evaluate model data --fuse bm25.trec --fuse-weight 3", "weight=3.0 is out of range"),
        ("evaluate model data --rerank-depths 5", "--rerank-depths needs --rerank."),
        ("evaluate model data --rerank bm25.trec --rerank-depths 0", "less than 1"),
        ("evaluate model data --scores nowhere.csv", "nowhere.csv: does not exist"),
        ("evaluate model data --scores-name x", "--scores-name needs --scores."),
        ("plan curve.json --scores-name x", "--scores-name needs --scores."),
        ("plan curve.json --scores answers.csv --scores-name a:b", "cannot be the name"),
        ("verify plan.json --scores answers.csv", "Add --curve CURVE."),
    ],
)
def test_options_without_an_effect_or_a_file_are_one_line(nestvec, folder, arguments, message):
    out = () if arguments.startswith("verify") else ("--out", "new.json")
    ended = nestvec(*arguments.split(), *out)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (folder / "new.json").exists()
