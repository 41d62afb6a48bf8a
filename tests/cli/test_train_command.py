"""``train MODEL``: what a person sees while a model learns, and at the end."""

import json

PAIRS = "anchor,positive\nread a csv,a csv file\nfind a file,a table\na table,read\nfile,find\n"
DEV = (
    "sentence1,sentence2,score\nread a csv,read a csv,1\nread a csv,a csv file,0.6\nread,table,0\n"
)


def test_losses_and_scores_are_told_on_the_way_and_the_curve_at_the_end(
    nestvec, place, bert_folder
):
    (place / "pairs.csv").write_text(PAIRS)
    (place / "dev.csv").write_text(DEV)
    typed = "--pairs pairs.csv --dims 16,8 --out-dim 16 --batch-size 2 --epochs 2 --out new"
    ended = nestvec("train", str(bert_folder), *typed.split(), "--dev", "dev.csv", "--twin")
    assert ended.code == 0, ended.err
    told = ended.err.splitlines()
    assert [line.split()[:2] for line in told if line.startswith("step")][-1] == ["step", "4,"]
    assert [line.split()[0] for line in told[:2]] == ["step", "dev"]
    assert " at 16, " in told[0]
    assert told[0].endswith(" at 8")
    lines = ended.out.splitlines()
    assert "pairs: NestedMultipleNegativesRankingLoss" in lines
    rows = [line.split("  ")[0] for line in lines]
    for row in ("this model float32", "before training float32", "without Matryoshka float32"):
        assert row in rows
    assert json.loads((place / "new" / "config.json").read_text())["matryoshka_dimensions"] == [
        16,
        8,
    ]


def test_a_twin_needs_something_to_be_measured_on(nestvec, place, bert_folder):
    (place / "pairs.csv").write_text(PAIRS)
    ended = nestvec("train", str(bert_folder), "--pairs", "pairs.csv", "--out", "new", "--twin")
    assert (ended.code, ended.err) == (
        2,
        "nestvec: twin needs a set to measure the baseline without Matryoshka on. "
        "Pass test or dev.\n",
    )


def test_an_unknown_tracker_is_one_line(nestvec, place, bert_folder):
    (place / "pairs.csv").write_text(PAIRS)
    typed = "--pairs pairs.csv --out new --report-to nothing"
    ended = nestvec("train", str(bert_folder), *typed.split())
    assert ended.code == 2
    assert "nestvec: report_to='nothing' is not an installed tracker" in ended.err
    assert not (place / "new").exists()
