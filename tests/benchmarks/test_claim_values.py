"""Values of claims are read from the places that the claims name."""

import pytest

from claim_values import FUNCTIONS, read_value

ROWS = {
    "results": {
        "rows": [{"dim": 64, "ms": [1.0, 3.0, 2.0]}, {"dim": 128, "ms": [4.0, 8.0]}],
        "bytes": {"old": 32, "new": 8},
    }
}


@pytest.mark.parametrize(
    ("measured", "value"),
    [
        ({"path": ["results", "bytes", "new"]}, 8),
        ({"path": ["results", "rows", {"dim": 64}, "ms"], "take": "median"}, 2),
        ({"path": ["results", "rows", 1, "ms"], "take": "mean"}, 6),
        ({"path": ["results", "rows", "*", "ms"], "take": "largest"}, 8),
        ({"path": ["results", "bytes", "*"], "take": "sum"}, 40),
        ({"path": ["results", "bytes", "old"], "over": ["results", "bytes", "new"]}, 4),
        ({"path": ["results", "bytes", "old"], "minus": ["results", "bytes", "new"]}, 24),
        ({"path": ["results", "bytes", "new"], "times": 0.001}, 0.008),
    ],
)
def test_a_value_is_read(measured, value):
    assert read_value(ROWS, measured) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (["results", "rows", {"dim": 32}, "ms"], "0 rows instead of 1"),
        (["results", "rows", {}, "ms"], "2 rows instead of 1"),
        (["results", "rows", "*", "dim"], "2 values instead of 1"),
        (["results", "nothing"], "nothing"),
    ],
)
def test_an_ambiguous_or_missing_value_is_an_error(path, message):
    with pytest.raises(LookupError, match=message):
        read_value(ROWS, {"path": path})


def test_a_ratio_of_speeds_uses_the_fastest_settings_that_reach_the_overlap():
    def contender(name, *settings):
        keys = ("overlap@10", "processor_ms", "qps")
        return {
            "name": name,
            "n": 10,
            "settings": [dict(zip(keys, row, strict=True)) for row in settings],
        }

    scan = contender("scan", (0.9, 1.0, 900), (0.99, 3.0, 300), (1.0, 2.0, 400))
    graph = contender("graph", (0.98, 1.0, 999), (0.995, 5.0, 200))
    document = {"results": {"contenders": [scan, graph]}}
    arguments = {"index": "scan", "other": "graph", "n": 10}
    measured = {"function": "speed_ratio", "arguments": {**arguments, "overlap": 0.99}}
    assert read_value(document, measured) == 2.0
    with pytest.raises(LookupError, match="was not reached"):
        FUNCTIONS["speed_ratio"](document, **arguments, overlap=0.999)


def test_clusters_skip_what_they_do_not_visit():
    rows = [
        {"overlap@10_at_most": 0.9, "rows_looked_at": 0.25},
        {"overlap@10_at_most": 0.991, "rows_looked_at": 0.75},
    ]
    found = FUNCTIONS["skipped_share"]({"results": {"10": rows}}, n=10, overlap=0.99)
    assert found == 0.25
