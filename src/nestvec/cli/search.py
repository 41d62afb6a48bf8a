"""``nestvec search``: ask an index."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nestvec.types import Document


def search(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="How many documents.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="Model folder or hub id, if it is elsewhere now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each hit.")] = False,
) -> None:
    """Search an index for a text.

    Example: `nestvec search index "read a csv file into a table" -k 5`
    """
    from nestvec.models.load import load_model
    from nestvec.workflows.text_index import Index

    with Index.open(index, load_model(model) if model else None) as opened:
        # The model and the code that searches load on first use: that is not the search's time.
        opened.search([query], k)
        start = time.perf_counter()
        hits = opened.search([query], k)
        milliseconds = (time.perf_counter() - start) * 1000
        documents = opened.get(hits.ids[0])
        for id_, score in zip(hits.ids[0], hits.scores[0], strict=True):
            document = documents[id_]
            if as_json:
                row = {"_id": id_, "score": score, "title": document.title, "text": document.text}
                typer.echo(json.dumps(row | {"metadata": dict(document.metadata)}))
            else:
                title = document.title or document.text
                typer.echo(hit_line(score, title, _where(id_, document)))
        if not as_json:
            typer.echo(f"{len(hits.ids[0])} of {len(opened):,} documents, {milliseconds:.1f} ms")


def hit_line(score: float, title: str, where: str, *, width: int = 80) -> str:
    """Write a hit as score, title and where it stands, in at most ``width`` characters."""
    room = width - len("  0.00    ")
    names = min(max(len(title), 20), room // 2)
    line = f"  {score:4.2f}  {_cut(title, names):<{names}}  {_cut_left(where, room - names)}"
    # Documents are untrusted: a control character must not reach the terminal.
    return "".join(character if character.isprintable() else " " for character in line).rstrip()


def _where(id_: str, document: Document) -> str:
    metadata = document.metadata
    return f"{metadata['file']}:{metadata['line']}" if {"file", "line"} <= {*metadata} else id_


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _cut_left(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[-(width - 1) :]
