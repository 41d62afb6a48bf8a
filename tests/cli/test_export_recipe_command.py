"""``nestvec export recipe``: a plan or a point becomes code for an engine."""

import json
from dataclasses import replace

from ended_commands import run_in
from nestvec.planning.choose import Plan

POINT = "16:int8@20>32:float32"
BY_POINT = ("export", "recipe", "--point", POINT, "--full-dim", "32")


def test_a_plan_becomes_sql(nestvec, place):
    plan = Plan.load(place / "plan.json")
    ended = nestvec("export", "recipe", "plan.json", "--engine", "pgvector", "--name", "articles")
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"# {plan.point} on pgvector\n")
    assert f"({plan.model.full_dim}) NOT NULL" in ended.out
    assert 'CREATE TABLE "articles"' in ended.out
    assert "\n    id text" in ended.out  # the code keeps its lines and indentation


def test_a_point_replaces_that_of_the_plan(nestvec):
    ended = nestvec("export", "recipe", "plan.json", "--engine", "vespa", "--point", "8:float32")
    assert (ended.code, "# 8:float32 on vespa" in ended.out) == (0, True)


def test_a_point_needs_no_plan(tmp_path):
    ended = run_in(tmp_path, *BY_POINT, "--engine", "elasticsearch", "--metric", "cosine")
    assert ended.code == 0, ended.err
    assert '"similarity": "cosine"' in ended.out


def test_json_has_the_parts_and_the_notes(tmp_path):
    ended = run_in(tmp_path, *BY_POINT, "--engine", "milvus", "--json")
    values = json.loads(ended.out)
    assert (values["engine"], values["point"], values["tested"]) == ("milvus", POINT, False)
    assert values["parts"][0]["language"] == "python"
    assert any("Not measured" in note for note in values["notes"])


def test_wrong_options_end_with_one_line(nestvec):
    for arguments, message in (
        (("--engine", "vespa"), "Name a plan file, or add --point POINT and --full-dim N."),
        (("--engine", "vespa", "--point", POINT), "add --point POINT and --full-dim N."),
        (("plan.json", "--engine", "vespa", "--full-dim", "9"), "--full-dim does not apply"),
        (("plan.json", "--engine", "redis"), "There is no recipe for engine 'redis'"),
    ):
        ended = nestvec("export", "recipe", *arguments)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert message in ended.err


def test_what_precedes_truncation_is_a_note(nestvec, place):
    plan = Plan.load(place / "plan.json")
    model = replace(plan.model, layer_norm=True, adapter="a" * 64)
    replace(plan, model=model).save(place / "adapted.json")
    for name, expected in (("adapted.json", True), ("plan.json", False)):
        printed = nestvec("export", "recipe", name, "--engine", "qdrant").out
        assert ("- Transform all vectors with the adapter" in printed) is expected
        assert ("- Apply layer normalization" in printed) is expected
