"""``nestvec index copy``: copy an index to another place or engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from nestvec.cli.console import check_output, print_next, print_wrapped, resumable, shell_place
from nestvec.cli.index_files import close_and_report
from nestvec.cli.options import IndexArgument, PlanOption
from nestvec.cli.progress import progress
from nestvec.engines.places import is_url
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.engines.manifest import Stored

_Target = Annotated[
    str,
    typer.Argument(
        help="Index folder to write, or URL such as postgresql://host/database?table=docs."
    ),
]
_Point = Annotated[
    str | None,
    typer.Option(
        help='Operating point of the copy, such as "128:float16@200>768:float16".',
        show_default="that of the index",
    ),
]
StoredOption = Annotated[
    str | None,
    typer.Option(
        "--stored",
        help="Precision of the stored full vectors of the copy: float16 or float32.",
        show_default="that of the index",
    ),
]


def copy(
    index: IndexArgument,
    target: _Target,
    *,
    plan: PlanOption = None,
    point: _Point = None,
    stored: StoredOption = None,
) -> None:
    """Copy an index to another place or engine. No text is encoded.

    The copy is compared with the index before it replaces an index at the target.

    Example: nestvec index copy index "postgresql://localhost/search?table=docs" --plan plan.json
    """
    from nestvec.index.building import count_unfinished
    from nestvec.index.copying import copy_index
    from nestvec.planning.choose import Plan

    if plan is not None and point is not None:
        raise InvalidArgument("--plan and --point exclude each other. Pass one of them.")
    if not is_url(target):
        check_output(Path(target), folder=True)
    chosen = point if plan is None else Plan.load(plan)
    start = time.perf_counter()
    with (
        resumable(lambda: count_unfinished(target), None),
        progress("copy documents", unit="documents") as on_progress,
    ):
        copied = copy_index(
            index, target, point=chosen, stored=stored_precision(stored), on_progress=on_progress
        )
    with copied:
        close_and_report(copied, target, seconds=time.perf_counter() - start)
    print_wrapped("the documents and the results of sampled searches equal those of the index")
    print_next(f'nestvec search {shell_place(target)} "your question"')


def stored_precision(name: str | None) -> Stored | None:
    """Return the value of ``--stored``.

    Raises:
        InvalidArgument: If it is not a precision of stored vectors.
    """
    from nestvec.engines.manifest import Stored

    known = get_args(Stored)
    if name is not None and name not in known:
        raise InvalidArgument(f"--stored {name!r} is not one of {', '.join(known)}.")
    return cast("Stored | None", name)
