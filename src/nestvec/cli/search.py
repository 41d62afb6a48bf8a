"""``nestvec search``: search an index for a text."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import print_line, warnings_shown, width
from nestvec.cli.hits import hit_lines
from nestvec.cli.models import PAIR, ModelChoice, load_index_model, model_options
from nestvec.cli.options import (
    IndexArgument,
    IndexDtypeOption,
    IndexModelOption,
)
from nestvec.errors import InvalidArgument
from nestvec.wording import milliseconds_text

if TYPE_CHECKING:
    from nestvec.types import Document, Hits


_Query = Annotated[str, typer.Argument(help="Text to search for.")]
_K = Annotated[int, typer.Option("-k", help="Number of documents to return.")]
_Where = Annotated[
    str | None,
    typer.Option(
        help="Return only documents whose metadata match a filter, such as "
        "'year < 2020 and lang = \"de\"' or 'tags has \"new\"'."
    ),
]
_Point = Annotated[
    str | None,
    typer.Option(
        help='Operating point of this search, such as "64:binary@200>512:int8".',
        show_default="the index's own point",
    ),
]
_Exact = Annotated[
    bool, typer.Option("--exact", help="Compare the query with the full vectors of all documents.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for each hit.")]


@model_options(
    *("query_prompt", "dtype", "device", "trust_remote_code", *PAIR), dtype=IndexDtypeOption
)
def search(
    index: IndexArgument,
    query: _Query,
    *,
    k: _K = 10,
    where: _Where = None,
    point: _Point = None,
    exact: _Exact = False,
    model: IndexModelOption = None,
    choice: ModelChoice,
    as_json: _AsJson = False,
) -> None:
    """Search an index for a text.

    Example: nestvec search index "read a csv file into a table" -k 5
    """
    from nestvec.index.index import Index

    if k < 1:
        raise InvalidArgument(f"-k {k} is less than 1. Choose 1 or more.")
    encoder = load_index_model(index, model, choice)
    with Index.open(index, encoder) as opened:

        def run() -> Hits:
            return opened.search([query], k, where=where, point=point, exact=exact)

        hits = run()
        documents = opened.get(hits.ids[0])
        found = [
            (id_, score, documents[id_])
            for id_, score in zip(hits.ids[0], hits.scores[0], strict=True)
        ]
        if as_json:
            for each in found:
                typer.echo(json.dumps(_row(*each)))
            if warnings_shown()["warnings"]:
                typer.echo(json.dumps(warnings_shown()))
            return
        # The first search also loads the model. A second search is timed, because programs that
        # keep the index open wait only that long.
        start = time.perf_counter()
        run()
        milliseconds = milliseconds_text((time.perf_counter() - start) * 1000)
        rows = [(score, doc.title or doc.text, _where(id_, doc)) for id_, score, doc in found]
        for line in hit_lines(rows, width=width()):
            print_line(line)
        print_line(f"{len(found)} of {len(opened):,} documents, {milliseconds} after loading")


def _row(id_: str, score: float, document: Document) -> dict[str, object]:
    texts = {"title": document.title, "text": document.text}
    return {"_id": id_, "score": score, **texts, "metadata": dict(document.metadata)}


def _where(id_: str, document: Document) -> str:
    metadata = document.metadata
    return f"{metadata['file']}:{metadata['line']}" if {"file", "line"} <= {*metadata} else id_
