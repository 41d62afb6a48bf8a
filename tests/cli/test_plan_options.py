"""Options of ``nestvec plan``: each goal, a projection, a moved cut-off, and what is refused."""

import json

import pytest

PRICES = '{"currency": "USD", "ram_gb_month": 3.0, "disk_gb_month": 0.1}'


def flat(text):
    return " ".join(text.split())


def test_a_projection_is_printed_within_the_width_and_stands_in_the_json(nestvec, tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text(PRICES)
    asked = ("plan", "curve.json", "--vectors", "10_000_000", "--prices", prices, "--replicas", "2")
    shown = nestvec(*asked)
    assert (shown.code, shown.err) == (0, "")
    assert "10,000,000 vectors in 2 replicas need" in flat(shown.out)
    assert "extrapolated linearly from 60 documents." in flat(shown.out)
    lines = shown.out.partition("Next")[0].splitlines()
    assert max(map(len, lines)) <= 80
    scale = json.loads(nestvec(*asked, "--json").out)["scale"]
    # 32 dims of 4 bytes, 10 million, twice.
    assert scale["full"]["ram_gb"] == pytest.approx(2.56)
    # Vectors and codes of 128 bytes each, 16 bytes to find a document, and its id.
    assert 2 * 10 * 0.272 < scale["full"]["disk_gb"] < 2 * 10 * 0.28
    expected = 3 * scale["full"]["ram_gb"] + 0.1 * scale["full"]["disk_gb"]
    assert scale["full"]["money_month"] == pytest.approx(expected)


@pytest.mark.parametrize("goal", ["--max-drop", "--min-overlap", "--min-retention"])
def test_each_goal_can_be_asked(nestvec, goal):
    kinds = {"--max-drop": "drop", "--min-overlap": "overlap", "--min-retention": "retention"}
    ended = nestvec("plan", "curve.json", goal, "0.5", "--minimize", "latency", "--json")
    assert ended.err == ""
    assert json.loads(ended.out)["goal"]["kind"] == kinds[goal]


def test_a_cutoff_is_moved(nestvec):
    moved = json.loads(nestvec("plan", "curve.json", "--cutoff", "0.3", "--json").out)["cutoff"]
    assert moved["low"] <= moved["new"] <= moved["high"]
    assert moved["judged"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--min-retention 0.9 --max-drop 0.1", "min_retention and max_drop cannot be combined"),
        ("--replicas 2", "Add --vectors N."),
        ("--vectors 0", "vectors=0 is too small"),
        ("--vectors 5 --prices nowhere.json", "nowhere.json: cannot be read as JSON"),
        ("--cutoff 7", "cutoff=7 accepts none"),
        ("--minimize money", "minimize='money' is unknown. Choose one of ram, latency, disk."),
        ("--min-slice-retention 0.9", "this curve has none"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_writes_nothing(nestvec, options, message, tmp_path):
    out = tmp_path / "new.json"
    ended = nestvec("plan", "curve.json", *options.split(), "--out", out)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not out.exists()
