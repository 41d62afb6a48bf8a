"""Which rows are coded together: parts that grow as documents come, so that there are few.

The tail becomes a part when it is long enough; a part that is not twice as long as the one behind
it is joined with that. So there are at most as many as the number of rows has binary digits, and
a row is coded as often at most.
"""

from __future__ import annotations

from nestvec.index.embedded.state import Span, State


def next_parts(state: State, *, at_least: int) -> tuple[Span, ...] | None:
    """Return the parts after the tail is coded; None while that is shorter than ``at_least``."""
    end, first = state.n_rows, state.n_coded
    if end - first < max(1, at_least):
        return None
    parts = list(state.parts)
    while parts and parts[-1].n_rows < 2 * (end - first):
        first = parts.pop().first_row
    return (*parts, Span(first, end - first, state.digest.hex()))
