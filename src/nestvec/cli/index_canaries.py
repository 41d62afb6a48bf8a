"""``nestvec index canaries``: store texts with their vectors, to detect a changed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.api_costs import confirm_cost
from nestvec.cli.console import print_json, print_next, print_wrapped, shell_place
from nestvec.cli.models import COSTS, ModelChoice, load_index_model, model_options
from nestvec.cli.options import IndexArgument, IndexDtypeOption, IndexModelOption, JsonOption
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.types import Encoder

_Texts = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Text file with one text per line, such as typical.txt.",
        show_default="32 documents of the index, drawn at random",
    ),
]


@model_options("dtype", "device", "trust_remote_code", *COSTS, dtype=IndexDtypeOption)
def canaries(
    index: IndexArgument,
    *,
    texts: _Texts = None,
    model: IndexModelOption = None,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Store texts with the vectors that the model returns now, to detect a change of the model.

    'nestvec index build' does this. An index of an earlier version needs this command once. First,
    documents of the index are encoded and compared with their stored vectors.

    Example: nestvec index canaries index
    """
    from nestvec.data.records import read_lines
    from nestvec.engines.registry import engine_at
    from nestvec.index.canaries import record_canaries

    given = None if texts is None else [text for _, text in read_lines(texts)]
    encoder = load_index_model(index, model, choice)
    before = engine_at(index).read_manifest(index).canaries

    def confirm(model: Encoder, encoded: Sequence[str]) -> None:
        confirm_cost(model, {"document": encoded}, choice)

    recorded = record_canaries(index, encoder, texts=given, before_encoding=confirm)
    if as_json:
        print_json(asdict(recorded.summary))
        return
    replaced = "" if before is None else f"; they replace those of {before.recorded_at[:10]}"
    print_wrapped(f"stored {count_text(len(recorded.texts), 'canary')}{replaced}")
    print_next(f"nestvec check {shell_place(index)}")
