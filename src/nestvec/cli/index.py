"""``nestvec index``: build an index, adapt or re-embed it, and choose its operating point.

``index_documents`` has the commands that change documents, ``index_files`` those for its files.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli import index_canaries, index_copy, index_documents, index_files, index_model
from nestvec.cli.api_costs import confirm_cost
from nestvec.cli.console import (
    check_output,
    print_next,
    print_wrapped,
    resumable,
    shell_place,
    shown_path,
)
from nestvec.cli.index_copy import stored_precision
from nestvec.cli.index_files import close_and_report, open_texts, stored_texts
from nestvec.cli.models import ENCODING, ModelChoice, load_encoder, model_options
from nestvec.cli.options import (
    CorpusArgument,
    IndexArgument,
    JsonOption,
    ModelArgument,
    PassageWordsOption,
    PlanOption,
    PointOption,
)
from nestvec.cli.progress import progress
from nestvec.engines.places import is_url
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.planning.choose import Plan
    from nestvec.types import OperatingPoint

app = typer.Typer(help="Build an index and change it.", rich_markup_mode=None)


_Out = Annotated[
    str,
    typer.Option(
        help="Index folder to write, or URL such as postgresql://host/database?table=docs."
    ),
]
_BuildPoint = Annotated[
    str | None,
    typer.Option(
        "--point",
        help='Operating point instead of a plan, such as "64:binary@200>512:int8".',
    ),
]
_Stored = Annotated[
    str | None,
    typer.Option(
        "--stored",
        help="Precision of the stored full vectors: float16 or float32.",
        show_default="float16, or float32 if the point needs it",
    ),
]
_UsePoint = Annotated[
    str, typer.Argument(help='Operating point, such as "64:binary@200>512:int8".')
]
_NewModel = Annotated[
    str,
    typer.Argument(help="New model: model folder, Hugging Face hub id, or folder of vectors."),
]
_AdapterArgument = Annotated[
    Path | None,
    typer.Argument(help="Adapter file that 'nestvec adapt' wrote for the index's model."),
]
_Undo = Annotated[
    bool, typer.Option("--undo", help="Restore the index from before it was adapted.")
]


@model_options("adapter", *ENCODING)
def build(
    model: ModelArgument,
    corpus: CorpusArgument,
    out: _Out,
    *,
    plan: PlanOption = None,
    point: _BuildPoint = None,
    stored: _Stored = None,
    passage_words: PassageWordsOption = None,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Encode a corpus and write an index for one operating point.

    Name the operating point by --plan or by --point.

    Example: nestvec index build model corpus.jsonl --plan plan.json --out index
    """
    from nestvec.index.building import build_index, count_unfinished
    from nestvec.models.precomputed import PrecomputedVectors
    from nestvec.models.prompts import prompts_text, query_model_text

    chosen, precision = _planned_point(plan, point), stored_precision(stored)
    if not is_url(out):
        check_output(Path(out), folder=True)
    start = time.perf_counter()
    documents = open_texts(corpus, passage_words)
    encoder = load_encoder(model, choice)
    texts = (document.content for _, document in documents)
    confirm_cost(encoder, {"document": texts}, choice)
    with (
        resumable(lambda: count_unfinished(out), documents.length),
        progress("encode documents", unit="documents") as on_progress,
    ):
        index = build_index(
            encoder, documents, chosen, out, stored=precision, on_progress=on_progress
        )
    with index:
        close_and_report(index, out, seconds=time.perf_counter() - start, as_json=as_json)
    if as_json:
        return
    if encoder.info.query_model is not None:
        print_wrapped(query_model_text(encoder.info))
    elif isinstance(encoder, PrecomputedVectors):
        print_next(f"nestvec index model {shell_place(out)} MODEL")
        return
    print_wrapped(prompts_text(encoder.info))
    print_next(f'nestvec search {shell_place(out)} "your question"')


