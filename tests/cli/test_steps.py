"""The steps one by one on a person's own files: what they print, and what can be typed next."""

import json
import shlex

import numpy as np
import pytest

HINTS = {
    "train": ("DATASET", "data"),
    "evaluate": ("", ""),
    "plan": ("CORPUS", "data"),
    "index": ("", ""),
}


def hint(text):
    (line,) = [line for line in text.splitlines() if line.startswith("Next")]
    return line.removeprefix("Next").strip()


def test_every_step_ends_well_and_prints_lines_that_fit(finished):
    _, printed = finished
    for name, ended in printed.items():
        assert ended.err == "", name
        assert max(map(len, ended.out.splitlines())) <= 80, name


@pytest.mark.parametrize("step", HINTS)
def test_the_next_command_can_be_typed_as_printed(finished, nestvec, step):
    typed = hint(finished[1][step].out)
    placeholder, value = HINTS[step]
    program, *arguments = shlex.split(typed.replace(placeholder, value) if placeholder else typed)
    assert program == "nestvec"
    if step == "train":
        arguments += ["--precisions", "float32,int8"]  # the whole grid was measured already
    ended = nestvec(*arguments)
    assert (ended.code, ended.err) == (0, "")


def test_a_hint_quotes_a_path_with_a_space(nestvec):
    ended = nestvec("plan", "curve.json", "--out", "my plan.json")
    assert "--plan 'my plan.json'" in hint(ended.out)


def test_the_plan_names_its_point_once(finished):
    text = finished[1]["plan"].out
    first, *reasons = text.partition("Next")[0].splitlines()
    point = first.split()[1]
    assert first.startswith("=> ")
    assert not any(line.strip().startswith(point) for line in reasons)
    assert len(reasons) < 18


def test_only_json_on_standard_output_when_it_is_asked_for(nestvec):
    ended = nestvec("evaluate", "model", "data", "--precisions", "float32", "--json")
    rows = json.loads(ended.out)["points"]
    assert rows[0]["point"] == "32:float32"
    assert json.loads(nestvec("plan", "curve.json", "--json").out)["point"]
    hits = [json.loads(line) for line in nestvec("search", "index", "x", "--json").out.splitlines()]
    assert len(hits) == 10
    assert set(hits[0]) == {"_id", "score", "title", "text", "metadata"}


def test_the_metrics_asked_for_are_measured_shown_planned_and_reported(nestvec, place):
    shown = nestvec(
        *("evaluate", "model", "data", "--precisions", "float32,int8", "--out", "m.json"),
        *("--metrics", "mrr@10,map@100"),
    ).out
    assert "% of MRR@10 retained" in shown
    assert set(json.loads((place / "m.json").read_text())["points"][0]["metrics"]) == {
        "mrr@10",
        "map@100",
    }
    assert nestvec(*shlex.split(hint(shown))[1:]).code == 0
    asked = ("report", "m.json", "--metric", "map@100", "--out", "m.html", "--chart", "m.svg")
    assert nestvec(*asked).code == 0
    assert "MAP@100" in (place / "m.html").read_text()
    assert "MAP@100" in (place / "m.svg").read_text()


def test_reports_of_one_or_two_curves_with_and_without_a_plan(nestvec, place):
    (place / "other.json").write_bytes((place / "curve.json").read_bytes())
    (place / "other.scores.npz").write_bytes((place / "curve.scores.npz").read_bytes())
    for arguments in (("curve.json",), ("curve.json", "other.json", "--plan", "plan.json")):
        (place / "report.html").unlink()
        assert nestvec("report", *arguments).out == "See  report.html\n"
        assert (place / "report.html").is_file()


def test_vectors_that_exist_already_are_measured_and_indexed(nestvec, place):
    rng = np.random.default_rng(1)
    (place / "vectors").mkdir()
    for stem, ids in (("corpus", "d"), ("queries", "test")):
        np.save(place / f"vectors/{stem}.npy", rng.normal(size=(60, 16)).astype(np.float32))
        text = "".join(f"{ids}{i}\n" for i in range(60))
        (place / f"vectors/{stem}.ids.txt").write_text(text)
    ended = nestvec("evaluate", "vectors", "data", "--dims", "16,8", "--out", "v.json")
    assert ended.code == 0, ended.err
    ended = nestvec("index", "build", "vectors", "data", "--point", "8:int4", "--out", "v")
    assert ended.code == 0, ended.err


def test_the_terminal_acts_on_nothing_that_documents_say(finished):
    out = finished[1]["search"].out
    assert "red" in out
    assert not any(control in out for control in ("\x1b", "\x07", "\u202e"))


def test_untidy_labels_are_one_line_on_standard_error(nestvec, place):
    with (place / "data/qrels/test.tsv").open("a") as file:
        file.write("test0\tnowhere\t1\n")
    command = ("evaluate", "model", "data", "--precisions", "float32", "--json")
    ended = nestvec(*command)
    assert ended.code == 0
    assert ended.err.startswith(
        "nestvec: data/qrels/test.tsv: ignored relevance labels of 1 unknown"
    )
    assert ended.err.count("\n") == 1
    printed = json.loads(ended.out)
    assert ["nestvec: " + warning for warning in printed["warnings"]] == ended.err.splitlines()
    assert printed["counts"]["unknown_documents"] == 1
