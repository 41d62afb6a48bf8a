"""``nestvec index``: build an index of a corpus, and choose how it is searched.

Its documents are changed in ``index_documents``, its files looked after in ``index_files``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from nestvec.cli import index_documents, index_files
from nestvec.cli.console import (
    CACHE_HELP,
    DTYPE_HELP,
    check_output,
    going_on_later,
    parse_dtype,
    progress,
    say_next,
    say_wrapped,
    shared_cache,
    shown_path,
)
from nestvec.cli.index_files import open_texts, say_closed
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.engines.manifest import Stored

app = typer.Typer(help="Build an index, and keep it.", rich_markup_mode="markdown")


def build(
    model: Annotated[str, typer.Argument(help="Model folder, hub id, or folder of vectors.")],
    corpus: Annotated[
        Path, typer.Argument(help="BEIR folder, folder of texts, or JSONL, CSV, Parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Index folder to write.")],
    plan: Annotated[Path | None, typer.Option(help="What `nestvec plan` wrote.")] = None,
    point: Annotated[str | None, typer.Option(help="Or a point: 64:binary@200>512:int8.")] = None,
    stored: Annotated[
        str | None, typer.Option(help="Full vectors: float16, float32 [as the point needs].")
    ] = None,
    passage_words: Annotated[
        int | None, typer.Option(help="Most words of a passage of a text file [200].")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="Put this behind the model.")] = None,
    dtype: Annotated[str, typer.Option(help=DTYPE_HELP)] = "float32",
    cache: Annotated[bool, typer.Option(help=CACHE_HELP)] = True,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
) -> None:
    """Encode a corpus and write the index of an operating point.

    Example: `nestvec index build model corpus.jsonl --plan plan.json --out index`
    """
    from nestvec.index.building import build_index, count_unfinished
    from nestvec.models.adapted import behind
    from nestvec.models.load import load_model
    from nestvec.planning.choose import Plan
    from nestvec.types import OperatingPoint

    if (plan is None) == (point is None):
        raise InvalidArgument("name either --plan PLAN or --point POINT")
    precision = _stored(stored)
    check_output(out, folder=True)
    chosen = Plan.load(plan) if plan else OperatingPoint.parse(point or "")
    start = time.perf_counter()
    documents = open_texts(corpus, passage_words)
    loaded = load_model(
        model,
        dtype=parse_dtype(dtype),
        trust_remote_code=trust_remote_code,
        cache=shared_cache(cache),
    )
    encoder = behind(loaded, adapter)
    with (
        going_on_later(lambda: count_unfinished(out), documents.length or 0),
        progress("index", unit="documents") as on_progress,
    ):
        index = build_index(
            encoder,
            documents,
            chosen,
            out,
            stored=precision,
            on_progress=on_progress,
        )
    with index:
        say_closed(index, seconds=time.perf_counter() - start)
    say_next(f'nestvec search {shown_path(out)} "your question"')


def use(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    point: Annotated[str, typer.Argument(help="Point, as 64:binary@200>512:int8.")],
) -> None:
    """Search an index by another operating point from now on.

    No text is encoded for that, only codes are made.

    Example: `nestvec index use index "64:binary@400>512:int8"`
    """
    from nestvec.index.index import Index
    from nestvec.types import OperatingPoint

    chosen = OperatingPoint.parse(point)
    start = time.perf_counter()
    with Index.open(index) as opened:
        opened.use(chosen)
        say_closed(opened, seconds=time.perf_counter() - start)


def reembed(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    model: Annotated[str, typer.Argument(help="The new model: folder, hub id or vectors.")],
    point: Annotated[
        str | None, typer.Option(help="How to search from now on [as before].")
    ] = None,
    dtype: Annotated[str, typer.Option(help=DTYPE_HELP)] = "float32",
    cache: Annotated[bool, typer.Option(help=CACHE_HELP)] = True,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
) -> None:
    """Encode the documents of an index with another model.

    Until that is complete, the index is searched as it was.

    Example: `nestvec index reembed index better-model`
    """
    from nestvec.index.building import count_unfinished
    from nestvec.index.building import reembed as encode_anew
    from nestvec.index.index import Index
    from nestvec.models.load import load_model
    from nestvec.types import OperatingPoint

    chosen = None if point is None else OperatingPoint.parse(point)
    start = time.perf_counter()
    encoder = load_model(
        model,
        dtype=parse_dtype(dtype),
        trust_remote_code=trust_remote_code,
        cache=shared_cache(cache),
    )
    with Index.open(index) as opened:
        total = len(opened)
    with (
        going_on_later(lambda: count_unfinished(index), total),
        progress("reembed", unit="documents") as on_progress,
    ):
        changed = encode_anew(index, encoder, point=chosen, on_progress=on_progress)
    with changed:
        say_closed(changed, seconds=time.perf_counter() - start)


def adapt(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    adapter: Annotated[
        Path | None, typer.Argument(help="What `nestvec adapt` wrote for its model.")
    ] = None,
    point: Annotated[
        str | None, typer.Option(help="How to search from now on [as before].")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Put it back as it was before.")] = False,
) -> None:
    """Turn the vectors of an index by an adapter: no text is encoded again.

    Until that is complete, the index is searched as it was; it is kept as NAME.unadapted.

    Example: `nestvec index adapt index adapter.safetensors --point "64:binary@400>192:int8"`
    """
    from nestvec.index.adapting import adapt_index, kept_place, undo_adapting
    from nestvec.models.adapter_file import load_adapter
    from nestvec.types import OperatingPoint

    if (adapter is None) != undo:
        raise InvalidArgument("name either an adapter or --undo")
    if undo and point is not None:
        raise InvalidArgument(f"--undo puts the point back as well: leave --point {point} out")
    chosen = None if point is None else OperatingPoint.parse(point)
    start = time.perf_counter()
    if adapter is None:
        changed = undo_adapting(index)
    else:
        with progress("adapt", unit="documents") as on_progress:
            changed = adapt_index(
                index, load_adapter(adapter), point=chosen, on_progress=on_progress
            )
    with changed:
        say_closed(changed, seconds=time.perf_counter() - start)
    if adapter is not None:
        place = shown_path(index)
        say_wrapped(
            f"as it was: {shown_path(Path(kept_place(index)))} "
            f"(back: nestvec index adapt {place} --undo)"
        )
        say_next(f'nestvec search {place} "your question"')


def _stored(name: str | None) -> Stored | None:
    from nestvec.engines.manifest import Stored

    known = get_args(Stored)
    if name is not None and name not in known:
        raise InvalidArgument(f"--stored {name!r} is not one of {', '.join(known)}")
    return cast("Stored | None", name)


app.command("build")(build)
app.command("add")(index_documents.add)
app.command("delete")(index_documents.delete)
app.command("use")(use)
app.command("reembed")(reembed)
app.command("adapt")(adapt)
app.command("compact")(index_files.compact)
app.command("verify")(index_files.verify)
app.command("stats")(index_files.stats)
