"""Benchmarks are run with their own results folder, and their results are compared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from claim_repository import CLAIMS, document, write_result

import claim_runs
import rerun
from claims import load_claims
from nestvec.measure.machine import SWITCHES, describe_machine

BENCHMARKS = Path(rerun.__file__).parent
SPEED = """
import sys
sys.path.append({benchmarks!r})
from record import record
print("a line of the benchmark")
if sys.argv[1] != "nothing":
    record("speed", settings={{"n": 100}}, results={{"ms": [float(sys.argv[1])]}})
"""


@pytest.fixture
def stub(small, monkeypatch):
    """Two benchmarks that end at once; the first takes its time from its argument."""
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    small.machine = describe_machine()
    write_result(small, "speed", document({"ms": [0.25]}, machine=small.machine, n=100))
    script = SPEED.format(benchmarks=str(BENCHMARKS))
    (small.root / "benchmarks" / "speed.py").write_text(script)
    monkeypatch.setattr(claim_runs, "REPOSITORY", small.root)
    monkeypatch.setattr(rerun, "RESULTS", small.results)
    monkeypatch.setattr(rerun, "load_claims", lambda: load_claims(small.claims))
    monkeypatch.chdir(small.root)
    small.out = small.root / "out"
    small.set_time = lambda ms: change(small, "speed", command=["benchmarks/speed.py", ms])
    small.set_time("0.26")
    return small


def change(small, benchmark, **fields):
    values = json.loads(small.claims.read_text())
    values["benchmarks"][benchmark].update(fields)
    small.claims.write_text(json.dumps(values))


def run(stub, *arguments):
    return rerun.main([*arguments, "--out", str(stub.out)])


def test_a_claim_that_holds(stub, capsys):
    before = (stub.results / "speed.json").read_text()
    assert run(stub) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1/1 speed: python benchmarks/speed.py 0.26" in lines
    assert "1/1 speed: 0 s" in lines or "1/1 speed: 1 s" in lines
    (line,) = (line for line in lines if line.startswith("  time "))
    assert " ".join(line.split()) == "time quoted 0.25 old 0.25 new 0.26 x1.04 holds"
    assert lines[-1] == "holds: 1, DOES NOT HOLD: 0, informative: 0, not run: 0"
    assert (stub.results / "speed.json").read_text() == before
    assert "a line of the benchmark" in (stub.out / "speed.log").read_text()


def test_a_claim_that_does_not_hold_on_the_same_instruction_set(stub, capsys):
    stub.set_time("0.40")
    assert run(stub) == 1
    assert "x1.60   DOES NOT HOLD" in capsys.readouterr().out


def test_another_instruction_set_is_informative(stub, capsys):
    machine = {**stub.machine, "instruction_set": "SVE"}
    write_result(stub, "speed", document({"ms": [0.25]}, machine=machine, n=100))
    stub.set_time("0.40")
    assert run(stub) == 0
    out = capsys.readouterr().out
    assert "informative: instruction set: SVE, now " in out
    assert f"speed: committed {machine['processor']}, SVE" in out


def test_accepted_results_replace_the_committed_results(stub):
    assert run(stub, "--accept") == 0
    assert json.loads((stub.results / "speed.json").read_text())["results"] == {"ms": [0.26]}


def test_a_benchmark_that_fails_fails_the_run(stub, capsys):
    stub.set_time("no number")
    assert run(stub, "--accept") == 1
    out = capsys.readouterr().out
    assert "1/1 speed: failed with exit code 1, see " in out
    assert "not run: failed with exit code 1" in out
    assert json.loads((stub.results / "speed.json").read_text())["results"] == {"ms": [0.25]}


def test_a_result_of_an_earlier_run_does_not_count(stub):
    assert run(stub) == 0
    stub.set_time("nothing")
    assert run(stub) == 1
    assert not (stub.out / "speed.json").exists()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "needs --place demo=PATH"),
        ({"packages": ["no_such_package"]}, "needs --place demo=PATH, package no_such_package"),
    ],
)
def test_missing_data_and_packages_are_named(stub, capsys, fields, reason):
    change(stub, "size", **fields)
    assert run(stub, "--only", "size") == 0
    out = capsys.readouterr().out
    assert f"1/1 size: {reason}\n" in out
    assert f"not run: {reason}\n" in out


def test_the_benchmarks_of_hours_are_run_on_request(stub):
    claims = load_claims(stub.claims)
    names = [each.name for each in rerun.choose(claims, full=False, only=[])]
    all_names = [each.name for each in rerun.choose(claims, full=True, only=[])]
    of_claim = [each.name for each in rerun.choose(claims, full=False, only=["bytes", "size"])]
    assert (names, all_names, of_claim) == (["speed"], ["speed", "size"], ["size"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "sped"], "Unknown: sped. Benchmarks with claims: size, speed."),
        (["--place", "demo"], "--place demo: write NAME=PATH"),
        (["--place", "demo=/no/such/folder"], "with a path that exists"),
    ],
)
def test_wrong_arguments_are_refused(stub, capsys, arguments, message):
    assert run(stub, *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_check_runs_no_benchmark(stub, capsys, monkeypatch):
    monkeypatch.setattr(rerun, "REPOSITORY", stub.root)
    change(stub, "speed", command=["benchmarks/speed.py", "no number"])
    name = stub.machine["instruction_set"].split(",")[0]
    page = stub.root / "README.md"
    page.write_text(page.read_text().replace("AVX-512", name))
    assert rerun.main(["--check"]) == 0
    assert capsys.readouterr().out == "2 claims, 0 problems\n"
    page.write_text(page.read_text().replace("16 bytes", "17 bytes"))
    assert rerun.main(["--check"]) == 1


def test_the_demo_of_a_run_serves_later_benchmarks(stub, capsys):
    values = json.loads(json.dumps(CLAIMS))
    entries = values["benchmarks"]
    entries["demo"] = {**entries.pop("speed"), "command": ["benchmarks/demo.py", "{work}"]}
    values["benchmarks"] = {"demo": entries["demo"], "size": entries["size"]}
    values["claims"][0]["benchmark"] = "demo"
    stub.claims.write_text(json.dumps(values))
    write_result(stub, "demo", document({"ms": [0.25]}, machine=stub.machine, n=100))
    head = f"import sys, pathlib\nsys.path.append({str(BENCHMARKS)!r})\nfrom record import record\n"
    (stub.root / "benchmarks" / "demo.py").write_text(
        head + "(pathlib.Path(sys.argv[1]) / 'nestvec-demo').mkdir()\n"
        "record('demo', settings={'n': 100}, results={'ms': [0.25]})\n"
    )
    (stub.root / "benchmarks" / "size.py").write_text(
        head + "n = 16 if pathlib.Path(sys.argv[1]).is_dir() else 0\n"
        "record('size', settings={}, results={'bytes': n})\n"
    )
    assert run(stub, "--full") == 0
    assert capsys.readouterr().out.endswith(
        "holds: 2, DOES NOT HOLD: 0, informative: 0, not run: 0\n"
    )
    assert not (stub.out / "work").exists()


DRIVER = """
import sys
from pathlib import Path
sys.path.append({benchmarks!r})
import claim_runs, rerun
from claims import load_claims
root = Path({root!r})
claim_runs._END_S = {end_s}
claim_runs.REPOSITORY, rerun.RESULTS = root, root / "benchmarks" / "results"
rerun.load_claims = lambda: load_claims(root / "claims.json")
sys.exit(rerun.main(sys.argv[1:]))
"""
ENDS = """
import os, pathlib, signal, time
try:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path("../../ended").touch()
"""
GOES_ON = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.kill(os.getppid(), signal.SIGINT)
time.sleep(60)
"""


@pytest.mark.parametrize(("script", "end_s"), [(ENDS, 40), (GOES_ON, 0.2)])
def test_an_interrupt_keeps_and_prints_what_was_measured(stub, script, end_s):
    (stub.root / "benchmarks" / "size.py").write_text(script)
    driver = stub.root / "driver.py"
    text = DRIVER.format(benchmarks=str(BENCHMARKS), root=str(stub.root), end_s=end_s)
    driver.write_text(text)
    command = [sys.executable, str(driver), "--full", "--place", "demo=.", "--out", "out"]
    done = subprocess.run(command, cwd=stub.root, capture_output=True, text=True, timeout=30)
    assert done.returncode == rerun.INTERRUPTED, done.stderr
    assert "2/2 size: interrupted" in done.stdout
    assert "x1.04   holds" in done.stdout
    assert done.stdout.endswith("holds: 1, DOES NOT HOLD: 0, informative: 0, not run: 1\n")
    assert "Traceback" not in done.stderr
    assert (stub.out / "speed.json").exists()
    assert (stub.root / "ended").exists() == (script == ENDS)
