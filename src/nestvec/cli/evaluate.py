"""``nestvec evaluate``: measure all operating points of a model on a data set."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli import runs as results
from nestvec.cli.api_costs import confirm_cost, texts_by_kind
from nestvec.cli.console import (
    check_output,
    print_json,
    print_line,
    print_next,
    print_wrapped,
    shown_path,
    width,
)
from nestvec.cli.evaluate_data import DataChoice, load_data
from nestvec.cli.models import ENCODING, ModelChoice, load_encoder, model_options
from nestvec.cli.options import (
    ModelArgument,
    parse_ints,
    parse_words,
)
from nestvec.cli.progress import progress
from nestvec.curve.sample import Draw, full_corpus_text, sample_of, sampled_queries_text
from nestvec.errors import InvalidArgument
from nestvec.models.prompts import REQUESTED

if TYPE_CHECKING:
    from nestvec.curve.curve import Curve
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.similarity import SimilaritySet
    from nestvec.measure.grid import Grid
    from nestvec.types import Encoder

_EVIDENCE = {
    "labels": "",
    "made queries": "evidence: queries generated from the corpus, not written by users",
    "agreement": "evidence: agreement with full precision, not relevance",
}
_Dataset = Annotated[
    Path | None,
    typer.Argument(
        help="BEIR folder; or the hub id of a retrieval set, such as mteb/scifact; or a corpus, "
        "with --queries or --make-queries; or one file of scored pairs, triplets or labeled texts. "
        "If the vectors of documents are stored, a BEIR folder needs no corpus file.",
        show_default="for stored vectors: some documents become the queries",
    ),
]
_Sample = Annotated[
    int | None,
    typer.Option(
        help="Number of stored vectors of documents to read and measure, chosen at random, such as "
        "100000.",
        show_default="all vectors",
    ),
]
_Seed = Annotated[
    int,
    typer.Option(help="Random seed of --sample, and of the choice of queries if there are many."),
]
_Out = Annotated[Path, typer.Option(help="Curve file to write.")]
_Split = Annotated[
    str | None,
    typer.Option(
        help="Split of the relevance labels (qrels) to measure.",
        show_default="test, or the only split, dev or validation",
    ),
]
_Subset = Annotated[
    str | None,
    typer.Option(
        help="Name of one set of a repository that contains several, such as NanoSciFact of "
        "sentence-transformers/NanoBEIR-en."
    ),
]
_Revision = Annotated[
    str | None,
    typer.Option(
        "--dataset-revision",
        help="Branch, tag or commit of a data set of the hub.",
        show_default="the main branch",
    ),
]
_Queries = Annotated[
    Path | None,
    typer.Option(
        help="Query log without relevance labels. Results then show agreement with full "
        "precision instead of relevance."
    ),
]
_MakeQueries = Annotated[
    str | None,
    typer.Option(
        help="Generate queries from the corpus when you have none: 'title' uses each document's "
        "title, 'first-sentence' its first sentence."
    ),
]
_Dims = Annotated[
    str | None,
    typer.Option(
        help="Numbers of dimensions to measure, such as 512,128,64.",
        show_default="the dims that the model was trained for, or halvings of its width",
    ),
]
_Precisions = Annotated[
    str | None,
    typer.Option(
        help="Precisions of vectors to measure, such as float32,int8,binary.",
        show_default="all except pq4 and sign",
    ),
]
_Keeps = Annotated[
    str | None,
    typer.Option(
        help="Shortlist lengths of two-stage searches, such as 100,400.",
        show_default="two lengths that suit the corpus",
    ),
]
_Points = Annotated[
    str | None,
    typer.Option(
        help='Further operating points, such as "64:binary@200>512:int8", or mrl-funnel, '
        "the multi-stage search of the Matryoshka paper."
    ),
]
_Metrics = Annotated[
    str | None,
    typer.Option(
        help="Metrics to compute, such as ndcg@10,map@100. Tables show the first.",
        show_default="ndcg@10,recall@100,overlap@10",
    ),
]
_Depth = Annotated[int, typer.Option(help="Number of documents that a search returns.")]
_GroupBy = Annotated[
    str | None,
    typer.Option(
        help="Metadata field that names the document of each chunk. Documents are then ranked by "
        "their best chunk."
    ),
]
_Slices = Annotated[
    str | None,
    typer.Option(
        help="Fields of the queries, such as language,type. Each value of a field gets results "
        "of its own."
    ),
]
_FilterBy = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="Field of the queries that contains a filter, such as \"lang = 'de'\". Each query "
        "then searches only the documents that match. Queries without the field have no filter.",
    ),
]
_Baselines = Annotated[
    str | None,
    typer.Option(help="Other methods to measure for comparison: bm25,svd,pca,random."),
]
_Engine = Annotated[
    str,
    typer.Option(
        help="Engine to measure: 'embedded', 'pgvector', or the URL of a database, such as "
        "postgresql://localhost/search. Temporary indexes are deleted afterwards.",
        metavar="NAME|URL",
    ),
]
_Strict = Annotated[
    bool,
    typer.Option("--strict", help="Fail on labels of unknown ids instead of ignoring them."),
]
_KeepSelf = Annotated[
    bool,
    typer.Option(
        "--keep-self",
        help="Rank a query's own document if a query is itself a document of the corpus, with the "
        "same id and text. By default, each query ignores its own document.",
    ),
]
_AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object of all operating points instead of a table."
    ),
]


@model_options("adapter", *ENCODING)
def evaluate(
    model: ModelArgument,
    dataset: _Dataset = None,
    *,
    out: _Out = Path("curve.json"),
    split: _Split = None,
    subset: _Subset = None,
    dataset_revision: _Revision = None,
    queries: _Queries = None,
    make_queries: _MakeQueries = None,
    sample: _Sample = None,
    seed: _Seed = 0,
    dims: _Dims = None,
    precisions: _Precisions = None,
    keeps: _Keeps = None,
    points: _Points = None,
    metrics: _Metrics = None,
    depth: _Depth = 10,
    group_by: _GroupBy = None,
    slices: _Slices = None,
    filter_by: _FilterBy = None,
    baselines: _Baselines = None,
    runs: results.RunsOption = None,
    fuse: results.FuseOption = None,
    fuse_weight: results.FuseWeightOption = None,
    rerank: results.RerankOption = None,
    rerank_depths: results.RerankDepthsOption = None,
    scores: results.ScoresOption = None,
    scores_name: results.ScoresNameOption = None,
    engine: _Engine = "embedded",
    strict: _Strict = False,
    keep_self: _KeepSelf = False,
    choice: ModelChoice,
    as_json: _AsJson = False,
) -> None:
    """Measure quality, bytes and latency at all operating points; each text is encoded once.

    Stored vectors, such as a table of a database, need no DATASET.

    Example: nestvec evaluate all-MiniLM-L6-v2 scifact --out curve.json
    """
    _check_before_work(out, engine)
    others = results.OtherResults(fuse, fuse_weight, rerank, rerank_depths, scores, scores_name)
    fields = {"group_by": group_by, "slice_by": parse_words(slices), "filter_by": filter_by}
    extra, compared = parse_words(points), parse_words(baselines)
    kept = {"depth": depth, "extra": extra, "baselines": compared, "keep_self": keep_self}
    grid = _grid(parse_words(precisions), keeps, parse_words(metrics), **fields, **kept)
    labeled = {"split": split, "subset": subset, "revision": dataset_revision}
    chosen, draw = parse_ints(dims, option="--dims"), _draw(sample, seed)
    load = cache(partial(load_encoder, model, choice, dims=chosen, draw=draw))
    wanted = DataChoice(dataset, labeled, queries, make_queries, strict, seed)
    encoder, data = load_data(wanted, load)
    if draw is not None:
        others.check_all_documents(runs)
    ranked = results.read_runs(runs or [], data)
    confirm_cost(encoder, texts_by_kind(data), choice)
    curve = _measure(encoder, data, grid, engine, others)
    curve = results.add_own_scores(results.add_runs(curve, data, ranked), scores, scores_name)
    curve.save(out)
    _print_json(curve) if as_json else _print_result(curve, grid, out)


def _draw(sample: int | None, seed: int) -> Draw | None:
    return None if sample is None else Draw(sample, seed)


def _check_before_work(out: Path, engine: str) -> None:
    from nestvec.engines.registry import named_engine

    check_output(out)
    named_engine(engine)  # raises for an unknown name


def _print_json(curve: Curve) -> None:
    rows = [row.to_json() for row in curve.points]
    sampled = curve.dataset.get("sample")
    print_json({"points": rows, "counts": dict(curve.counts), "sample": sampled})


def _print_result(curve: Curve, grid: Grid, out: Path) -> None:
    for line in _summary(curve, grid):
        print_line(line)
    others = results.other_metrics(curve)
    if others:
        print_wrapped(results.other_metrics_text(curve))
    print_wrapped(f"{len(curve.points)} operating points, written to {shown_path(out)}")
    print_next(_next(curve, out), *(f"{_next(curve, out)} --metric {each}" for each in others[:1]))


def _measure(
    model: Encoder,
    data: RetrievalSet | SimilaritySet,
    grid: Grid,
    engine: str,
    others: results.OtherResults,
) -> Curve:
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.engines.registry import LOCAL
    from nestvec.measure.run import evaluate as measure
    from nestvec.measure.similarity import evaluate_similarity

    if not isinstance(data, RetrievalSet) and engine != LOCAL:
        problem = f"--engine {engine} does not apply to {data.name}, which is not searched"
        raise InvalidArgument(f"{problem}. Omit --engine.")
    runs = others.combinations()
    if not isinstance(data, RetrievalSet) and runs:
        problem = f"--fuse and --rerank do not apply to {data.name}, which is not searched"
        raise InvalidArgument(f"{problem}. Omit these options.")
    with progress("evaluate") as on_progress:
        if isinstance(data, RetrievalSet):
            return measure(model, data, grid, engine=engine, runs=runs, on_progress=on_progress)
        return evaluate_similarity(model, data, grid, on_progress=on_progress)


def _grid(
    precisions: tuple[str, ...], keeps: str | None, metrics: tuple[str, ...], **others: Any
) -> Grid:
    from nestvec.measure.grid import DEFAULT_GRID, Grid

    chosen: Any = precisions  # Grid checks each value
    return Grid(
        precisions=chosen or DEFAULT_GRID.precisions,
        shortlisted=tuple(
            name for name in DEFAULT_GRID.shortlisted if not chosen or name in chosen
        ),
        keeps=parse_ints(keeps, option="--keeps"),
        metrics=metrics or None,
        **others,
    )


def _summary(curve: Curve, grid: Grid) -> Iterator[str]:
    from nestvec.models.api.address import without_address
    from nestvec.models.prompts import prompts_text, query_model_text
    from nestvec.report.filtered_times import filtered_times_table
    from nestvec.report.tables import retention_table
    from nestvec.sources.places import table_name
    from nestvec.wording import count_texts

    yield from retention_table(
        {table_name(without_address(curve.model.name)): curve},
        curve.main_metric,
        precisions=grid.precisions,
    )
    yield from filtered_times_table(curve, curve.main_metric)
    if _EVIDENCE[curve.evidence]:
        yield _EVIDENCE[curve.evidence]
    for text in _sample_texts(curve):
        yield from wrap(text, width(), subsequent_indent="  ")
    if curve.dataset.get("labels"):
        yield f"labels: {curve.dataset['labels']}"
    yield _dims_text(curve.model.dims_source)
    if curve.model.query_model is not None:
        yield from wrap(query_model_text(curve.model), width(), subsequent_indent="  ")
    yield from wrap(prompts_text(curve.model), width(), subsequent_indent="  ")
    if found := count_texts(curve.counts):
        yield from wrap(f"note: {'; '.join(found)}", width(), subsequent_indent="  ")


def _sample_texts(curve: Curve) -> Iterator[str]:
    """Yield what a sample of the documents, and documents as queries, mean."""
    sample = sample_of(curve.dataset)
    if sample is not None:
        trend = ""
        if any(row.by_size for row in curve.points):
            trend = " A plan and the report show the trend from a quarter of the sample to all."
        yield f"measured on {sample}. {full_corpus_text(curve.dataset)}{trend}"
    if queries := sampled_queries_text(curve.dataset):
        yield queries


def _dims_text(source: str) -> str:
    if source.startswith("guess"):
        return "dims: halvings of the full width, for which the model was not trained"
    return "dims as given by --dims" if source == REQUESTED else f"dims from {source}"


def _next(curve: Curve, out: Path) -> str:
    if not curve.scores.metrics:
        return f"nestvec report {shown_path(out)}"
    goal = "--min-overlap 0.95" if curve.evidence == "agreement" else "--min-retention 0.98"
    return f"nestvec plan {shown_path(out)} {goal}"
