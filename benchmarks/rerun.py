"""Measure again what README and docs quote, and print old and new numbers side by side.

    python benchmarks/rerun.py                  # minutes
    python benchmarks/rerun.py --full           # hours; servers and large data where they are named
    python benchmarks/rerun.py --only scan      # one benchmark, or the benchmark of one claim
    python benchmarks/rerun.py --check          # no benchmark: pages against the committed results

New results are written to a temporary folder; ``--accept`` copies them to ``benchmarks/results``.
The exit code is 1 if a benchmark fails or a claim does not hold on this machine. A claim is only
compared for information if its settings differ, or if the claim is about speed and the committed
result has another instruction set. ``claims.json`` lists the claims and what each benchmark needs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from claim_checks import problems
from claim_runs import REPOSITORY, Places, run_all
from claims import Benchmark, Claims, Outcome, compare, load_claims
from nestvec.measure.machine import describe_machine, instruction_set_of
from record import RESULTS

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the pages, or run benchmarks and compare their results; return the exit code."""
    options = _options().parse_args(arguments)
    claims = load_claims()
    if options.check:
        return _check(claims)
    try:
        chosen = choose(claims, full=options.full, only=options.only)
        places = Places.find(options.place)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    folder = options.out or Path(tempfile.mkdtemp(prefix="nestvec-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"instruction set of this machine: {instruction_set_of(describe_machine())}")
    print(f"results: {folder}", flush=True)
    not_run, interrupted = run_all(chosen, places, folder.resolve())
    failed = False
    outcomes = []
    for benchmark in chosen:
        reason = not_run.get(benchmark.name)
        failed |= reason is not None and reason.startswith("failed")
        outcomes += _outcomes(claims, benchmark, folder, reason)
    print_outcomes(outcomes, folder)
    if options.accept:
        _accept(folder, [each.name for each in chosen if each.name not in not_run])
    if interrupted:
        return INTERRUPTED
    return int(failed or any(each.verdict == "DOES NOT HOLD" for each in outcomes))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="Compare pages and results only.")
    parser.add_argument("--full", action="store_true", help="Also run benchmarks of hours.")
    parser.add_argument(
        "--only", action="append", default=[], help="Name of a benchmark or a claim; repeatable."
    )
    parser.add_argument("--out", type=Path, help="Folder of the results. Default: a new one.")
    parser.add_argument("--accept", action="store_true", help="Replace the committed results.")
    parser.add_argument(
        "--place",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="Where a benchmark finds what it needs, such as corpus=FOLDER; repeatable.",
    )
    return parser


def choose(claims: Claims, *, full: bool, only: Sequence[str]) -> list[Benchmark]:
    """Return the benchmarks to run, which are those with claims.

    Raises:
        ValueError: If a name in ``only`` is neither a benchmark with claims nor a claim.
    """
    measured = {claim.benchmark for claim in claims.claims}
    if not only:
        return [
            each
            for each in claims.benchmarks.values()
            if each.name in measured and (full or each.length == "quick")
        ]
    of_claims = {claim.name: claim.benchmark for claim in claims.claims}
    wanted = {of_claims.get(name, name) for name in only}
    if unknown := wanted - measured:
        raise ValueError(
            f"Unknown: {', '.join(sorted(unknown))}. "
            f"Benchmarks with claims: {', '.join(sorted(measured))}."
        )
    return [each for each in claims.benchmarks.values() if each.name in wanted]


def _outcomes(
    claims: Claims, benchmark: Benchmark, folder: Path, reason: str | None
) -> list[Outcome]:
    old = json.loads((RESULTS / f"{benchmark.name}.json").read_text("utf-8"))
    new = None
    if reason is None:
        new = json.loads((folder / f"{benchmark.name}.json").read_text("utf-8"))
    return [compare(claim, benchmark, old, new, reason) for claim in claims.of(benchmark.name)]


def print_outcomes(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Print one line for each claim, a line of its instruction sets, and the counts of verdicts."""
    shown = None
    for each in outcomes:
        benchmark = each.claim.benchmark
        if benchmark != shown:
            shown = benchmark
            print(f"\n{benchmark}: {_instructions(benchmark, folder)}")
        new = "-" if each.new is None else f"{each.new:.5g}"
        ratio = f"x{each.new / each.old:.2f}" if each.new is not None and each.old else ""
        verdict = ": ".join((each.verdict, *(["; ".join(each.why)] if each.why else [])))
        print(
            f"  {each.claim.name:28} quoted {each.claim.value:<8.6g} "
            f"old {each.old:<9.5g} new {new:<9} {ratio:7} {verdict}"
        )
    counts = {name: 0 for name in ("holds", "DOES NOT HOLD", "informative", "not run")}
    for each in outcomes:
        counts[each.verdict] += 1
    print("\n" + ", ".join(f"{name}: {count}" for name, count in counts.items()))


def _instructions(benchmark: str, folder: Path) -> str:
    found = []
    for name, path in (("committed", RESULTS), ("now", folder)):
        file = path / f"{benchmark}.json"
        if file.exists():
            machine = json.loads(file.read_text("utf-8"))["machine"]
            found.append(f"{name} {machine['processor']}, {instruction_set_of(machine)}")
    return "; ".join(found)


def _accept(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        shutil.copyfile(folder / f"{name}.json", RESULTS / f"{name}.json")
        print(f"accepted: benchmarks/results/{name}.json")
    if names:
        print("Run benchmarks/make_tables.py, then benchmarks/rerun.py --check for the sentences.")


def _check(claims: Claims) -> int:
    found = list(problems(claims, repository=REPOSITORY, results=RESULTS))
    for line in found:
        print(line)
    print(f"{len(claims.claims)} claims, {len(found)} problems")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
