"""Build an index of a corpus, or move one to another model; what was interrupted is continued."""

from __future__ import annotations

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
from nestvec.index.index import Index
from nestvec.index.model import findable_anywhere
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter
from nestvec.models.encoding import encoded_batches
from nestvec.models.load import as_encoder
from nestvec.types import Document, Encoder, OnProgress, OperatingPoint

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike

_BLOCK = 1_024  # documents read at a time


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

    An interrupted build of the same model and corpus goes on where it stopped.

    Args:
        model: An encoder, a ``SentenceTransformer``, a folder or a hub id; also precomputed
            vectors.
        corpus: The documents: by id, or a ``Corpus`` that is read as it is encoded.
        point: How to search: a plan, a point or a point's text form.
        path: The folder, or the URL of another engine; an index in its place is replaced when the
            new one is complete.
        stored: How full vectors are kept; None for float16, or float32 where the point needs it.
        on_progress: Called with documents encoded and in total.

    Raises:
        InvalidArgument: If the point is wider than the model or the corpus is empty.
        ModelMismatch: If the plan is another model's.
        IndexLocked: If another process builds an index there.
        DataError: If the index cannot be written; what was there is untouched.
    """
    model = as_encoder(model)
    chosen = point_for(point, model.info)
    documents = Corpus.of(corpus)
    if documents.length == 0:
        raise InvalidArgument("the corpus is empty: an index needs at least one document")
    manifest = Manifest(findable_anywhere(model.info), stored or stored_for(chosen), chosen)
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
    """Move an index to another model: encode its texts beside it, then switch.

    Args:
        path: The index folder or URL, searched as it was until the new one is complete.
        model: What encodes from then on.
        point: How to search then; None for the same point.
        on_progress: Called with documents encoded and in total.

    Raises:
        InvalidArgument: If the point is wider than the model, or no document has a text.
        IndexLocked: If another process changes the index.
        DataError: If the new index cannot be written; the old one is untouched.
    """
    model = as_encoder(model)
    with Index.open(path) as old:
        old.lock()  # nothing may be added to it meanwhile: that would be lost
        asked = old.point if point is None else point
        corpus = Corpus(lambda: _documents(old), len(old))
        if corpus.length and not any(document.content for _, document in corpus):
            raise InvalidArgument(f"{path}: holds no texts to encode: it was built of vectors")
        # Who asked for float32 keeps it; float16 gives way where the new point needs more.
        stored: Stored | None = "float32" if old.stats().stored == "float32" else None
        return build_index(model, corpus, asked, path, stored=stored, on_progress=on_progress)


def count_unfinished(path: Path | str) -> int:
    """Count the documents that an interrupted build, or move to a model, has kept for a place."""
    return engine_at(path).count_unfinished(str(path))


def _adapter_of(model: Encoder) -> Adapter | None:
    return model.adapter if isinstance(model, AdaptedEncoder) and model.info.adapter else None


def _documents(index: Index) -> Iterator[tuple[str, Document]]:
    ids = index.ids()
    while block := list(islice(ids, _BLOCK)):
        yield from index.get(block).items()


def _fill(engine: Engine, model: Encoder, corpus: Corpus, on_progress: OnProgress | None) -> None:
    there = set(engine.ids())
    missing = ((id_, document) for id_, document in corpus if id_ not in there)
    length = None if corpus.length is None else corpus.length - len(there)
    batches = encoded_batches(
        model, missing, length=length, on_progress=on_progress, before=len(there)
    )
    for batch, embeddings in batches:
        engine.add(batch, embeddings, code=False)
    if not len(engine):
        raise InvalidArgument("the corpus is empty: an index needs at least one document")
