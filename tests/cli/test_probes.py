"""Probes after training: what holds is counted, what does not is named and ends with 1."""

import json

import pytest

TRAIN = "train --static --pairs data --dims 32,8 --epochs 8 --out probed --probes probes.jsonl"


@pytest.fixture
def write_probes(place):
    """Ask for the subject of the first documents; the texts of others are wrong."""
    lines = (place / "data" / "corpus.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    right, wrong = rows[0]["text"], rows[1]["text"]
    asked = f"how does {right.split()[1]} use {right.split()[3]}"

    def write(*, swapped):
        positive, negative = (wrong, right) if swapped else (right, wrong)
        row = {"anchor": asked, "positive": positive, "negative": negative}
        (place / "probes.jsonl").write_text(json.dumps(row) + "\n")

    return write


def test_probes_that_hold_are_counted_at_every_dim(nestvec, write_probes):
    write_probes(swapped=False)
    ended = nestvec(*TRAIN.split())
    assert ended.code == 0
    assert "probes passed    1 of 1 at   32 dims" in ended.out
    assert "probes passed    1 of 1 at    8 dims" in ended.out
    assert "Next" in ended.out


def test_a_probe_that_fails_at_the_least_dim_is_named(nestvec, place, write_probes):
    write_probes(swapped=True)
    ended = nestvec(*TRAIN.split())
    assert ended.code == 1
    assert "probes passed    0 of 1 at    8 dims" in ended.out
    assert "fails at 8 dims: 'how does" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    assert (place / "probed" / "modules.json").exists()  # the model is there to be looked at


def test_probes_without_a_negative_are_refused_before_training(nestvec, place):
    (place / "probes.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "score": 1}\n' * 3)
    ended = nestvec(*TRAIN.split())
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert not (place / "probed").exists()
