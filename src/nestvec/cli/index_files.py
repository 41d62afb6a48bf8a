"""``nestvec index compact``, ``verify`` and ``stats``: maintain the files of an index."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.cli.console import print_json, print_line, print_wrapped
from nestvec.cli.options import IndexArgument, JsonOption
from nestvec.errors import InvalidArgument
from nestvec.sources.places import shown_place
from nestvec.wording import count_text, percent, size_text

if TYPE_CHECKING:
    from nestvec.data.corpus import Corpus
    from nestvec.engines.results import Stats
    from nestvec.index.index import Index

_BLOCK = 1_024  # documents read at a time


def open_texts(corpus: str, passage_words: int | None) -> Corpus:
    """Open a corpus; text files are split into passages of at most ``passage_words`` words.

    Raises:
        InvalidArgument: If ``passage_words`` is given and the corpus is no folder of text files.
        DataError: If the corpus cannot be read.
    """
    from nestvec.data.corpus import is_text_folder, open_corpus
    from nestvec.sources.postgresql import is_postgresql
    from nestvec.sources.postgresql_corpus import open_table_corpus

    is_table = is_postgresql(corpus)
    if passage_words is None:
        return open_table_corpus(corpus) if is_table else open_corpus(corpus)
    if is_table or not is_text_folder(Path(corpus)):
        shown = shown_place(corpus)
        problem = f"--passage-words applies to a folder of text files, and {shown} is none"
        raise InvalidArgument(f"{problem}. Omit the option.")
    return open_corpus(corpus, passage_words=passage_words)


def close_and_report(index: Index, place: str, *, seconds: float, as_json: bool = False) -> None:
    """Close an index, and print its number of documents, its point, its size and the time.

    The size is measured after closing: until then, changed files are on the disk twice.

    Args:
        index: The index.
        place: Its path or URL.
        seconds: The time of the command.
        as_json: Print all statistics and warnings as one JSON object instead.
    """
    from nestvec.engines.registry import engine_at

    documents = f"{count_text(len(index), 'document')} at {index.point}"
    found = index.stats()
    index.close()
    disk_bytes = engine_at(place).disk_bytes(place)
    if as_json:
        print_json({**found.to_json(), "disk_bytes": disk_bytes, "seconds": round(seconds, 3)})
        return
    print_wrapped(f"{documents}: {sizes(found.resident_bytes, disk_bytes)}, {seconds:.0f} s")


def stored_texts(index: Index) -> Iterator[str]:
    """Yield the texts of all documents of an index."""
    ids = index.ids()
    while block := list(islice(ids, _BLOCK)):
        yield from (document.content for document in index.get(block).values())


def sizes(resident_bytes: int, disk_bytes: int) -> str:
    """Return the sizes of an index as text."""
    return f"{size_text(resident_bytes)} in memory, {size_text(disk_bytes)} on disk"


def compact(index: IndexArgument) -> None:
    """Free the disk space of deleted documents and fit the codes again.

    Example: nestvec index compact index
    """
    from nestvec.index.index import Index

    start = time.perf_counter()
    with Index.open(index) as opened:
        done = opened.compact()
        print_wrapped(f"compacted from {size_text(done.bytes_before)} on disk")
        if done.pinned:
            pinned = size_text(done.pinned)
            print_wrapped(f"{pinned} more become free when programs that use the old files end")
        close_and_report(opened, index, seconds=time.perf_counter() - start)


def verify(index: IndexArgument) -> None:
    """Check every document and vector of an index; a folder is compared with its checksums.

    Example: nestvec index verify index
    """
    from nestvec.index.index import Index

    start = time.perf_counter()
    with Index.open(index) as opened:
        opened.verify()
        size, documents = size_text(opened.stats().disk_bytes), count_text(len(opened), "document")
        seconds = time.perf_counter() - start
        print_wrapped(f"intact: {documents}, {size} checked, {seconds:.0f} s")


def stats(index: IndexArgument, as_json: JsonOption = False) -> None:
    """Show the number of documents, the model and the size of an index.

    Example: nestvec index stats index --json
    """
    from nestvec.index.index import Index

    with Index.open(index) as opened:
        found = opened.stats()
    if as_json:
        print_json(found.to_json())
        return
    for name, value in _rows(found):
        print_line(f"{name:<10} {value}")


def _rows(found: Stats) -> Iterator[tuple[str, str]]:
    yield "documents", f"{found.documents:,}"
    if found.deleted:
        yield "deleted", f"{found.deleted:,}, on disk until the index is compacted"
    yield "point", found.point
    yield from _model_rows(found)
    yield "vectors", found.stored
    yield from _code_rows(found)
    if found.outside is not None:
        yield (
            "outside",
            f"{percent(found.outside)} of later values do not fit the calibration of the codes",
        )
    if found.canaries is not None:
        day = found.canaries.recorded_at[:10]
        yield "canaries", f"{count_text(found.canaries.texts, 'text')}, encoded on {day}"
    yield "memory", size_text(found.resident_bytes)
    vectors, texts = size_text(found.vector_bytes), size_text(found.text_bytes)
    yield "disk", f"{size_text(found.disk_bytes)}: vectors and codes {vectors}, texts {texts}"
    if found.commits:
        yield "changes", f"{found.commits:,}, {count_text(found.generation, 'compaction')}"


def _code_rows(found: Stats) -> Iterator[tuple[str, str]]:
    """Yield the codes of an engine of nestvec, or the search structures of a database."""
    uncoded = f", {count_text(found.uncoded, 'document')} without codes" if found.uncoded else ""
    if found.parts or uncoded:
        yield "codes", count_text(found.parts, "part") + uncoded
    settings = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    if settings or not (found.parts or uncoded):
        yield "search", settings or "exhaustive"


def _model_rows(found: Stats) -> Iterator[tuple[str, str]]:
    """Yield everything that affects the vector of a text."""
    from nestvec.models.api.address import is_api_name
    from nestvec.models.prompts import prompts_text

    encoder = found.encoder
    adapted = " with an adapter" if found.adapter else ""
    yield "model", f"{encoder.name}{adapted}, {found.full_dim} dims"
    if encoder.name != found.model:
        yield "source", found.model
    if encoder.query_model is not None:
        yield "queries", f"encoded by {encoder.query_model.identity}"
    name, _, prompts = prompts_text(encoder).partition(": ")
    yield name, prompts
    yield "pooling", encoder.pooling or "unknown"
    if encoder.layer_norm:
        yield "layer norm", "before truncation"
    local = encoder.weights and not is_api_name(encoder.name)
    yield "dtype", encoder.dtype or ("float32" if local else "unknown")
    if found.adapter:
        yield "adapter", found.adapter[:12]
    limit = encoder.max_tokens
    yield "max tokens", "no limit" if limit is None else f"{limit:,}"
