"""``nestvec export``: results in the formats of other programs, and recipes for engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli.console import print_json, print_line, print_wrapped, shown_path
from nestvec.cli.options import JsonOption, parse_words
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.types import ModelInfo, OperatingPoint

app = typer.Typer(
    help="Write measurements and plans for other programs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def results(
    curve: Annotated[Path, typer.Argument(help="Curve file that 'nestvec evaluate' wrote.")],
    format: Annotated[
        str,
        typer.Option(
            help="Format of the files: mteb (task results of MTEB) or hakari (results of "
            "HAKARI-Bench)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write, such as results.")],
    task: Annotated[
        str | None,
        typer.Option(
            help="Name of the task in the other program, such as SciFact.",
            show_default="the name of the data set",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of the model, such as owner/name.", show_default="its name in the curve"
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Hub id of the data set, such as hakari-bench/NanoBEIR-en.",
            show_default="the name of the data set",
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(help="Languages of the texts for MTEB, such as eng-Latn,deu-Latn."),
    ] = None,
) -> None:
    """Export all operating points of a curve as results of MTEB or HAKARI-Bench.

    Example: nestvec export results curve.json --format mteb --task SciFact --out results
    """
    from nestvec.curve.curve import Curve
    from nestvec.export.result_names import ResultNames
    from nestvec.export.results import export_results

    chosen: Any = format  # export_results checks the value
    names = ResultNames(model or "", task or "", dataset or "", parse_words(languages))
    exported = export_results(Curve.load(curve), out, format=chosen, names=names)
    print_line(f"{count_text(len(exported.files), 'file')} in {shown_path(out)}")
    for note in exported.notes:
        print_wrapped(f"note: {note}")


@app.command()
def recipe(
    engine: Annotated[
        str,
        typer.Option(
            help="Engine that stores and searches the vectors: pgvector, milvus, lancedb, qdrant, "
            "elasticsearch, opensearch, weaviate, vespa or azure."
        ),
    ],
    plan: Annotated[
        Path | None, typer.Argument(help="Plan file that 'nestvec plan' wrote.")
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(
            help='Operating point, such as "128:int8@200>768:float32".',
            show_default="the point of the plan",
        ),
    ] = None,
    full_dim: Annotated[
        int | None,
        typer.Option(
            help="Number of dims of the model's vectors, such as 768.",
            show_default="the dims of the plan's model",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the table, collection or index, such as articles.")
    ] = "docs",
    metric: Annotated[
        str, typer.Option(help="Metric of the index: ip (inner product) or cosine.")
    ] = "ip",
    as_json: JsonOption = False,
) -> None:
    """Print the schema, the index and the query of an operating point for another engine.

    Example: nestvec export recipe plan.json --engine pgvector --name articles
    """
    from nestvec.export.recipes.writing import recipe as write_recipe

    chosen, width, model = _planned(plan, point, full_dim)
    wanted: Any = metric  # checked by the function
    written = write_recipe(chosen, width, engine, name=name, metric=wanted)
    written = replace(written, notes=(*written.notes, *_model_notes(model)))
    if as_json:
        print_json(written.to_json())
        return
    for line in str(written).split("\n"):
        print_line(line)


def _planned(
    plan: Path | None, point: str | None, full_dim: int | None
) -> tuple[OperatingPoint, int, ModelInfo | None]:
    """Return the point, the dims of the model, and the model if it is known."""
    from nestvec.planning.choose import Plan
    from nestvec.types import OperatingPoint

    if plan is None:
        if point is None or full_dim is None:
            problem = "No operating point was chosen. Name a plan file"
            raise InvalidArgument(f"{problem}, or add --point POINT and --full-dim N.")
        return OperatingPoint.parse(point), full_dim, None
    if full_dim is not None:
        raise InvalidArgument("--full-dim does not apply to a plan, whose model has a known width.")
    loaded = Plan.load(plan)
    chosen = loaded.point if point is None else OperatingPoint.parse(point)
    return chosen, loaded.model.full_dim, loaded.model


def _model_notes(model: ModelInfo | None) -> list[str]:
    """Return what must be done with the vectors of a model before they are truncated."""
    notes = []
    if model is not None and model.adapter:
        notes.append("Transform all vectors with the adapter first, those of queries too.")
    if model is not None and model.layer_norm:
        notes.append("Apply layer normalization to all vectors first, as the model requires.")
    return notes
