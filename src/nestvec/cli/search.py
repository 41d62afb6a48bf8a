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
from nestvec.wording import milliseconds_text

if TYPE_CHECKING:
    from nestvec.types import Document, Hits


def search(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="How many documents.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="Model folder or hub id, if it is elsewhere now.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Only documents with: 'year < 2020 and lang = \"de\"'.")
    ] = None,
    point: Annotated[str | None, typer.Option(help="Another point than the index's own.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Score all documents by their full vectors.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each hit.")] = False,
) -> None:
    """Search an index for a text.

    Example: `nestvec search index "read a csv file into a table" -k 5`
    """
    from nestvec.index.index import Index
    from nestvec.index.model import load_for_index

    if k < 1:
        raise InvalidArgument(f"k {k} < 1")
    with Index.open(index, load_for_index(model, str(index)) if model else None) as opened:

        def ask() -> Hits:
            return opened.search([query], k, where=where, point=point, exact=exact)

        hits = ask()
        documents = opened.get(hits.ids[0])
        found = [
            (id_, score, documents[id_])
            for id_, score in zip(hits.ids[0], hits.scores[0], strict=True)
        ]
        if as_json:
            for each in found:
                typer.echo(json.dumps(_row(*each)))
            return
        # The model and the code that searches load on first use: what the next search takes is
        # what a program that keeps the index open has to wait.
        start = time.perf_counter()
        ask()
        milliseconds = milliseconds_text((time.perf_counter() - start) * 1000)
        rows = [(score, doc.title or doc.text, _where(id_, doc)) for id_, score, doc in found]
        for line in hit_lines(rows, width=width()):
            say(line)
        say(f"{len(found)} of {len(opened):,} documents, {milliseconds} once loaded")


def _row(id_: str, score: float, document: Document) -> dict[str, object]:
    texts = {"title": document.title, "text": document.text}
    return {"_id": id_, "score": score, **texts, "metadata": dict(document.metadata)}


def _where(id_: str, document: Document) -> str:
    metadata = document.metadata
    return f"{metadata['file']}:{metadata['line']}" if {"file", "line"} <= {*metadata} else id_
