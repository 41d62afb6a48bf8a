"""A claim is parsed, compared with a new result, and given a verdict."""

import json
from dataclasses import replace

import pytest
from claim_repository import CLAIMS, MACHINE, document

from claims import FILE, compare, load_claims


@pytest.fixture
def claims(small):
    return load_claims(small.claims)


def test_the_file_of_the_repository_is_read():
    claims = load_claims(FILE)
    assert len(claims.claims) > 50
    assert {each.length for each in claims.benchmarks.values()} == {"quick", "full"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["claims"][0].update(valeu=1), "claim time: unknown fields: valeu"),
        (lambda values: values["claims"][0].pop("value"), "claim time: .*'value'"),
        (lambda values: values["claims"][0].update(name="bytes"), "bytes: the name appears twice"),
        (lambda values: values["claims"][0].update(benchmark="x"), "time: unknown benchmark 'x'"),
        (lambda values: values["benchmarks"]["size"].update(hours=1), "benchmark size: unknown"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, change, message):
    values = json.loads(json.dumps(CLAIMS))
    change(values)
    (tmp_path / "claims.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        load_claims(tmp_path / "claims.json")


def test_a_rounded_number_is_correct_and_the_next_digit_is_not(claims):
    claim = replace(claims.claims[0], value=84.8, within=0.05)
    assert claim.is_quoted_correctly(84.75)
    assert not claim.is_quoted_correctly(84.74)
    assert not claim.is_quoted_correctly(84.86)


@pytest.mark.parametrize(
    ("relation", "measured", "correct"),
    [(">=", 2.0, True), (">=", 1.99, False), ("<=", 2.0, True), ("<=", 2.01, False)],
)
def test_a_bound_has_no_tolerance(claims, relation, measured, correct):
    claim = replace(claims.claims[0], value=2.0, relation=relation, tolerance=0.5)
    assert claim.is_quoted_correctly(measured) == claim.holds(measured) == correct


def test_only_the_worse_direction_contradicts_a_claim(claims):
    slower = replace(claims.claims[0], value=1.0, within=0.0, tolerance=0.25)
    assert [slower.holds(value) for value in (0.1, 1.25, 1.26)] == [True, True, False]
    other = replace(slower, better="higher")
    assert [other.holds(value) for value in (9.0, 0.75, 0.74)] == [True, True, False]
    both = replace(slower, better=None)
    assert [both.holds(value) for value in (1.3, 1.2, 0.7)] == [False, True, False]


def verdict_of(claims, old_machine, new_machine, *, index=0, n=100, ms=0.25):
    claim = claims.claims[index]
    results = ({"ms": [0.25], "bytes": 16}, {"ms": [ms], "bytes": 16})
    outcome = compare(
        claim,
        claims.benchmarks[claim.benchmark],
        document(results[0], machine=old_machine, n=100),
        document(results[1], machine=new_machine, n=n),
    )
    return outcome.verdict, " ".join(outcome.why)


AVX2 = {**MACHINE, "instruction_set": "AVX2"}
FORCED = {**MACHINE, "forced": {"FAISS_SIMD_LEVEL": "AVX2"}}
UNKNOWN = {"processor": "Test"}


def test_equal_instruction_sets_decide(claims):
    assert verdict_of(claims, MACHINE, MACHINE) == ("holds", "")
    assert verdict_of(claims, MACHINE, MACHINE, ms=0.4) == ("DOES NOT HOLD", "")
    assert verdict_of(claims, FORCED, FORCED, ms=0.4) == ("DOES NOT HOLD", "")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (AVX2, MACHINE, "instruction set: AVX2, now AVX-512, AMX"),
        (MACHINE, FORCED, r"now AVX-512, AMX (FAISS_SIMD_LEVEL=AVX2)"),
        (UNKNOWN, MACHINE, "instruction set: not recorded, now AVX-512, AMX"),
        (UNKNOWN, UNKNOWN, "instruction set: not recorded, now not recorded"),
    ],
)
def test_other_instruction_sets_make_a_speed_informative(claims, old, new, why):
    verdict, reason = verdict_of(claims, old, new, ms=9.0)
    assert verdict == "informative"
    assert why in reason
    assert verdict_of(claims, old, new, index=1) == ("holds", "")  # bytes do not depend on it


def test_other_settings_make_any_claim_informative(claims):
    verdict, why = verdict_of(claims, MACHINE, MACHINE, n=200, ms=9.0)
    assert (verdict, why) == ("informative", "n: 100, now 200")


def test_a_setting_can_be_a_path(claims):
    benchmark = replace(claims.benchmarks["speed"], settings=(["results", "queries"],))
    old, new = (document({"ms": [0.25], "queries": n}) for n in (10, 20))
    assert compare(claims.claims[0], benchmark, old, new).why == ("queries: 10, now 20",)


def test_a_result_without_the_value_is_not_run(claims):
    claim = claims.claims[0]
    benchmark = claims.benchmarks["speed"]
    old = document({"ms": [0.25]}, n=100)
    missing = compare(claim, benchmark, old, document({}, n=100))
    assert (missing.verdict, missing.why) == ("not run", ("the new result lacks 'ms'",))
    without = compare(claim, benchmark, old, None, "needs package x")
    assert (without.verdict, without.why) == ("not run", ("needs package x",))
