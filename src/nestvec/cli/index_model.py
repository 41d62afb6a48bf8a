"""``nestvec index model``: record the model that made the vectors of an index."""

from __future__ import annotations

from typing import Annotated

import typer

from nestvec.cli.console import print_next, print_wrapped, shell_place
from nestvec.cli.models import LOADING, PAIR, ModelChoice, load_encoder, model_options
from nestvec.cli.options import (
    IndexArgument,
)

_Model = Annotated[
    str, typer.Argument(help="Model folder or Hugging Face hub id that made the vectors.")
]


@model_options(*LOADING, *PAIR, "cache", "base_url")
def model(
    index: IndexArgument,
    model: _Model,
    *,
    choice: ModelChoice,
) -> None:
    """Record the model that made the vectors of an index.

    An index of your own vectors needs this once. Stored documents are encoded and compared with
    their vectors. Searches, servers and 'nestvec index add' then encode texts with the model.

    Example: nestvec index model index intfloat/e5-small-v2 --document-prompt "passage: "
    """
    from nestvec.index.index import Index
    from nestvec.models.prompts import prompts_text

    encoder = load_encoder(model, choice)
    with Index.open(index) as opened:
        lowest = opened.record_model(encoder)
    print_wrapped(f"recorded {encoder.info.name}; lowest cosine to the stored vectors {lowest:.4f}")
    print_wrapped(prompts_text(encoder.info))
    print_next(f'nestvec search {shell_place(index)} "your question"')
