"""Write the tables of docs/benchmarks.md: what is measured, and the commands."""

from __future__ import annotations

import json

from claims import Benchmark, load_claims
from markdown_tables import markdown, text_block
from nestvec.measure.machine import instruction_set_of
from record import RESULTS

_TARGETS = {"quick": "`make bench`", "full": "`make bench-full`"}


def benchmarks() -> str:
    """List each benchmark with the instruction set of its committed result."""
    claims = load_claims()
    lines = [["benchmark", "what it measures", "claims", "run by", "instruction set"]]
    for name, each in claims.benchmarks.items():
        machine = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["machine"]
        number = len(claims.of(name))
        lines.append(
            [
                f"`{name}`",
                each.measures,
                str(number) if number else "table only" if not each.unquoted else "",
                _TARGETS[each.length],
                instruction_set_of(machine),
            ]
        )
    return markdown(lines)


def benchmark_commands() -> str:
    """List the command of each benchmark."""
    return text_block(_command(each) for each in load_claims().benchmarks.values())


def _command(benchmark: Benchmark) -> str:
    variables = [f"{name}={value}" for name, value in benchmark.environment.items()]
    words = [f'"{each}"' if " " in each else each for each in benchmark.command]
    return " ".join((*variables, "python", *words))
