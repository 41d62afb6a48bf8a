"""Embed a corpus on this machine, shard by shard.

Memory is bounded by one shard. ``ray`` distributes shards over a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.bulk.job import (
    SHARD_ROWS,
    EmbedSettings,
    Job,
    sample_embeddings,
    sample_texts,
    start_job,
)
from nestvec.bulk.shard import embed_shard, finished_shard, write_shard
from nestvec.bulk.store import locked_store, store_at
from nestvec.bulk.texts import ShardTexts, TextSource, split_texts
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.data.corpus import Corpus
from nestvec.models.load import as_encoder
from nestvec.sources.manifest import MANIFEST, EmbeddingsManifest, Shard
from nestvec.types import Document, Encoder, Kind, OnProgress, Precision, begin_step

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike


@dataclass(frozen=True, eq=False)
class EmbeddedCorpus:
    """The result of a run.

    Attributes:
        place: The folder or URL that contains the shards and ``embeddings.json``.
        manifest: The manifest.
        encoded: Number of texts that this run encoded; earlier runs encoded the others.
    """

    place: str
    manifest: EmbeddingsManifest
    encoded: int


def embed_corpus(  # noqa: PLR0913 - all but three arguments are keyword-only
    model: ModelLike,
    corpus: Corpus | Mapping[str, Document],
    out: Path | str,
    *,
    kind: Kind = "document",
    dim: int | None = None,
    precision: Precision = "float16",
    shard_rows: int = SHARD_ROWS,
    on_progress: OnProgress | None = None,
) -> EmbeddedCorpus:
    """Embed texts and store their vectors in Parquet shards, resumable after an interruption.

    Vectors are truncated, renormalized and quantized, in this order. The same call continues an
    interrupted run: a complete shard is not encoded again. The files of an interrupted and
    continued run equal those of an uninterrupted run on the same machine.

    Args:
        model: An encoder, a ``SentenceTransformer``, a model folder or a Hugging Face model id.
        corpus: Texts by id, or a ``Corpus``, which is encoded while it is read.
        out: Folder or ``s3://bucket/prefix``. Documents are stored in its subfolder ``corpus``,
            queries in ``queries``.
        kind: "document" or "query"; each may have its own prompt.
        dim: Number of dimensions to store; None for all.
        precision: Format of each vector. Other precisions than float16 and float32 are fitted on
            a sample of the texts, and the manifest contains what decodes them.
        shard_rows: Number of vectors of each shard except the last. An interruption loses at most
            one shard.
        on_progress: Called with the number of texts whose vectors are stored or encoded, and the
            number of all texts.

    Returns:
        The place, the manifest and the number of encoded texts.

    Raises:
        InvalidArgument: If a setting does not fit the model.
        DataError: If ``out`` contains other files, or vectors of another model, corpus or
            setting; or it cannot be written.
        ModelError: If the model cannot encode texts.

    Example:
        >>> import nestvec as nv
        >>> done = nv.embed_corpus("model", nv.open_corpus("data"), "vectors")  # doctest: +SKIP
        >>> done.manifest.rows  # doctest: +SKIP
        5183
    """
    settings = EmbedSettings(kind, dim, precision, shard_rows)
    return embed_texts(as_encoder(model), Corpus.of(corpus), out, settings, on_progress=on_progress)


def embed_texts(
    encoder: Encoder,
    corpus: Corpus,
    out: Path | str,
    settings: EmbedSettings,
    *,
    on_progress: OnProgress | None = None,
) -> EmbeddedCorpus:
    """Embed texts as ``embed_corpus`` does.

    Raises:
        InvalidArgument: As ``embed_corpus``.
        DataError: As ``embed_corpus``.
        ModelError: As ``embed_corpus``.
    """
    texts, kind = counted(corpus), settings.kind
    with locked_store(out, kind) as store:
        job = start_job(store, encoder, texts, settings)
        fit_codec(job, encoder, texts, on_progress)
        begin_step(on_progress, "embed texts", "texts")
        encoded = done = 0
        for each in split_texts(texts, settings.shard_rows):
            within = _shifted(on_progress, done, job.manifest.total)
            shard = _finished(job, each)
            if shard is None:
                shard = _embed(job, encoder, each, within)
                encoded += shard.rows
            job.add(shard)
            done += shard.rows
            if on_progress is not None:
                on_progress(done, job.manifest.total)
        return EmbeddedCorpus(store.place, job.finish(), encoded)


def count_embedded(out: Path | str, kind: Kind = "document") -> int:
    """Return the number of vectors that an interrupted run has stored."""
    manifest = _stored_manifest(out, kind)
    return 0 if manifest is None else manifest.rows


def texts_to_encode(source: TextSource, out: Path | str, settings: EmbedSettings) -> Iterator[str]:
    """Yield the texts that a run would encode.

    Texts of shards that an earlier run completed are left out. The texts of a sample that a codec
    is fitted on are encoded once more, so they are yielded twice.

    Args:
        source: The texts.
        out: As in ``embed_corpus``.
        settings: How to embed the texts.

    Raises:
        DataError: If the texts or the manifest of the earlier run cannot be read.
    """
    manifest = _stored_manifest(out, settings.kind)
    finished = {shard.file for shard in manifest.shards} if manifest else set()
    fitted = manifest is not None and manifest.codec is not None
    with source.opened() as corpus:
        if QUANTIZERS[settings.precision].fits and not fitted:
            texts = counted(corpus)
            if (texts.length or 0) > settings.shard_rows:
                yield from (text for _, text in sample_texts(texts))
        for each in split_texts(corpus, settings.shard_rows):
            if each.file not in finished:
                yield from each.texts


def _stored_manifest(out: Path | str, kind: Kind) -> EmbeddingsManifest | None:
    store = store_at(out, kind)
    content = store.read(MANIFEST)
    return None if content is None else EmbeddingsManifest.from_text(content.decode(), store.place)


def counted(corpus: Corpus) -> Corpus:
    """Return a corpus with a known length; read it once if the length is unknown."""
    if corpus.length is not None:
        return corpus
    return replace(corpus, length=sum(1 for _ in corpus))


def fit_codec(job: Job, model: Encoder, corpus: Corpus, on_progress: OnProgress | None) -> None:
    """Fit the codec of a job on a sample, if it needs one."""
    if job.needs_sample:
        begin_step(on_progress, "encode a sample to fit the codec", "texts")
        job.fit(sample_embeddings(model, corpus, job.manifest.kind, on_progress=on_progress))


def _finished(job: Job, texts: ShardTexts) -> Shard | None:
    checksum = job.checksum_of(texts.file)
    if job.needs_codec:  # no shard was written yet
        return None
    return finished_shard(job.store, texts, job.form.run, sha256=checksum)


def _embed(job: Job, model: Encoder, texts: ShardTexts, on_progress: OnProgress | None) -> Shard:
    embeddings, truncated = embed_shard(model, texts, job.manifest.kind, on_progress=on_progress)
    job.fit(embeddings)
    return write_shard(job.store, texts, embeddings, job.form, truncated=truncated)


def _shifted(on_progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    """Report the progress of a shard as progress of all texts."""
    return None if on_progress is None else partial(_report, on_progress, before, total)


def _report(on_progress: OnProgress, before: int, total: int, done: int, _: int) -> None:
    on_progress(before + done, total)
