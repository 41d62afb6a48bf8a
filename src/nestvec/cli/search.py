"""``nestvec search``: ask an index."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import say, width
from nestvec.cli.hits import hit_lines
from nestvec.errors import InvalidArgument

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

    if k < 1:
        raise InvalidArgument(f"k {k} < 1")
    with Index.open(index, load_model(model) if model else None) as opened:
        # The model and the code that searches load on first use: that is not the search's time.
        opened.search([query], k)
        start = time.perf_counter()
        hits = opened.search([query], k)
        milliseconds = (time.perf_counter() - start) * 1000
        documents = opened.get(hits.ids[0])
        found = [
            (id_, score, documents[id_])
            for id_, score in zip(hits.ids[0], hits.scores[0], strict=True)
        ]
        if as_json:
            for each in found:
                typer.echo(json.dumps(_row(*each)))
            return
        rows = [(score, doc.title or doc.text, _where(id_, doc)) for id_, score, doc in found]
        for line in hit_lines(rows, width=width()):
            say(line)
        say(f"{len(found)} of {len(opened):,} documents, {milliseconds:.1f} ms")


def _row(id_: str, score: float, document: Document) -> dict[str, object]:
    texts = {"title": document.title, "text": document.text}
    return {"_id": id_, "score": score, **texts, "metadata": dict(document.metadata)}


def _where(id_: str, document: Document) -> str:
    metadata = document.metadata
    return f"{metadata['file']}:{metadata['line']}" if {"file", "line"} <= {*metadata} else id_
