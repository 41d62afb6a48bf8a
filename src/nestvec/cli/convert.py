"""``nestvec convert``: write vectors to a file of another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from nestvec.cli.console import check_output, print_json, print_next, print_wrapped, shown_path
from nestvec.cli.options import JsonOption, parse_kind
from nestvec.cli.progress import progress
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.sources.save import FloatName, Saved

_Source = Annotated[
    str,
    typer.Argument(
        help="File of vectors (.npy, .npz, .parquet, .arrow, .jsonl, .csv, .hdf5, .fvecs, .bvecs, "
        ".fbin, .faiss), folder with corpus.* or with Parquet files, or URL of a database such as "
        "postgresql://host/database?table=docs."
    ),
]
_Target = Annotated[
    Path, typer.Argument(help="File to write, such as vectors.parquet; the suffix is the format.")
]
_To = Annotated[
    str | None,
    typer.Option(
        help="Format of TARGET: npy, npz, parquet, arrow, jsonl, csv, hdf5, faiss, fvecs or fbin.",
        show_default="the suffix of TARGET",
    ),
]
_KindOption = Annotated[
    str,
    typer.Option(help="Vectors to convert if SOURCE contains both kinds: document or query."),
]
_StoredDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="Type of the written numbers: float16 or float32.",
        show_default="the type in SOURCE",
    ),
]
_IdColumn = Annotated[
    str | None,
    typer.Option(help="Column of the ids in SOURCE, such as doc_id.", show_default="id or _id"),
]
_NumberRows = Annotated[
    bool, typer.Option("--number-rows", help="Use row numbers as ids instead of a column.")
]
_VectorColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of the vectors in SOURCE, such as emb.", show_default="vector or embedding"
    ),
]
_DTYPES = ("float16", "float32")


def convert(
    source: _Source,
    target: _Target,
    to: _To = None,
    kind: _KindOption = "document",
    dtype: _StoredDtype = None,
    id_column: _IdColumn = None,
    number_rows: _NumberRows = False,
    vector_column: _VectorColumn = None,
    as_json: JsonOption = False,
) -> None:
    """Write vectors to a file of another format, in bounded memory.

    Example: nestvec convert vectors.parquet vectors.npy --dtype float16
    """
    from nestvec.sources.save import convert_embeddings
    from nestvec.sources.stream import Columns

    chosen = parse_kind(kind)
    _check("--dtype", dtype, (None, *_DTYPES))
    check_output(target)
    with progress("convert", unit="vectors") as on_progress:
        saved = convert_embeddings(
            source,
            target,
            to=to,
            kind=chosen,
            dtype=cast("FloatName | None", dtype),
            columns=Columns(id_column, vector_column, number_rows),
            on_progress=on_progress,
        )
    if as_json:
        print_json({"path": str(target), **saved.to_json()})
        return
    _print(saved, target)


def _check(option: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        choices = " or ".join(filter(None, allowed))
        raise InvalidArgument(f"{option} {value} is unknown. Choose {choices}.")


def _print(saved: Saved, target: Path) -> None:
    vectors = f"{count_text(saved.rows, 'vector')} of {saved.dim} dims"
    print_wrapped(f"{vectors} written to {shown_path(target)} as {saved.format}, {saved.dtype}")
    if saved.ids_file is not None:
        print_wrapped(f"{saved.format} stores no ids: written to {shown_path(saved.ids_file)}")
    if saved.other_kind is not None:
        noun = "queries" if saved.other_kind == "query" else "documents"
        print_wrapped(f"vectors of {noun} not converted: use --kind {saved.other_kind}")
    print_next(f"nestvec adapt {shown_path(target)}")
