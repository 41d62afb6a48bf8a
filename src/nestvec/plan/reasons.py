"""Say in plain words why a plan chose a point, one sentence for each reason.

Words only: what was chosen, tested and found is for ``plan`` to decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nestvec.curve import Curve
from nestvec.plan.confirm import Tested


@dataclass(frozen=True)
class Findings:
    """What a plan knows when it explains itself.

    Attributes:
        curve: What was measured.
        chosen: The point it names.
        confirmed: Whether the point passed the test.
        target: The retention that was asked for.
        confidence: One-sided, of every "at least".
        queries_tested: Number of queries not used to choose.
        queries_needed: How many in all would likely confirm it; None where no number will do, or
            where it is confirmed.
        cheaper: The next cheaper candidate, where there is one.
        narrower: The best candidate with fewer dims in stage 1 at the same precision.
        alone: The first stage without rescoring, where the point has more than one.
    """

    curve: Curve
    chosen: Tested
    confirmed: bool
    target: float
    confidence: float
    queries_tested: int
    queries_needed: int | None
    cheaper: Tested | None
    narrower: Tested | None
    alone: Tested | None


def explain(found: Findings) -> tuple[str, ...]:
    """Give the reasons, the most important first."""
    return tuple(_sentences(found))


def percent(share: float) -> str:
    """Write a share with one decimal.

    >>> percent(0.98449)
    '98.4 %'
    """
    return f"{share:.1%}".replace("%", " %")


def percent_at_least(share: float) -> str:
    """Write a lower bound with one decimal, rounded down so that it stays one.

    >>> percent_at_least(0.98449), percent_at_least(0.97999)
    ('98.4 %', '97.9 %')
    """
    return percent(math.floor(round(share * 1000, 6)) / 1000)


def _sentences(found: Findings) -> Iterator[str]:
    yield _kept(found)
    yield _memory(found)
    if not found.confirmed:
        yield _more_queries(found)
    else:
        yield _why_not_cheaper(found)
        yield from _why_this_first_stage(found)
    documents = found.curve.dataset.get("n_documents")
    size = f"more than {documents:,} documents" if documents else "a larger corpus"
    yield f"Not measured: {size}; other kinds of queries."


def _why_this_first_stage(found: Findings) -> Iterator[str]:
    first = found.chosen.row.point.stages[0]
    if found.narrower is not None:
        kept = percent(found.narrower.retention)
        yield f"Fewer than {first.dim} dims in stage 1 would keep {kept} at best."
    if found.alone is not None:
        kept = percent(found.alone.retention)
        yield f"The first stage alone, {found.alone.row.point}, would keep {kept}."


def _kept(found: Findings) -> str:
    chosen, verdict = found.chosen, "" if found.confirmed else f", not {_target(found)},"
    return (
        f"Keeps {percent(chosen.retention)}, at least "
        f"{percent_at_least(chosen.at_least)}{verdict} with {found.confidence * 100:g} % "
        f"confidence, on {found.queries_tested:,} queries not used to choose."
    )


def _memory(found: Findings) -> str:
    cost = found.chosen.row.cost
    disk = f" + {_bytes(cost.disk_bytes_per_vector)} on disk" if cost.disk_bytes_per_vector else ""
    full = _bytes(found.curve.full.cost.ram_bytes_per_vector)
    return f"Each vector takes {_bytes(cost.ram_bytes_per_vector)} in memory{disk}, was {full}."


def _bytes(count: float) -> str:
    return f"{count:,.1f}".removesuffix(".0") + " B"


def _why_not_cheaper(found: Findings) -> str:
    if found.cheaper is None:
        return "Nothing cheaper in memory was measured within the limits."
    row, cheaper = found.cheaper.row, found.cheaper
    return (
        f"The next cheaper, {row.point} ({_bytes(row.cost.ram_bytes_per_vector)} in memory), "
        f"keeps {percent(cheaper.retention)}, at least {percent_at_least(cheaper.at_least)}: "
        f"{_target(found)} is not confirmed."
    )


def _more_queries(found: Findings) -> str:
    if found.queries_needed is None:
        return (
            f"No number of queries will do: by its estimate it keeps no more than "
            f"{_target(found)}; ask for less or measure other points."
        )
    more = found.queries_needed - len(found.curve.scores.query_ids)
    return (
        f"About {found.queries_needed:,} queries, half of them to test on, would confirm it in "
        f"4 of 5 cases if it keeps what it seems to"
        + (f": {more:,} more than there are." if more > 0 else ", so this may be bad luck.")
    )


def _target(found: Findings) -> str:
    return f"{found.target * 100:g} %"
