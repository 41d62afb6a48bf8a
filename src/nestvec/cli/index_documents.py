"""``nestvec index add`` and ``delete``: change the documents of an index."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.api_costs import confirm_cost
from nestvec.cli.console import print_next, print_wrapped, resumable, shell_place
from nestvec.cli.index_files import close_and_report, open_texts
from nestvec.cli.models import COSTS, ModelChoice, load_index_model, model_options, shared_cache
from nestvec.cli.options import (
    CorpusArgument,
    IndexArgument,
    IndexDtypeOption,
    IndexModelOption,
    JsonOption,
    PassageWordsOption,
)
from nestvec.cli.progress import progress
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.index.sync import Changes


_Upsert = Annotated[
    bool, typer.Option("--upsert", help="Replace documents whose texts have changed.")
]
_Ids = Annotated[list[str] | None, typer.Argument(help="Ids of documents to delete.")]
_IdsFile = Annotated[
    Path | None, typer.Option("--ids", help="Text file of further ids, one id a line.")
]


@model_options("dtype", "device", "trust_remote_code", "cache", *COSTS, dtype=IndexDtypeOption)
def add(
    index: IndexArgument,
    corpus: CorpusArgument,
    *,
    upsert: _Upsert = False,
    passage_words: PassageWordsOption = None,
    model: IndexModelOption = None,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Add the documents of a corpus that are not in an index yet.

    Example: nestvec index add index notes --upsert
    """
    from nestvec.index.index import Index
    from nestvec.index.sync import apply_changes, compare

    start = time.perf_counter()
    documents = open_texts(corpus, passage_words)
    place = shared_cache(choice.cache)
    encoder = load_index_model(index, model, choice, cache=place)
    with Index.open(index, encoder, cache=place) as opened:
        changes = compare(opened, documents)
        _check(changes, upsert=upsert)
        if changes.count:
            texts = changes.texts()
            confirm_cost(opened.model, {"document": texts}, choice)
        with (
            resumable(lambda: compare(opened, documents).same - changes.same, changes.count),
            progress("encode documents", unit="documents") as on_progress,
        ):
            apply_changes(opened, changes, on_progress=on_progress)
        if not as_json:
            print_wrapped(_done(changes))
        close_and_report(opened, index, seconds=time.perf_counter() - start, as_json=as_json)


def delete(index: IndexArgument, ids: _Ids = None, ids_file: _IdsFile = None) -> None:
    """Delete documents from an index.

    Example: nestvec index delete index report-7 report-8
    """
    from nestvec.index.index import Index

    wanted = _ids(ids or [], ids_file)
    start = time.perf_counter()
    with Index.open(index) as opened:
        deleted = opened.delete(wanted)
        missing = len(wanted) - deleted
        absent = f"; {count_text(missing, 'id')} not found" if missing else ""
        print_wrapped(f"deleted {count_text(deleted, 'document')}{absent}")
        close_and_report(opened, index, seconds=time.perf_counter() - start)
    if deleted:
        print_next(f"nestvec index compact {shell_place(index)}")


def _check(changes: Changes, *, upsert: bool) -> None:
    replaced = [*changes.changed, *changes.outdated]
    if replaced and not upsert:
        count = count_text(len(replaced), "document")
        problem = f"{count} in the index would be replaced, the first is {replaced[0]!r}"
        raise InvalidArgument(f"{problem}. Use --upsert to replace documents.")


def _done(changes: Changes) -> str:
    parts = [f"added {count_text(len(changes.new), 'document')}"]
    if changes.changed:
        parts.append(f"replaced {len(changes.changed):,}")
    if changes.outdated:
        parts.append(f"deleted {count_text(len(changes.outdated), 'passage')} of changed files")
    if changes.same:
        parts.append(f"{changes.same:,} unchanged")
    return ", ".join(parts)


def _ids(given: list[str], file: Path | None) -> list[str]:
    from nestvec.data.records import read_lines

    listed = [text.strip() for _, text in read_lines(file)] if file else []
    ids = list(dict.fromkeys([*given, *filter(None, listed)]))
    if not ids:
        raise InvalidArgument("no ids are given. Name ids, or a file of ids with --ids.")
    return ids
