"""``nestvec shrink``: make the search of a table in a database cheaper, in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli.console import (
    INTERRUPTED,
    fail,
    print_json,
    print_line,
    print_next,
    print_wrapped,
    shell_place,
    warn,
)
from nestvec.cli.options import JsonOption, PlanOption
from nestvec.cli.progress import duration_text, progress
from nestvec.errors import InvalidArgument
from nestvec.wording import size_text

if TYPE_CHECKING:
    from nestvec.operate.shrink.outcome import PlannedStatement, ShrinkOutcome, ShrinkStep
    from nestvec.operate.shrink.request import ShrinkRequest

_Url = Annotated[
    str,
    typer.Argument(
        help="Table of PostgreSQL with a column of pgvector, or of LanceDB, such as "
        "postgresql://host/database?table=docs&id=key&vector=embedding or "
        "lance://folder?table=docs&id=key&vector=embedding."
    ),
]
_Point = Annotated[
    str | None,
    typer.Option(
        help='Operating point of later searches, such as "128:float16@200>768:float32". The last '
        "of several stages is the stored vector."
    ),
]
_Column = Annotated[
    str | None,
    typer.Option(
        help="Store the first stage in a new column of this name, such as embedding_128.",
        show_default="PostgreSQL: an index on an expression, without a new column. "
        "LanceDB: VECTOR_DIM_PRECISION",
    ),
]
_Adapter = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        help="With --column: transform the first stage with this linear adapter, a file that "
        "'nestvec adapt' wrote.",
    ),
]
_Function = Annotated[
    str | None,
    typer.Option(
        help="PostgreSQL only: name of the SQL function that searches, such as docs_search.",
        show_default="TABLE_search",
    ),
]
_MetricName = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="Metric of the present searches: cosine, ip or l2.",
        show_default="that of the present index",
    ),
]
_MinOverlap = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Switch only if the new search finds at least this share of the exact 10 best rows "
        "(overlap@10), such as .95.",
    ),
]
_SkipNulls = Annotated[
    bool,
    typer.Option(
        "--skip-nulls", help="Accept rows without a vector (NULL). No search returns these rows."
    ),
]
_FreeDisk = Annotated[
    int | None,
    typer.Option(
        help="Free disk space of the server in bytes, such as 50000000000.",
        show_default="read from the disk if the server runs on this machine",
    ),
]
_DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print the statements with their locks, time and space, and change nothing.",
    ),
]
_Finish = Annotated[
    bool,
    typer.Option("--finish", help="Drop the former index, after the search function was switched."),
]
_Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="With --finish: drop the former index, although a program used it after the switch.",
    ),
]
_CatchUp = Annotated[
    bool,
    typer.Option(
        "--catch-up",
        help="LanceDB only: fill the new column of rows that programs have added or changed since.",
    ),
]
_Undo = Annotated[
    bool,
    typer.Option(
        "--undo",
        help="Return to the former search, and drop what this command created. After --finish, "
        "the former index is rebuilt first.",
    ),
]
_DropFunction = Annotated[
    bool,
    typer.Option(
        "--drop-function",
        help="With --undo: drop the search function, too, when no program calls it any more.",
    ),
]


def shrink(
    url: _Url,
    *,
    plan: PlanOption = None,
    point: _Point = None,
    column: _Column = None,
    function: _Function = None,
    adapter: _Adapter = None,
    metric: _MetricName = None,
    min_overlap: _MinOverlap = 0.0,
    skip_nulls: _SkipNulls = False,
    free_disk: _FreeDisk = None,
    dry_run: _DryRun = False,
    catch_up: _CatchUp = False,
    finish: _Finish = False,
    force: _Force = False,
    undo: _Undo = False,
    drop_function: _DropFunction = False,
    json: JsonOption = False,
) -> None:
    """Make the search of a table of PostgreSQL or LanceDB cheaper, while programs use the table.

    The command builds the index of the operating point, compares its answers with exact ones, and
    switches the search: in PostgreSQL the function TABLE_search(query, k), in LanceDB a record in
    the table, which search_table() of Python reads.
    Repeat an interrupted command to continue.

    Example: nestvec shrink "postgresql://localhost/shop?table=docs" --plan plan.json
    """
    from nestvec.operate.shrink.request import ShrinkRequest, metric_named
    from nestvec.types import OperatingPoint

    forward = {
        **{"plan": plan, "point": point, "column": column, "function": function, "metric": metric},
        **{"min_overlap": min_overlap, "skip_nulls": skip_nulls, "free_disk": free_disk},
        **{"adapter": adapter, "dry_run": dry_run},
    }
    if drop_function and not undo:
        raise InvalidArgument("--drop-function requires --undo.")
    if force and not finish:
        raise InvalidArgument("--force requires --finish.")
    later = {"catch_up": catch_up, "finish": finish, "undo": undo}
    which = [name for name, is_passed in later.items() if is_passed]
    if which:
        _check_alone(forward, which)
        _run_later(url, which[0], force=force, drop_function=drop_function, as_json=json)
        return
    chosen, full_dim = _chosen_point(plan, point, adapter)
    request = ShrinkRequest(
        OperatingPoint.parse(chosen),
        column=column,
        function=function,
        metric=metric_named(metric),
        min_overlap=min_overlap,
        skip_nulls=skip_nulls,
        free_disk=free_disk,
        full_dim=full_dim,
        adapter=adapter,
    )
    _run(url, request, dry_run=dry_run, as_json=json)


def _run(url: str, request: ShrinkRequest, *, dry_run: bool, as_json: bool) -> None:
    from nestvec.operate.shrink.table import preview_shrink
    from nestvec.operate.shrink.table import shrink as shrink_table

    if dry_run:
        planned, notes = preview_shrink(url, request)
        _print_preview(planned, notes, as_json=as_json)
        return
    with _repeatable(), progress("shrink") as on_progress:
        outcome = shrink_table(
            url, request, on_step=None if as_json else _print_step, on_progress=on_progress
        )
    _report(url, outcome, as_json=as_json)


def _run_later(url: str, which: str, *, force: bool, drop_function: bool, as_json: bool) -> None:
    """Run a command that needs a shrunk table."""
    from nestvec.operate.shrink import table

    on_step = None if as_json else _print_step
    with _repeatable(), progress("shrink") as on_progress:
        if which == "catch_up":
            outcome = table.catch_up(url, on_step=on_step, on_progress=on_progress)
        elif which == "finish":
            outcome = table.finish_shrink(
                url, force=force, on_step=on_step, on_progress=on_progress
            )
        else:
            outcome = table.undo_shrink(
                url, drop_function=drop_function, on_step=on_step, on_progress=on_progress
            )
    _report(url, outcome, as_json=as_json, function_dropped=drop_function)


@contextmanager
def _repeatable() -> Iterator[None]:
    """On Ctrl-C, exit with the commands that continue or undo the work."""
    try:
        yield
    except KeyboardInterrupt:
        remedy = "Repeat the command to continue, or run it with --undo."
        fail(f"interrupted. Searches continue. {remedy}", code=INTERRUPTED)


def _check_alone(forward: Mapping[str, Any], which: Sequence[str]) -> None:
    """Check that ``--catch-up``, ``--finish`` or ``--undo`` is passed without other options.

    Raises:
        InvalidArgument: If another option is passed, too.
    """
    names = [_option(name) for name in which]
    if len(names) > 1:
        raise InvalidArgument(f"{' and '.join(names)} exclude each other. Pass one of them.")
    passed = [_option(name) for name, value in forward.items() if value]
    if passed:
        raise InvalidArgument(f"{names[0]} needs only the URL. Remove {', '.join(passed)}.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _chosen_point(
    plan: Path | None, point: str | None, adapter: Path | None
) -> tuple[str, int | None]:
    """Return the operating point, and the width that a plan was made for.

    Raises:
        InvalidArgument: If there is no point, or two, or the plan is for another adapter.
    """
    from nestvec.models.adapter_file import load_adapter
    from nestvec.planning.choose import Plan

    if (plan is None) == (point is None):
        options = "(or --catch-up, --finish or --undo)"
        raise InvalidArgument(f"Pass either --plan or --point {options}.")
    if plan is None:
        return str(point), None
    chosen = Plan.load(plan)
    digest = "" if adapter is None else load_adapter(adapter).digest()
    if chosen.model.adapter != digest:
        measured = "with an adapter" if chosen.model.adapter else "without an adapter"
        raise InvalidArgument(f"{plan} was measured {measured}. Pass the same --adapter, or none.")
    if not chosen.confirmed:
        warn(f"the plan is {chosen.verdict}: its target was not reached with confidence.")
    return str(chosen.point), chosen.model.full_dim


def _print_step(step: ShrinkStep) -> None:
    seconds = f"{step.seconds:.1f} s" if step.seconds < 10 else duration_text(step.seconds)
    detail = f": {step.detail}" if step.detail else ""
    print_wrapped(f"{step.name}{detail} ({seconds})")


def _print_preview(
    planned: tuple[PlannedStatement, ...], notes: tuple[str, ...], *, as_json: bool
) -> None:
    if as_json:
        print_json({"statements": [each.to_json() for each in planned], "notes": list(notes)})
        return
    for each in planned:
        for line in f"{each.sql};".splitlines():
            print_line(line)
        print_wrapped(f"-- lock: {each.lock}")
        costs = [f"about {duration_text(each.seconds)}"] if each.seconds else []
        if each.size:
            costs.append(f"{size_text(abs(each.size))} {'freed' if each.size < 0 else 'needed'}")
        if costs:
            print_wrapped(f"-- estimated: {', '.join(costs)}")
        if each.when != "shrink":
            print_line(f"-- run by --{each.when} only")
        print_line("")
    for note in notes:
        print_wrapped(note)
    print_line("Nothing was changed.")


def _report(
    url: str, outcome: ShrinkOutcome, *, as_json: bool, function_dropped: bool = False
) -> None:
    if as_json:
        print_json(outcome.to_json())
        return
    for note in outcome.notes:
        print_wrapped(note)
    place = shell_place(url)
    if outcome.state == "undone":
        if outcome.function and not function_dropped:
            print_wrapped(f"{outcome.function} remains, with the former search.")
            print_next(f"nestvec shrink {place} --undo --drop-function")
        return
    former = size_text(outcome.former_bytes) if outcome.former_bytes else "none"
    column = f", column {size_text(outcome.column_bytes)}" if outcome.column_bytes else ""
    print_wrapped(f"index: {former} before, {size_text(outcome.index_bytes)} now{column}")
    print_wrapped(f"search with: {outcome.call}")
    if outcome.state == "switched":
        print_next(f"nestvec shrink {place} --finish", f"nestvec shrink {place} --undo")
    else:
        print_next(f"nestvec shrink {place} --undo")
