"""``nestvec models``: list the known models, or explain one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import print_json, print_line, print_next, print_wrapped, width
from nestvec.cli.options import JsonOption, ModelsOption
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.models.known_row import KnownModel

_Name = Annotated[
    str | None, typer.Argument(help="Name of a model to explain, such as voyage-4-large.")
]


def models(name: _Name = None, models: ModelsOption = None, as_json: JsonOption = False) -> None:
    """List the models that nestvec knows, or explain one model.

    Example: nestvec models Qwen/Qwen3-Embedding-0.6B
    """
    from nestvec.models.known import closest_names, find_known, known_models

    if name is None:
        rows = known_models(models)
        if as_json:
            print_json({"models": [_plain(row) for row in rows]})
        else:
            _print_table(rows)
        return
    row = find_known(name, models)
    if row is None:
        close = closest_names(name, models)
        similar = f"Similar names: {', '.join(close)}. " if close else ""
        raise InvalidArgument(
            f"{name} is not a known model. {similar}'nestvec models' lists all names."
        )
    if as_json:
        print_json(_plain(row))
        return
    for sentence in explain(row):
        print_wrapped(sentence)
    if not (row.api or row.multi_vector):
        code = " --trust-remote-code" if row.remote_code else ""
        print_next(f"nestvec evaluate {row.name} DATASET --out curve.json{code}")


def explain(row: KnownModel) -> Iterator[str]:
    """Yield what is known about a model, in sentences."""
    yield f"{row.name}: {row.full_dim} dims. {_truncation(row)}"
    yield from _prompts(row)
    if row.query_task:
        yield f"Task argument: {row.query_task!r} for queries, {row.document_task!r} for documents."
    if row.layer_norm:
        yield "Layer normalization is applied before truncation."
    if row.pooling:
        yield f"Pooling: {row.pooling}."
    if row.refused_dtypes:
        yield f"Refused data types: {', '.join(row.refused_dtypes)}."
    if row.space:
        others = "other models of the same space"
        yield f"Embedding space: {row.space}. Its vectors can be compared with {others}."
    if row.api:
        yield "The model is available through an API only."
    if row.note:
        yield row.note
    license_ = f"License: {row.license}. " if row.license else ""
    checked = f", checked {row.checked}" if row.checked else ""
    yield f"{license_}Source: {row.source or 'not stated'}{checked}"


def trained_dims_text(row: KnownModel) -> str:
    """Return the trained dims of a model on a few characters."""
    if row.multi_vector:
        return "multi-vector: refused"
    if row.not_prefixes:
        return "must not be truncated"
    if row.trained_dims:
        return ", ".join(map(str, row.trained_dims[1:]))
    if row.min_dim is not None:
        return f"any from {row.min_dim}"
    return "not published" if row.matryoshka else "not trained"


def _truncation(row: KnownModel) -> str:
    if row.multi_vector:
        return "It returns a vector for each token (multi-vector), so nestvec refuses it."
    if row.not_prefixes:
        return f"Its embeddings must not be truncated: {row.not_prefixes}."
    if row.trained_dims:
        return f"It was trained for truncation to {trained_dims_text(row)} dims."
    if row.min_dim is not None:
        return f"It was trained for truncation to any number of dims from {row.min_dim}."
    if row.matryoshka:
        return "It was trained for truncation, but the dims are not published."
    return "It was not trained for truncation, so measure the loss or fit an adapter."


def _prompts(row: KnownModel) -> Iterator[str]:
    if row.prompts_refused:
        yield f"Use the model without prompts: {row.prompts_refused}."
    for kind, noun in (("query", "queries"), ("document", "documents")):
        text, name = getattr(row, f"{kind}_prompt"), getattr(row, f"{kind}_prompt_name")
        if text:
            yield f"Prompt of {noun}: {text!r}."
        elif name:
            yield f"Prompt of {noun}: the prompt {name!r} in the configuration of the model."


def _print_table(rows: tuple[KnownModel, ...]) -> None:
    """Print one line for each model, which fits into the width of the terminal."""
    dims_width = 23
    name_width = width() - 7 - dims_width
    print_line(f"{'model':{name_width}}{'dims':>5}  trained for")
    for row in rows:
        name = row.name if len(row.name) < name_width else f"{row.name[: name_width - 4]}..."
        dims = trained_dims_text(row)
        dims = shorten(dims, dims_width, placeholder=" ...")
        print_line(f"{name:{name_width}}{row.full_dim:>5}  {dims}")


def _plain(row: KnownModel) -> dict[str, object]:
    """Return the fields that a row states, as plain values."""
    values = {
        key: value for key, value in asdict(row).items() if value not in ("", (), None, False)
    }
    return values | ({"checked": str(row.checked)} if row.checked else {})
