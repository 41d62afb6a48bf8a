"""``nestvec embed``: embed a large corpus, and store its vectors in shards."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from nestvec.cli.api_costs import confirm_cost
from nestvec.cli.console import check_output, print_json, print_line, print_wrapped, resumable
from nestvec.cli.models import COSTS, LOADING, ModelChoice, load_encoder, model_options
from nestvec.cli.options import (
    JsonOption,
    ModelArgument,
    PassageWordsOption,
    parse_kind,
)
from nestvec.cli.progress import progress
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.bulk.embedding import EmbeddedCorpus
    from nestvec.types import Precision

_Corpus = Annotated[
    str,
    typer.Argument(
        help="BEIR folder, folder of text files, one JSONL, CSV or Parquet file, or one of these "
        "in object storage, such as s3://bucket/corpus.jsonl. With '--kind query', a folder needs "
        "only queries.jsonl."
    ),
]
_Out = Annotated[
    str,
    typer.Option(
        "--out",
        help="Folder or s3://bucket/prefix to write. Documents are stored in its subfolder "
        "'corpus', queries in 'queries'.",
    ),
]
_Kind = Annotated[
    str,
    typer.Option("--kind", help="What the texts are, 'document' or 'query': prompts can differ."),
]
_Dim = Annotated[
    int | None,
    typer.Option(
        "--dim",
        min=1,
        help="Number of dimensions to store, such as 256.",
        show_default="all dimensions of the model",
    ),
]
_Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Format of each vector: float32, float16, int8, int4, int2, binary, sign or pq4.",
    ),
]
_ShardRows = Annotated[
    int,
    typer.Option(
        "--shard-rows",
        min=1,
        help="Number of vectors of each file. An interruption loses at most one file.",
    ),
]
_Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Embed on the Ray cluster at this address, such as 10.0.0.1:6379 or auto.",
        show_default="embed in this process",
    ),
]


@model_options("adapter", *LOADING, "base_url", *COSTS)
def embed(
    model: ModelArgument,
    corpus: _Corpus,
    out: _Out,
    *,
    kind: _Kind = "document",
    dim: _Dim = None,
    precision: _Precision = "float16",
    shard_rows: _ShardRows = 16_384,
    ray: _Ray = None,
    passage_words: PassageWordsOption = None,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Embed a large corpus and store the vectors in Parquet files.

    After an interruption, the same command continues: complete files are not embedded again.

    Example: nestvec embed model corpus.jsonl --out vectors --dim 256 --precision int8
    """
    from nestvec.bulk.embedding import count_embedded, embed_texts, texts_to_encode
    from nestvec.bulk.job import EmbedSettings
    from nestvec.bulk.ray import embed_on_ray
    from nestvec.bulk.texts import TextSource
    from nestvec.files.object_storage import is_object_storage

    chosen = parse_kind(kind)
    if not is_object_storage(out):
        check_output(Path(out), folder=True)
    start = time.perf_counter()
    load = partial(load_encoder, model, replace(choice, cache=False))
    settings = EmbedSettings(chosen, dim, cast("Precision", precision), shard_rows)
    source = TextSource(corpus, chosen, passage_words)
    encoder = load()
    confirm_cost(encoder, {chosen: texts_to_encode(source, out, settings)}, choice)
    with (
        resumable(lambda: count_embedded(out, chosen), None, noun=chosen),
        progress("embed texts", unit="texts") as on_progress,
    ):
        if ray is None:
            with source.opened() as texts:
                done = embed_texts(encoder, texts, out, settings, on_progress=on_progress)
        else:
            done = embed_on_ray(
                load, source, out, settings, address=ray, model=encoder, on_progress=on_progress
            )
    seconds = time.perf_counter() - start
    if as_json:
        print_json(_summary(done, seconds))
    else:
        _report(done, seconds)


def _summary(done: EmbeddedCorpus, seconds: float) -> dict[str, object]:
    manifest = done.manifest
    return {
        "place": done.place,
        "model": manifest.model.name,
        "kind": manifest.kind,
        "dim": manifest.dim,
        "precision": manifest.precision,
        "vectors": manifest.rows,
        "encoded": done.encoded,
        "shards": len(manifest.shards),
        "zero_vectors": sum(shard.zero_vectors for shard in manifest.shards),
        "truncated_texts": sum(shard.truncated for shard in manifest.shards),
        "seconds": round(seconds, 3),
    }


def _report(done: EmbeddedCorpus, seconds: float) -> None:
    from nestvec.models.prompts import prompts_text

    manifest = done.manifest
    earlier = manifest.rows - done.encoded
    resumed = f", {earlier:,} of them by an earlier run" if earlier else ""
    rate = f" ({done.encoded / seconds:,.0f} texts/s)" if done.encoded else ""
    print_wrapped(
        f"{count_text(manifest.rows, 'vector')} of {manifest.dim} dims as {manifest.precision}"
        f"{resumed}: {count_text(len(manifest.shards), 'file')}, {seconds:.0f} s{rate}"
    )
    print_line(f"folder   {done.place}")
    print_wrapped(prompts_text(manifest.model))
