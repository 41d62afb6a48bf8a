"""Read committed results, and write Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from record import RESULTS

METRIC = "nDCG@10"


def results(name: str) -> Any:
    """Return the recorded results of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["results"]


def text_block(lines: Iterable[str]) -> str:
    """Write lines as a text block."""
    return "".join(f"{line}\n" for line in ("```text", *lines, "```"))


def markdown(lines: Iterable[list[str]]) -> str:
    """Write a header and rows as a table; the first two columns are text."""
    header, *rows = lines
    rule = [":--" if number < 2 else "--:" for number in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows))
