"""``nestvec adapt`` and ``nestvec apply``: fit adapters, and apply them to vectors or models."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from nestvec.cli.api_costs import confirm_cost, texts_by_kind
from nestvec.cli.console import (
    check_output,
    print_line,
    print_next,
    print_wrapped,
    shell_place,
    shown_path,
)
from nestvec.cli.models import ENCODING, ModelChoice, load_encoder, model_options
from nestvec.cli.options import (
    DocumentPromptOption,
    ModelsOption,
    QueryPromptOption,
    SeedOption,
    TrustRemoteCodeOption,
    parse_ints,
    parse_prompts,
    prompt_options,
)
from nestvec.cli.progress import progress
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.adapt.training import Schedule
    from nestvec.models.adapter import Adapter, Method
    from nestvec.recipes.adapting import Texts
    from nestvec.types import Encoder


_Source = Annotated[
    str,
    typer.Argument(help="File, folder or URL of vectors, model folder, or Hugging Face hub id."),
]
_Corpus = Annotated[
    Path | None,
    typer.Argument(
        help="Corpus for a model to encode: BEIR folder, folder of text files, or one JSONL, CSV "
        "or Parquet file."
    ),
]
_Out = Annotated[Path, typer.Option(help="Adapter file to write.")]
_Pairs = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PATH",
        help="Fit on pairs of texts instead of a corpus: JSONL, CSV or Parquet. Repeat the option "
        "for several files.",
    ),
]
_Qrels = Annotated[
    Path | None,
    typer.Option(
        help="Fit on the corpus, queries and relevance labels of a BEIR folder. The method is then "
        "chosen by relevance."
    ),
]
_Split = Annotated[str, typer.Option(help="Split of the labels in --qrels.")]
_Dims = Annotated[
    str | None,
    typer.Option(
        help="Numbers of dimensions to optimize, such as 192,96.",
        show_default="halvings of the full width",
    ),
]
_Method = Annotated[
    str | None,
    typer.Option(
        help="Method to fit: svd, whiten, linear or mlp.",
        show_default="the best method on held-out vectors",
    ),
]
_Schedule = Annotated[
    str,
    typer.Option(
        help="Order in which dims are trained: 'joint' trains all at once, 'sequential' one after "
        "the other."
    ),
]
_TwoHeads = Annotated[
    bool,
    typer.Option("--two-heads", help="Fit separate transformations for queries and documents."),
]
_Sample = Annotated[int, typer.Option(help="Maximum number of vectors to fit on.")]
_Steps = Annotated[int, typer.Option(help="Number of training steps.")]
_AdapterFile = Annotated[Path, typer.Argument(help="Adapter file that 'nestvec adapt' wrote.")]
_Target = Annotated[
    str | None,
    typer.Argument(help="File, folder or URL of vectors, model folder, or Hugging Face hub id."),
]
_Applied = Annotated[
    Path,
    typer.Option(help="Folder to write; or, without SOURCE, a matrix file: .npy or .safetensors."),
]


@model_options(*ENCODING)
def adapt(
    source: _Source,
    corpus: _Corpus = None,
    *,
    out: _Out = Path("adapter.safetensors"),
    pairs: _Pairs = None,
    qrels: _Qrels = None,
    split: _Split = "train",
    dims: _Dims = None,
    method: _Method = None,
    schedule: _Schedule = "joint",
    two_heads: _TwoHeads = False,
    sample: _Sample = 100_000,
    steps: _Steps = 200,
    seed: SeedOption = 0,
    choice: ModelChoice,
) -> None:
    """Fit an adapter that makes truncated vectors better.

    Vectors keep their width. The method is chosen on held-out vectors. If no method is
    significantly better than plain truncation, the adapter changes nothing.

    Example: nestvec adapt vectors --dims 192,96 --out adapter.safetensors
    """
    from nestvec.adapt.fitting import AdaptConfig
    from nestvec.models.adapter_file import save_adapter
    from nestvec.recipes.adapting import fit_adapter

    config = AdaptConfig(
        dims=parse_ints(dims, option="--dims"),
        method=cast("Method | None", method),
        schedule=cast("Schedule", schedule),
        two_heads=two_heads,
        sample=sample,
        steps=steps,
        seed=seed,
    )
    check_output(out)
    load = cache(partial(load_encoder, source, choice))
    texts = _texts(corpus, pairs, qrels, split, load)
    encoder = load()
    if texts is not None:
        confirm_cost(encoder, texts_by_kind(texts), choice)
    with progress("adapt") as on_progress:
        adapter = fit_adapter(encoder, texts, config=config, on_progress=on_progress)
    save_adapter(adapter, out)
    _print_result(adapter)
    if adapter.method != "none":
        print_next(_next(adapter, encoder, source=shell_place(source), out=shown_path(out)))


def apply(
    adapter: _AdapterFile,
    source: _Target = None,
    out: _Applied = Path("adapted"),
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
    models: ModelsOption = None,
) -> None:
    """Write an adapted copy of a folder of vectors or of a model.

    A model folder remains one that Sentence Transformers loads. Without SOURCE, only the
    adapter's matrix is written, for NumPy, SQL and other tools.

    Example: nestvec apply adapter.safetensors vectors --out adapted
    """
    from nestvec.models.adapter_file import load_adapter
    from nestvec.recipes.adapted_files import MATRIX_SUFFIXES, apply_adapter, save_matrix

    loaded = load_adapter(adapter)
    if source is None:
        if out.suffix not in MATRIX_SUFFIXES:
            raise InvalidArgument(
                "no source is given. Name a source, or write only the matrix with --out matrix.npy."
            )
        check_output(out)
        save_matrix(loaded, out)
        print_wrapped(
            f"matrix [{loaded.full_dim}, {loaded.full_dim}] written to {shown_path(out)}; "
            "normalized vectors @ matrix gives adapted vectors"
        )
        return
    check_output(out, folder=True)
    with progress("transform vectors", unit="vectors") as on_progress:
        count = apply_adapter(
            loaded,
            source,
            out,
            prompts=parse_prompts(query_prompt, document_prompt),
            trust_remote_code=trust_remote_code,
            models=models,
            on_progress=on_progress,
        )
    adapted = count_text(count, "vector") if count else "model"
    print_wrapped(f"{adapted} transformed by {loaded.method}, written to {shown_path(out)}")
    print_next(f"nestvec evaluate {shown_path(out)} DATASET --out curve.json")


def _texts(
    corpus: Path | None,
    pairs: list[Path] | None,
    qrels: Path | None,
    split: str,
    load_model: Callable[[], Encoder],
) -> Texts | None:
    """Load the corpus, the pairs or the labeled data set that is given, if any."""
    if sum(each is not None and each != [] for each in (corpus, pairs, qrels)) > 1:
        raise InvalidArgument("CORPUS, --pairs and --qrels exclude each other. Pass one of them.")
    if qrels is not None:
        from nestvec.data.retrieval import load_dataset
        from nestvec.models.paired import ids_without_texts

        ids = ids_without_texts(qrels, load_model)
        return load_dataset(qrels, split=split, strict=True, document_ids=ids)
    if pairs:
        from nestvec.data.training import load_pairs

        return load_pairs(pairs)
    if corpus is not None:
        from nestvec.data.corpus import load_corpus

        return load_corpus(corpus)
    return None


def _next(adapter: Adapter, model: Encoder, *, source: str, out: str) -> str:
    from nestvec.models.paired import stores_documents

    prompts, pair = prompt_options(model.info), model.info.query_model is not None
    if pair and stores_documents(model):
        return f"nestvec index adapt INDEX {out}"
    one_layer = adapter.documents.linear and not (adapter.two_heads or adapter.layer_norm)
    if (one_layer and not pair) or stores_documents(model):
        return f"nestvec apply {out} {source} --out adapted{prompts}"
    return f"nestvec evaluate {source} DATASET --adapter {out}{prompts}"


def _print_result(adapter: Adapter) -> None:
    """Print the scores of each method on held-out vectors, and the chosen method."""
    fitted = adapter.fitted
    dims = sorted(adapter.dims, reverse=True)
    print_line(f"{fitted['metric']:16}{''.join(f'{dim:>7}' for dim in dims)} dims")
    for name, means in fitted["means"].items():
        cells = "".join(f"{means[str(dim)]:7.3f}" for dim in dims)
        print_line(f"{'truncated' if name == 'none' else name:16}{cells}")
    n_documents, n_queries = fitted["held_out_documents"], fitted["held_out_queries"]
    print_wrapped(f"measured on held-out data: {n_queries:,} queries, {n_documents:,} documents")
    if fitted["metric"] == "nearest@10":
        print_wrapped(
            "nearest@10: share of queries whose nearest document at full width is in the top 10. "
            "Relevance is measured only with --qrels."
        )
    if adapter.method == "none":
        print_wrapped(
            "no method is significantly better than truncation (95 %): the adapter changes nothing"
        )
    else:
        documents, seconds = fitted["documents"], fitted["seconds"]
        print_line(
            f"chosen: {adapter.method}, fitted on {documents:,} documents in {seconds:.0f} s"
        )
