"""The numbers that README and docs quote from benchmarks, and whether results still support them.

``claims.json`` has two parts. ``benchmarks`` states how each benchmark is run, and what it needs.
``claims`` states for each quoted number: the page and the text, the value in the text, and where
the value is in the JSON file of the benchmark. ``rerun`` runs the commands, ``claim_checks``
compares the pages with the committed results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from claim_values import read_value
from nestvec.measure.machine import UNKNOWN, instruction_set_of

FILE = Path(__file__).parent / "claims.json"

Kind = Literal["speed", "quality", "size"]
Relation = Literal["=", ">=", "<="]
TOLERANCE: Mapping[Kind, float] = {"speed": 0.25, "quality": 0.02, "size": 0.05}
"""Relative difference between machines or runs that does not contradict a claim."""


@dataclass(frozen=True)
class Benchmark:
    """How a benchmark is run.

    Attributes:
        name: The name of its JSON file in ``results``.
        measures: One sentence for readers.
        command: Arguments of Python, with placeholders such as ``{demo}`` for what it needs.
        length: "quick" takes minutes, "full" hours (or needs servers or large data).
        packages: Modules that must be importable.
        environment: Environment variables of the command.
        settings: Settings that must be equal for a comparison of results: names, or paths in the
            JSON file.
        unquoted: Why neither a claim nor a table uses the results, if so.
    """

    name: str
    measures: str
    command: Sequence[str]
    length: Literal["quick", "full"]
    packages: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Sequence[str | Sequence[str]] = ()
    unquoted: str = ""


@dataclass(frozen=True)
class Claim:
    """A number in a page.

    Attributes:
        name: Identifies the claim.
        file: The page, relative to the repository.
        text: Words of the page that contain the number; line breaks count as spaces.
        value: The number as written, such as 0.25 for "a quarter".
        kind: Only the value of "speed" depends on the instruction set.
        benchmark: The benchmark that measures the number.
        measured: Where the value is in the JSON file; see `claim_values.read_value`.
        relation: How the measured value relates to the number.
        within: For "=", how far rounding may move the number.
        tolerance: Relative difference that does not contradict the claim in a new run.
        better: Differences in this direction never contradict the claim.
    """

    name: str
    file: str
    text: str
    value: float
    kind: Kind
    benchmark: str
    measured: Mapping[str, Any]
    relation: Relation = "="
    within: float = 0.0
    tolerance: float | None = None
    better: Literal["higher", "lower"] | None = None

    def is_quoted_correctly(self, measured: float) -> bool:
        """Return whether the number is the rounded measured value, or a bound of the value."""
        if self.relation == "=":
            return abs(measured - self.value) <= self.within * (1 + 1e-9)
        return measured >= self.value if self.relation == ">=" else measured <= self.value

    def holds(self, measured: float) -> bool:
        """Return whether a new measurement supports the claim."""
        if self.relation != "=" or self.is_quoted_correctly(measured):
            return self.is_quoted_correctly(measured)
        if self.better is not None and (measured > self.value) == (self.better == "higher"):
            return True
        share = TOLERANCE[self.kind] if self.tolerance is None else self.tolerance
        return abs(measured - self.value) <= share * abs(self.value) + self.within


@dataclass(frozen=True)
class Claims:
    """All benchmarks by name, and all claims."""

    benchmarks: Mapping[str, Benchmark]
    claims: Sequence[Claim]

    def of(self, benchmark: str) -> list[Claim]:
        """Return the claims that a benchmark measures."""
        return [claim for claim in self.claims if claim.benchmark == benchmark]


@dataclass(frozen=True)
class Outcome:
    """What a new run says about a claim.

    Attributes:
        claim: The claim.
        old: The committed value.
        new: The new value, or None if there is none.
        verdict: "holds", "DOES NOT HOLD", "informative" or "not run".
        why: Reasons of the last two.
    """

    claim: Claim
    old: float
    new: float | None
    verdict: Literal["holds", "DOES NOT HOLD", "informative", "not run"]
    why: Sequence[str] = field(default=())


_Made = TypeVar("_Made", Benchmark, Claim)


def load_claims(path: Path = FILE) -> Claims:
    """Read the file of claims.

    Raises:
        ValueError: If a field is missing or unknown, a name appears twice, or a claim names a
            benchmark that the file lacks.
    """
    values = json.loads(path.read_text("utf-8"))
    benchmarks = {
        name: _made(Benchmark, f"benchmark {name}", {"name": name, **entry})
        for name, entry in values["benchmarks"].items()
    }
    claims = [_made(Claim, f"claim {entry.get('name')}", entry) for entry in values["claims"]]
    names = [claim.name for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"claim {name}: the name appears twice.")
    for claim in claims:
        if claim.benchmark not in benchmarks:
            raise ValueError(f"claim {claim.name}: unknown benchmark {claim.benchmark!r}.")
    return Claims(benchmarks, claims)


def _made(kind: type[_Made], what: str, values: Mapping[str, Any]) -> _Made:
    unknown = values.keys() - {each.name for each in fields(kind)}
    if unknown:
        raise ValueError(f"{what}: unknown fields: {', '.join(sorted(unknown))}.")
    try:
        return kind(**values)
    except TypeError as error:  # names the missing fields
        raise ValueError(f"{what}: {error}") from error


def compare(
    claim: Claim,
    benchmark: Benchmark,
    old: Mapping[str, Any],
    new: Mapping[str, Any] | None,
    reason: str | None = None,
) -> Outcome:
    """Compare the committed JSON of a benchmark with that of a new run.

    A comparison is only informative if the settings differ, or if the claim is about speed and the
    instruction sets differ or are unknown. Without a new JSON file, ``reason`` states why.
    """
    before = read_value(old, claim.measured)
    if new is None:
        return Outcome(claim, before, None, "not run", (reason or "no result",))
    try:
        after = read_value(new, claim.measured)
    except (LookupError, TypeError, ZeroDivisionError) as error:
        return Outcome(claim, before, None, "not run", (f"the new result lacks {error}",))
    why = different_settings(benchmark, old, new)
    if claim.kind == "speed":
        why += different_instructions(old["machine"], new["machine"])
    if why:
        return Outcome(claim, before, after, "informative", why)
    return Outcome(claim, before, after, "holds" if claim.holds(after) else "DOES NOT HOLD")


def different_settings(
    benchmark: Benchmark, old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return one reason for each setting whose value differs."""
    why = []
    for setting in benchmark.settings:
        path = ["settings", setting] if isinstance(setting, str) else list(setting)
        before, after = (_value_at(document, path) for document in (old, new))
        if before != after:
            why.append(f"{path[-1]}: {before!r}, now {after!r}")
    return tuple(why)


def _value_at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key, {})
    return document


def different_instructions(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a reason if the instruction sets of two machines differ or are unknown."""
    before, after = instruction_set_of(old), instruction_set_of(new)
    if before == after and UNKNOWN not in before:
        return ()
    return (f"instruction set: {before}, now {after}",)
