"""The check finds a number that differs between a page and a result."""

import json

import pytest
from claim_repository import CLAIMS, MACHINE, README, document, write_result

from claim_checks import numbers_in, problems
from claim_runs import REPOSITORY
from claims import load_claims
from record import RESULTS


def found(small):
    return list(problems(load_claims(small.claims), repository=small.root, results=small.results))


def test_the_pages_state_what_the_committed_results_say():
    lines = list(problems(load_claims(), repository=REPOSITORY, results=RESULTS))
    assert not lines, "\n".join(lines)


def test_equal_numbers_have_no_problem(small):
    assert found(small) == []


def test_a_number_that_was_changed_in_the_page_is_found(small):
    (small.root / "README.md").write_text(README.replace("16 bytes", "15 bytes"))
    (line,) = found(small)
    assert line == "bytes: README.md does not contain the text 'needs 16 bytes per vector'."


def test_a_number_that_was_changed_in_the_result_is_found(small):
    write_result(small, "size", document({"bytes": 17}))
    assert found(small) == ["bytes: README.md states 16, size.json has 17."]


def test_a_missing_value_or_file_is_found(small):
    write_result(small, "size", document({}))
    assert found(small) == ["bytes: size.json has no value: 'bytes'."]
    (small.results / "size.json").unlink()
    assert found(small)[0].startswith("bytes: size.json has no value: ")


def test_a_text_without_the_number_is_found(small):
    values = json.loads(json.dumps(CLAIMS))
    values["claims"][0]["text"] = "One search takes"
    small.claims.write_text(json.dumps(values))
    assert found(small) == ["time: the text 'One search takes' does not contain 0.25."]


@pytest.mark.parametrize("other", ["AVX2", "AVX-5120", "XAVX-512", "AVX"])
def test_a_speed_of_the_readme_names_its_instruction_set(small, other):
    (small.root / "README.md").write_text(README.replace("(AVX-512)", f"({other})"))
    (line,) = found(small)
    assert line.startswith("time: the paragraph in README.md names no instruction set of ")


def test_an_instruction_set_in_another_paragraph_does_not_count(small):
    moved = README.replace(" (AVX-512)", "").replace("- The", "- AVX-512: the")
    (small.root / "README.md").write_text(moved.replace("the index", "The index"))
    assert [line.partition(":")[0] for line in found(small)] == ["time"]


def test_a_speed_needs_a_recorded_instruction_set(small):
    machine = {name: MACHINE[name] for name in ("processor", "cores")}
    write_result(small, "speed", document({"ms": [0.25]}, machine=machine, n=100))
    assert found(small) == ["time: speed.json does not record an instruction set."]


def test_a_result_that_no_page_uses_is_found(small):
    write_result(small, "other", document({}))
    assert found(small) == ["other.json: claims.json has no benchmark of this name. Add it."]
    values = json.loads(json.dumps(CLAIMS))
    values["benchmarks"]["other"] = {**values["benchmarks"]["speed"]}
    small.claims.write_text(json.dumps(values))
    assert found(small) == ["other.json: neither a claim nor a table uses this result."]
    (small.root / "benchmarks" / "some_tables.py").write_text('rows = results("other")\n')
    assert found(small) == []


def test_a_command_that_does_not_exist_is_found(small):
    (small.root / "benchmarks" / "speed.py").unlink()
    assert found(small) == ["speed: benchmarks/speed.py does not exist."]


def test_numbers_are_read_in_digits_and_words():
    text = "1,505 of .353 at -0.005, a quarter, twice, 128:binary@400 and pq4"
    assert numbers_in(text) == {1505, 0.353, -0.005, 0.25, 2, 128, 400}
