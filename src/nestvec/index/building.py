"""Build an index of a corpus, or re-embed an index with another model.

The next call with equal arguments continues an interrupted build.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.data.corpus import Corpus
from nestvec.engines.engine import Engine
from nestvec.engines.manifest import Manifest, Stored, stored_for
from nestvec.engines.registry import engine_at
from nestvec.errors import InvalidArgument
from nestvec.index.arguments import PlannedPoint, point_for
from nestvec.index.canaries import CanaryDraw, record_drawn
from nestvec.index.index import Index
from nestvec.index.model import with_absolute_path
from nestvec.models.adapted import AdaptedEncoder, unadapted
from nestvec.models.adapter import Adapter
from nestvec.models.encoding import embed_batches
from nestvec.models.load import as_encoder
from nestvec.types import Document, Encoder, OnProgress, OperatingPoint

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike

_BLOCK = 1_024  # documents read at a time
_logger = logging.getLogger(__name__)


def build_index(
    model: ModelLike,
    corpus: Corpus | Mapping[str, Document],
    point: PlannedPoint | OperatingPoint | str,
    path: Path | str,
    *,
    stored: Stored | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Encode a corpus, write its index and open it.

    An interrupted build is continued if the model and the corpus are the same.

    Args:
        model: An encoder, a ``SentenceTransformer``, a model folder, a Hugging Face model id, or a
            folder of precomputed vectors.
        corpus: Documents by id, or a ``Corpus``, which is encoded while it is read. An index may
            begin without documents.
        point: The operating point: a plan, a point, or a point in text form.
        path: The index folder, or the URL of another engine. An existing index is replaced when
            the new one is complete.
        stored: The precision of stored vectors; None for float16, or float32 if the point uses
            float32.
        on_progress: Called with the number of encoded documents and the total.

    Returns:
        The new index, open.

    Raises:
        InvalidArgument: If the point is wider than the model.
        ModelMismatch: If the plan is for another model.
        IndexLocked: If another process builds an index at this path.
        DataError: If the index cannot be written. An existing index is then unchanged.
    """
    model = as_encoder(model)
    chosen = point_for(point, model.info)
    documents = Corpus.of(corpus)
    manifest = Manifest(with_absolute_path(model.info), stored or stored_for(chosen), chosen)
    with engine_at(path).building(
        str(path),
        manifest,
        source={"corpus": documents.digest},
        adapter=_adapter_of(model),
    ) as engine:
        _fill(engine, model, documents, on_progress)
    return Index.open(path, model)


def reembed(
    path: Path | str,
    model: ModelLike,
    *,
    point: PlannedPoint | OperatingPoint | str | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Encode the stored texts of an index with another model, and replace the index.

    Args:
        path: The index folder or URL. It can be searched while the new index is built.
        model: The encoder of the new index.
        point: The operating point of the new index; None for the same point.
        on_progress: Called with the number of encoded documents and the total.

    Returns:
        The new index, open.

    Raises:
        InvalidArgument: If the point is wider than the model, or no document has a text.
        IndexLocked: If another process changes the index.
        DataError: If the new index cannot be written. The old index is then unchanged.
    """
    model = as_encoder(model)
    with Index.open(path) as old:
        old.lock()  # documents added during the build would be lost
        new_point = old.point if point is None else point
        corpus = Corpus(lambda: _documents(old), len(old), source=str(path))
        if corpus.length and not any(document.content for _, document in corpus):
            problem = f"{path}: the index has no texts to encode; it was built from vectors."
            raise InvalidArgument(f"{problem} Build a new index from the new vectors.")
        # An index that stores float32 keeps it. Otherwise the new point decides.
        stored: Stored | None = "float32" if old.stats().stored == "float32" else None
        return build_index(model, corpus, new_point, path, stored=stored, on_progress=on_progress)


def count_unfinished(path: Path | str) -> int:
    """Return the number of documents that an interrupted build has stored for a path."""
    return engine_at(path).count_unfinished(str(path))


def _adapter_of(model: Encoder) -> Adapter | None:
    return model.adapter if isinstance(model, AdaptedEncoder) and model.info.adapter else None


def _documents(index: Index) -> Iterator[tuple[str, Document]]:
    ids = index.ids()
    while block := list(islice(ids, _BLOCK)):
        yield from index.get(block).items()


def _fill(engine: Engine, model: Encoder, corpus: Corpus, on_progress: OnProgress | None) -> None:
    existing = set(engine.ids())
    missing = ((id_, document) for id_, document in corpus if id_ not in existing)
    length = None if corpus.length is None else corpus.length - len(existing)
    adapter, draw = _adapter_of(model), CanaryDraw()
    batches = embed_batches(
        unadapted(model), missing, length=length, on_progress=on_progress, before=len(existing)
    )
    for batch, embeddings in batches:
        stored = embeddings if adapter is None else adapter.apply(embeddings, "document")
        engine.add(batch, stored, build_codes=False)
        draw.see(batch, embeddings)
        if engine.manifest.canaries is None:  # so that an interrupted build has some
            record_drawn(engine, draw)
    record_drawn(engine, draw)
    if not len(engine):
        _logger.warning("the corpus is empty, so the index begins without documents")
