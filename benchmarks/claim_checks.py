"""Compare the numbers in the pages with the committed results, without running a benchmark.

The checks find a number that was changed in a page or in a result, a result that no page uses, and
a speed in the README that does not name its instruction set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from claim_values import read_value
from claims import Claim, Claims
from nestvec.measure.machine import UNKNOWN, instruction_set_of

README = "README.md"
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d[\d,]*)?\.?\d+")
_WORDS: Mapping[str, int | Fraction] = {
    **{"one": 1, "two": 2, "twice": 2, "doubles": 2, "three": 3, "four": 4, "five": 5, "six": 6},
    **{"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4)},
    **{"sixth": 6, "fifteenth": 15, "thirtieth": 30},  # the divisor
}
_READ_BY_TABLES = re.compile(r"\bresults\(\"(\w+)\"\)")
_BLOCKS = re.compile(r"\n\s*\n|\n(?=\s*[-*] )")


def problems(claims: Claims, *, repository: Path, results: Path) -> Iterator[str]:
    """Yield one line for each difference between pages, claims and results."""
    for claim in claims.claims:
        yield from _page_problems(claim, repository)
        yield from _value_problems(claim, results)
        if claim.file == README and claim.kind == "speed":
            yield from _instruction_problems(claim, repository, results)
    for benchmark in claims.benchmarks.values():
        if not (repository / benchmark.command[0]).is_file():
            yield f"{benchmark.name}: {benchmark.command[0]} does not exist."
    yield from _unused_results(claims, repository, results)


def numbers_in(text: str) -> set[float]:
    """Return the numbers in a text, in digits or in words."""
    found = {float(each.replace(",", "")) for each in _NUMBER.findall(text)}
    return found | {float(_WORDS[word]) for word in re.findall(r"[a-z]+", text) if word in _WORDS}


def _page_problems(claim: Claim, repository: Path) -> Iterator[str]:
    if claim.value not in numbers_in(claim.text):
        yield f"{claim.name}: the text {claim.text!r} does not contain {claim.value:g}."
    page = _one_line((repository / claim.file).read_text("utf-8"))
    if claim.text not in page:
        yield f"{claim.name}: {claim.file} does not contain the text {claim.text!r}."


def _value_problems(claim: Claim, results: Path) -> Iterator[str]:
    path = results / f"{claim.benchmark}.json"
    try:
        measured = read_value(json.loads(path.read_text("utf-8")), claim.measured)
    except (OSError, LookupError) as error:
        yield f"{claim.name}: {path.name} has no value: {error}."
        return
    if not claim.is_quoted_correctly(measured):
        relation = "" if claim.relation == "=" else f" {claim.relation}"
        yield (
            f"{claim.name}: {claim.file} states{relation} {claim.value:g}, "
            f"{path.name} has {measured:.6g}."
        )


def _instruction_problems(claim: Claim, repository: Path, results: Path) -> Iterator[str]:
    machine = json.loads((results / f"{claim.benchmark}.json").read_text("utf-8"))["machine"]
    recorded = instruction_set_of(machine)
    if recorded == UNKNOWN:
        yield f"{claim.name}: {claim.benchmark}.json does not record an instruction set."
        return
    blocks = map(_one_line, _BLOCKS.split((repository / claim.file).read_text("utf-8")))
    words = " ".join(block for block in blocks if claim.text in block)
    sets = machine["instruction_set"].split(", ")
    if not any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words) for name in sets):
        yield f"{claim.name}: the paragraph in {claim.file} names no instruction set of {sets}."


def _unused_results(claims: Claims, repository: Path, results: Path) -> Iterator[str]:
    sources = sorted((repository / "benchmarks").glob("*tables.py"))
    tables = {name for path in sources for name in _READ_BY_TABLES.findall(path.read_text("utf-8"))}
    used = tables | {claim.benchmark for claim in claims.claims}
    for path in sorted(results.glob("*.json")):
        benchmark = claims.benchmarks.get(path.stem)
        if benchmark is None:
            yield f"{path.name}: claims.json has no benchmark of this name. Add it."
        elif path.stem not in used and not benchmark.unquoted:
            yield f"{path.name}: neither a claim nor a table uses this result."


def _one_line(text: str) -> str:
    return " ".join(text.split())
