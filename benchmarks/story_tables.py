"""Write the commands of docs/existing_database.md with their recorded output."""

from __future__ import annotations

from textwrap import wrap

from existing_database import COMMANDS
from markdown_tables import results

_WIDTH = 96
_NOT_RUN = "<!-- not run: needs a PostgreSQL server; tests/engines_outside runs this page -->"

_ENDS = {"compare": "Queries with the lowest overlap"}

__all__ = ["COMMANDS", "block"]


def block(name: str) -> str:
    """Return the block of one command."""
    parts = wrap(COMMANDS[name], _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    command = " \\\n> ".join(parts)
    output = results("existing_database")[name]
    if name in _ENDS:  # the rest is long
        output = [*output[: output.index(_ENDS[name])], "..."]
    lines = (f"$ {command}", *output)
    return "".join(f"{line}\n" for line in (_NOT_RUN, "```console", *lines, "```"))
