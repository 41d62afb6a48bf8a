"""``nestvec adapt`` and ``nestvec apply``: good prefixes for vectors that exist already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from nestvec.cli.console import (
    CACHE_HELP,
    DTYPE_HELP,
    check_output,
    parse_dtype,
    parse_ints,
    progress,
    say,
    say_next,
    say_wrapped,
    shared_cache,
    shown_path,
)
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.adapt.training import Schedule
    from nestvec.models.adapter import Adapter, Method
    from nestvec.recipes.adapting import Texts
    from nestvec.types import Encoder


def adapt(
    source: Annotated[str, typer.Argument(help="Folder of vectors, or a model folder or hub id.")],
    corpus: Annotated[
        Path | None, typer.Argument(help="What a model encodes: BEIR folder, texts, JSONL...")
    ] = None,
    out: Annotated[Path, typer.Option(help="Adapter to write.")] = Path("adapter.safetensors"),
    pairs: Annotated[list[Path] | None, typer.Option(help="Or pairs: JSONL, CSV, Parquet.")] = None,
    qrels: Annotated[Path | None, typer.Option(help="Or a BEIR folder: labels count, too.")] = None,
    split: Annotated[str, typer.Option(help="Split of --qrels.")] = "train",
    dims: Annotated[str | None, typer.Option(help="Widths to serve [halvings].")] = None,
    method: Annotated[
        str | None, typer.Option(help="svd, whiten, linear, mlp [the best of a measurement].")
    ] = None,
    schedule: Annotated[str, typer.Option(help="joint or sequential.")] = "joint",
    two_heads: Annotated[
        bool, typer.Option("--two-heads", help="Queries through a head of their own.")
    ] = False,
    sample: Annotated[int, typer.Option(help="Most vectors to fit on.")] = 100_000,
    steps: Annotated[int, typer.Option(help="Of training.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    dtype: Annotated[str, typer.Option(help=DTYPE_HELP)] = "float32",
    cache: Annotated[bool, typer.Option(help=CACHE_HELP)] = True,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
) -> None:
    """Fit an adapter: vectors stay as wide, but their first dimensions hold what search needs.

    What is best is measured on vectors that were held out; if nothing is surely better than cutting
    vectors as they are, the adapter changes nothing, and says so.

    Example: `nestvec adapt vectors --dims 192,96 --out adapter.safetensors`
    """
    from nestvec.adapt.fitting import AdaptConfig
    from nestvec.models.adapter_file import save_adapter
    from nestvec.models.load import load_model
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
    texts = _texts(corpus, pairs, qrels, split)
    model = load_model(
        source,
        dtype=parse_dtype(dtype),
        trust_remote_code=trust_remote_code,
        cache=shared_cache(cache),
    )
    with progress("adapt") as on_progress:
        adapter = fit_adapter(model, texts, config=config, on_progress=on_progress)
    save_adapter(adapter, out)
    _tell(adapter)
    if adapter.method != "none":
        say_next(_next(adapter, model, source=shown_path(source), out=shown_path(out)))


def apply(
    adapter: Annotated[Path, typer.Argument(help="What `nestvec adapt` wrote.")],
    source: Annotated[
        str | None, typer.Argument(help="Folder of vectors, model folder or hub id.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder to write; without a source a matrix: .npy, .safetensors.")
    ] = Path("adapted"),
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
) -> None:
    """Apply an adapter to a folder of vectors or a model, which stays a plain folder.

    Without either, its matrix is written, for NumPy, SQL or anything else that multiplies.

    Example: `nestvec apply adapter.safetensors vectors --out adapted`
    """
    from nestvec.models.adapter_file import load_adapter
    from nestvec.recipes.adapted_files import MATRIX_SUFFIXES, apply_adapter, save_matrix

    loaded = load_adapter(adapter)
    if source is None:
        if out.suffix not in MATRIX_SUFFIXES:
            raise InvalidArgument("name what to apply it to, or --out matrix.npy for its matrix")
        check_output(out)
        save_matrix(loaded, out)
        say(f"{loaded.full_dim} x {loaded.full_dim} in {shown_path(out)}: unit rows @ matrix")
        return
    check_output(out, folder=True)
    with progress("apply", unit="vectors") as on_progress:
        count = apply_adapter(
            loaded, source, out, trust_remote_code=trust_remote_code, on_progress=on_progress
        )
    transformed = count_text(count, "vector") if count else "model"
    say_wrapped(f"{transformed} transformed with {loaded.method}, written to {shown_path(out)}")
    say_next(f"nestvec evaluate {shown_path(out)} DATASET --out curve.json")


def _texts(
    corpus: Path | None, pairs: list[Path] | None, qrels: Path | None, split: str
) -> Texts | None:
    """Load what the arguments say, at most one kind."""
    if sum(each is not None and each != [] for each in (corpus, pairs, qrels)) > 1:
        raise InvalidArgument("name one of a corpus, --pairs and --qrels")
    if qrels is not None:
        from nestvec.data.retrieval import load_dataset

        return load_dataset(qrels, split=split, strict=True)
    if pairs:
        from nestvec.data.training import load_pairs

        return load_pairs(pairs)
    if corpus is not None:
        from nestvec.data.corpus import load_corpus

        return load_corpus(corpus)
    return None


def _next(adapter: Adapter, model: Encoder, *, source: str, out: str) -> str:
    from nestvec.models.precomputed import PrecomputedVectors

    one_layer = adapter.documents.linear and not (adapter.two_heads or adapter.layer_norm)
    if one_layer or isinstance(model, PrecomputedVectors):
        return f"nestvec apply {out} {source} --out adapted"
    return f"nestvec evaluate {source} DATASET --adapter {out}"


def _tell(adapter: Adapter) -> None:
    """Print the score of each method on held-out vectors, and the chosen method."""
    fitted = adapter.fitted
    dims = sorted(adapter.dims, reverse=True)
    say(f"{fitted['metric']:16}{''.join(f'{dim:>7}' for dim in dims)} dims")
    for name, means in fitted["means"].items():
        cells = "".join(f"{means[str(dim)]:7.3f}" for dim in dims)
        say(f"{'truncation' if name == 'none' else name:16}{cells}")
    n, n_queries = fitted["held_out_documents"], fitted["held_out_queries"]
    say_wrapped(f"measured with {n_queries:,} queries on {n:,} documents, not used to fit")
    if fitted["metric"] == "nearest@10":
        say_wrapped(
            "nearest@10: share of queries whose nearest document at full width is in the top 10; "
            "to measure search quality, pass relevance labels (--qrels)"
        )
    if adapter.method == "none":
        say_wrapped(
            "no method is significantly better than truncation: the adapter changes nothing"
        )
    else:
        count = f"{fitted['documents']:,} documents"
        say(f"{adapter.method}, fitted on {count} in {fitted['seconds']:.0f} s")
