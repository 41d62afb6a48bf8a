"""A job: what to embed and how, the shards that are complete, and the manifest.

The manifest is written before the first shard and after each one, so that a later run with the
same arguments continues. A run with another model, corpus or setting is refused.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from nestvec.bulk.shard import ShardFormat
from nestvec.bulk.store import ShardStore
from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import check_codable
from nestvec.data.corpus import Corpus
from nestvec.errors import DataError, InvalidArgument
from nestvec.index.model import with_absolute_path
from nestvec.models.adapted import unadapted
from nestvec.models.differences import differences
from nestvec.models.encoding import embed
from nestvec.sources.manifest import MANIFEST, EmbeddingsManifest, Shard
from nestvec.types import PRECISIONS, Embeddings, Encoder, Kind, ModelInfo, OnProgress, Precision
from nestvec.wording import count_text

SHARD_ROWS = 16_384
_WITHOUT_CODEC = ("float32", "float16")
SAMPLE_ROWS = 10_000  # texts that a codec is fitted on, if there are several shards

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedSettings:
    """How to embed texts.

    Attributes:
        kind: Whether the texts are documents or queries; each may have its own prompt.
        dim: Number of dimensions to store; None for all.
        precision: Format of each vector.
        shard_rows: Number of vectors of each shard except the last.
    """

    kind: Kind = "document"
    dim: int | None = None
    precision: Precision = "float16"
    shard_rows: int = SHARD_ROWS

    def __post_init__(self) -> None:
        """Check the precision and the number of rows.

        Raises:
            InvalidArgument: If a value is outside its limits.
        """
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise InvalidArgument(f"precision {self.precision!r} is not one of {known}.")
        if self.shard_rows < 1:
            raise InvalidArgument(f"shard_rows={self.shard_rows} is below 1. Choose 1 or more.")

    def dim_of(self, model: ModelInfo) -> int:
        """Return the number of dimensions to store, checked for a model.

        Raises:
            InvalidArgument: If ``dim`` is not from 1 to full_dim, or does not fit the precision.
        """
        full_dim = model.full_dim
        dim = full_dim if self.dim is None else self.dim
        if not 1 <= dim <= full_dim:
            problem = f"dim={dim} is not from 1 to full_dim={full_dim} of {model.name}."
            raise InvalidArgument(f"{problem} Choose a value from 1 to {full_dim}.")
        check_codable(dim, self.precision)
        if not model.is_trained_for(dim):
            _logger.warning(
                "%s is not known to be trained for %s. Measure the loss with `nestvec evaluate`.",
                *(model.name, count_text(dim, "dim")),
            )
        return dim


class Job:
    """The manifest of a run and the store of its shards."""

    def __init__(self, store: ShardStore, manifest: EmbeddingsManifest) -> None:
        """Use a manifest, as ``start_job`` returns it."""
        self.store, self.manifest = store, manifest
        self._shards = {shard.file: shard for shard in manifest.shards}

    @property
    def form(self) -> ShardFormat:
        """How shards are stored.

        Raises:
            InvalidArgument: If the codec is not fitted yet.
        """
        manifest = self.manifest
        if self.needs_codec:
            raise InvalidArgument("the codec of the shards is not fitted")
        codec = manifest.codec or _plain_codec(manifest)
        return ShardFormat(manifest.kind, codec, _run_of(manifest))

    def checksum_of(self, file: str) -> str | None:
        """Return the checksum of a shard that the manifest records; None without an entry."""
        return self._shards[file].sha256 if file in self._shards else None

    def fit(self, embeddings: Embeddings) -> None:
        """Fit the codec, unless the precision needs none or the codec is fitted.

        Args:
            embeddings: A sample, raw model output [n, full_dim].
        """
        manifest = self.manifest
        if self.needs_codec:
            codec = Codec.fit(
                embeddings,
                manifest.dim,
                manifest.precision,
                layer_norm=manifest.model.layer_norm,
            )
            self._write(replace(manifest, codec=codec))

    @property
    def needs_codec(self) -> bool:
        """Whether a codec is missing; the manifest contains the codec of codes."""
        return self.manifest.codec is None and self.manifest.precision not in _WITHOUT_CODEC

    @property
    def needs_sample(self) -> bool:
        """Whether a codec must be fitted on a sample of the texts before the first shard.

        The codec of a single shard is fitted on the vectors of the shard itself.
        """
        return self.needs_codec and self.manifest.total > self.manifest.shard_rows

    def add(self, shard: Shard) -> None:
        """Record a complete shard."""
        if self._shards.get(shard.file) != shard:
            self._shards[shard.file] = shard
            shards = tuple(self._shards[file] for file in sorted(self._shards))
            self._write(replace(self.manifest, shards=shards, complete=False))

    def finish(self) -> EmbeddingsManifest:
        """Record that all shards are complete, and log warnings about the vectors.

        Raises:
            DataError: If the number of texts differs from that at the start.
        """
        manifest = self.manifest
        if manifest.rows != manifest.total:
            problem = f"has {manifest.rows:,} vectors for {manifest.total:,} texts"
            raise DataError(self.store.place, f"{problem}. The corpus changed while it was read.")
        if not manifest.complete:
            self._write(replace(manifest, complete=True))
        _warn(self.manifest)
        return self.manifest

    def _write(self, manifest: EmbeddingsManifest) -> None:
        self.store.write(MANIFEST, manifest.to_text().encode())
        self.manifest = manifest


def start_job(store: ShardStore, model: Encoder, corpus: Corpus, settings: EmbedSettings) -> Job:
    """Begin a job, or continue the job whose manifest the store has.

    Args:
        store: Where shards are stored.
        model: The encoder.
        corpus: The texts; ``length`` is known.
        settings: How to embed them.

    Raises:
        InvalidArgument: If a setting does not fit the model.
        DataError: If the store has other files, or a job of another model, corpus or setting.
    """
    info = with_absolute_path(model.info)
    wanted = EmbeddingsManifest(
        model=info,
        kind=settings.kind,
        dim=settings.dim_of(info),
        precision=settings.precision,
        shard_rows=settings.shard_rows,
        total=corpus.length or 0,
        settings=dict(getattr(unadapted(model), "settings", {})),
    )
    content = store.read(MANIFEST)
    if content is None:
        if names := store.names():
            problem = f"contains {names[0]!r} and no {MANIFEST}, so it is not replaced"
            raise DataError(store.place, f"{problem}. Choose another folder.")
        job = Job(store, wanted)
        store.write(MANIFEST, wanted.to_text().encode())
        return job
    text = content.decode("utf-8", errors="replace")
    stored = EmbeddingsManifest.from_text(text, f"{store.place}/{MANIFEST}")
    _check_same(store.place, stored, wanted)
    return Job(store, stored)


def sample_embeddings(
    model: Encoder, corpus: Corpus, kind: Kind, *, on_progress: OnProgress | None = None
) -> Embeddings:
    """Encode a sample of texts, evenly spread over the corpus, to fit a codec on.

    Returns:
        Raw model output [at most ``SAMPLE_ROWS``, full_dim].
    """
    ids, texts = list[str](), list[str]()
    for id_, text in sample_texts(corpus):
        ids.append(id_)
        texts.append(text)
    return embed(model, ids, texts, kind=kind, on_progress=on_progress)


def sample_texts(corpus: Corpus) -> Iterator[tuple[str, str]]:
    """Yield ids and texts of at most ``SAMPLE_ROWS`` texts, evenly spread over the corpus.

    Args:
        corpus: The texts; ``length`` is known.
    """
    total = corpus.length or 0
    rows = np.unique(np.linspace(0, total - 1, min(total, SAMPLE_ROWS)).astype(np.int64))
    chosen = set(rows.tolist())
    yield from (
        (id_, document.content) for row, (id_, document) in enumerate(corpus) if row in chosen
    )


def _plain_codec(manifest: EmbeddingsManifest) -> Codec:
    nothing = np.empty(0, dtype=np.float32)
    return Codec(manifest.dim, manifest.precision, manifest.model.layer_norm, nothing)


def _run_of(manifest: EmbeddingsManifest) -> str:
    """Return a checksum of the model, the codec and all settings that affect vectors."""
    same = replace(manifest, shards=(), complete=False, total=0, settings={})
    return hashlib.sha256(same.to_text().encode()).hexdigest()


def _check_same(place: str, stored: EmbeddingsManifest, wanted: EmbeddingsManifest) -> None:
    """Check that a job can be continued.

    Raises:
        DataError: If it cannot; the message names what differs.
    """
    different = "; ".join(_differences(stored, wanted))
    if different:
        remedy = "Repeat the earlier arguments, or choose another folder."
        raise DataError(place, f"contains vectors of another job. Different: {different}. {remedy}")
    for name, version in wanted.settings.items():
        if (before := stored.settings.get(name)) != version:
            _logger.warning(
                "%s: earlier shards were embedded with %s %s, and later ones with %s, so that "
                "equal texts can have slightly different vectors.",
                *(place, name, before, version),
            )


def _differences(stored: EmbeddingsManifest, wanted: EmbeddingsManifest) -> Iterator[str]:
    before, now = stored.model, wanted.model
    if (before.fingerprint, before.adapter) != (now.fingerprint, now.adapter):
        yield f"model ({differences(before, now, 'manifest')})"
    elif before.max_tokens != now.max_tokens:
        yield f"maximum tokens ({before.max_tokens} before, {now.max_tokens} now)"
    elif before.dtype != now.dtype:
        yield f"dtype ({before.dtype or 'unknown'} before, {now.dtype or 'unknown'} now)"
    for name in ("kind", "dim", "precision", "shard_rows"):
        old, new = getattr(stored, name), getattr(wanted, name)
        if old != new:
            yield f"{name} ({old} before, {new} now)"
    if stored.total != wanted.total:
        yield f"corpus ({stored.total:,} texts before, {wanted.total:,} now)"


def _warn(manifest: EmbeddingsManifest) -> None:
    zero = sum(shard.zero_vectors for shard in manifest.shards)
    if zero:
        example = next(shard.zero_id for shard in manifest.shards if shard.zero_vectors)
        _logger.warning(
            "%s with a zero vector, such as %r: the score is 0 for every query. The texts are "
            "empty, or the model knows none of the words.",
            *(count_text(zero, "text"), example),
        )
    truncated = sum(shard.truncated for shard in manifest.shards)
    if truncated:
        _logger.warning(
            "%s truncated at the maximum length of the model (%s tokens)",
            *(count_text(truncated, "text"), manifest.model.max_tokens),
        )
    if not manifest.total:
        _logger.warning("the corpus is empty, so no shard was written")