def _planned_point(plan: Path | None, point: str | None) -> Plan | OperatingPoint:
    from nestvec.planning.choose import Plan
    from nestvec.types import OperatingPoint

    if plan is None and point is None:
        raise InvalidArgument("no operating point is given. Use --plan PLAN or --point POINT.")
    if plan is not None and point is not None:
        raise InvalidArgument("--plan and --point exclude each other. Pass one of them.")
    return Plan.load(plan) if plan else OperatingPoint.parse(point or "")


def use(index: IndexArgument, point: _UsePoint) -> None:
    """Search an index at another operating point from now on.

    Codes are computed from the stored vectors. No text is encoded.

    Example: nestvec index use index "64:binary@400>512:int8"
    """
    from nestvec.index.index import Index
    from nestvec.types import OperatingPoint

    chosen = OperatingPoint.parse(point)
    start = time.perf_counter()
    with Index.open(index) as opened:
        opened.use(chosen)
        close_and_report(opened, index, seconds=time.perf_counter() - start)


@model_options("adapter", *ENCODING)
def reembed(
    index: IndexArgument,
    model: _NewModel,
    *,
    point: PointOption = None,
    choice: ModelChoice,
) -> None:
    """Encode the documents of an index with another model.

    Searches use the old vectors until all documents are encoded.

    Example: nestvec index reembed index better-model
    """
    from nestvec.index.building import count_unfinished
    from nestvec.index.building import reembed as reembed_index
    from nestvec.index.index import Index
    from nestvec.models.prompts import prompts_text
    from nestvec.types import OperatingPoint

    chosen = None if point is None else OperatingPoint.parse(point)
    start = time.perf_counter()
    encoder = load_encoder(model, choice)
    with Index.open(index) as opened:
        total = len(opened)
        confirm_cost(encoder, {"document": stored_texts(opened)}, choice)
    with (
        resumable(lambda: count_unfinished(index), total),
        progress("encode documents", unit="documents") as on_progress,
    ):
        changed = reembed_index(index, encoder, point=chosen, on_progress=on_progress)
    with changed:
        close_and_report(changed, index, seconds=time.perf_counter() - start)
    print_wrapped(prompts_text(encoder.info))


def adapt(
    index: IndexArgument,
    adapter: _AdapterArgument = None,
    point: PointOption = None,
    undo: _Undo = False,
) -> None:
    """Transform the vectors of an index with an adapter.

    No text is encoded. Searches use the old vectors until all vectors are transformed. The old
    index is kept next to the new one, with the suffix .unadapted.

    Example: nestvec index adapt index adapter.safetensors --point "64:int8"
    """
    from nestvec.index.adapting import adapt_index, backup_place, undo_adapting
    from nestvec.models.adapter_file import load_adapter
    from nestvec.types import OperatingPoint

    if adapter is None and not undo:
        raise InvalidArgument("no adapter is given. Name an adapter file, or use --undo.")
    if adapter is not None and undo:
        raise InvalidArgument("ADAPTER and --undo exclude each other. Pass one of them.")
    if undo and point is not None:
        raise InvalidArgument(
            f"--undo also restores the operating point. Leave --point {point} out."
        )
    chosen = None if point is None else OperatingPoint.parse(point)
    start = time.perf_counter()
    if adapter is None:
        changed = undo_adapting(index)
    else:
        with progress("transform vectors", unit="documents") as on_progress:
            changed = adapt_index(
                index, load_adapter(adapter), point=chosen, on_progress=on_progress
            )
    with changed:
        close_and_report(changed, index, seconds=time.perf_counter() - start)
    if adapter is not None:
        place = shell_place(index)
        print_wrapped(
            f"previous index: {shown_path(Path(backup_place(index)))} "
            f"(restore it with: nestvec index adapt {place} --undo)"
        )
        print_next(f'nestvec search {place} "your question"')


app.command("build")(build)
app.command("add")(index_documents.add)
app.command("delete")(index_documents.delete)
app.command("use")(use)
app.command("reembed")(reembed)
app.command("adapt")(adapt)
app.command("copy")(index_copy.copy)
app.command("model")(index_model.model)
app.command("canaries")(index_canaries.canaries)
app.command("compact")(index_files.compact)
app.command("verify")(index_files.verify)
app.command("stats")(index_files.stats)
