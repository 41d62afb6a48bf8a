"""Choose the canaries of an index, and record them in its manifest.

While an index is built, the canaries are texts that are encoded anyway. An index of an earlier
version gets canaries from its stored documents, after a check that the model still returns their
vectors. ``operate.drift`` compares a model with the canaries.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.canaries import MOST_BYTES, MOST_TEXTS, Canaries
from nestvec.engines.engine import Engine
from nestvec.engines.registry import open_engine
from nestvec.errors import InvalidArgument
from nestvec.index.model import IndexModel
from nestvec.index.recording import check_vectors
from nestvec.models.adapted import unadapted, uncached
from nestvec.models.encoding import embed
from nestvec.models.paired import encoder_of, stores_documents
from nestvec.types import Document, Embeddings, Encoder
from nestvec.wording import count_text, size_text

_SHORT = 1_000  # characters: shorter texts are preferred, because more of them fit
_DRAWN = 256  # documents that are read to choose the texts of an existing index
_logger = logging.getLogger(__name__)


BeforeEncoding = Callable[[Encoder, Sequence[str]], None]
"""Called with a model and the texts that it will encode."""


class _DrawnText(NamedTuple):
    """A text with its rank: the lowest ranks are chosen."""

    rank: tuple[int, bytes]
    text: str
    vector: Embeddings


class CanaryDraw:
    """Draws canaries from documents that are encoded in batches, in any order."""

    def __init__(self, seed: int = 0) -> None:
        """Begin without documents."""
        self._seed, self._best = seed, list[_DrawnText]()

    def see(self, documents: Mapping[str, Document], embeddings: Embeddings) -> None:
        """Draw from a batch.

        Args:
            documents: Documents by id. Those without a text are not drawn.
            embeddings: Their vectors as the model returns them, [n, full_dim].
        """
        candidates = self._candidates(documents, embeddings)
        best = heapq.nsmallest(
            MOST_TEXTS, chain(self._best, candidates), key=lambda each: each.rank
        )
        # Copies, because a row of a batch would keep the whole batch in memory.
        self._best = [each._replace(vector=each.vector.copy()) for each in best]

    def canaries(self) -> Canaries | None:
        """Return the drawn texts that fit; None if there are none."""
        if not self._best:
            return None
        vectors = np.stack([each.vector for each in self._best])
        return Canaries.pack([each.text for each in self._best], vectors)

    def _candidates(
        self, documents: Mapping[str, Document], embeddings: Embeddings
    ) -> Iterator[_DrawnText]:
        usable: NDArray[np.bool_] = np.any(embeddings, axis=1)
        for row, (id_, document) in enumerate(documents.items()):
            text = document.content
            if text and usable[row]:
                yield _DrawnText(_rank(id_, text, self._seed), text, embeddings[row])


def record_canaries(
    path: Path | str,
    model: Encoder | None = None,
    *,
    texts: Sequence[str] | None = None,
    before_encoding: BeforeEncoding | None = None,
) -> Canaries:
    """Encode texts with the model of an index, and store them with their vectors as canaries.

    First, stored documents are encoded and compared with their vectors, because the canaries of a
    model that has changed could not show the change.

    Args:
        path: The path or URL of an index.
        model: The model of the index; None to load the recorded one.
        texts: The texts; None for up to 32 stored documents.
        before_encoding: Called with the model and all texts that will be encoded, for example to
            confirm the cost of an API model.

    Returns:
        The canaries: as many of the texts as fit.

    Raises:
        InvalidArgument: If there is no text to encode, or the model stores vectors.
        ModelMismatch: If the model does not return the vectors of the index.
        ModelError: If the model cannot be found.
        IndexLocked: If another process changes the index.
    """
    with closing(open_engine(path)) as engine:
        encoder = IndexModel(engine, model).encoder
        if stores_documents(encoder):
            problem = f"{encoder.info.name} contains vectors, so it cannot encode texts."
            remedy = f"Record the model that made the vectors: nestvec index model {path} MODEL"
            raise InvalidArgument(f"{problem} {remedy}")
        engine.lock()
        plain, known = fresh_encoder(encoder), draw_documents(engine)
        chosen = known if texts is None else _chosen_texts(texts)
        if not chosen:
            raise InvalidArgument(_no_text(engine))
        if before_encoding is not None:
            encoded = known if texts is None else {**known, **chosen}
            before_encoding(plain, [each.content for each in encoded.values()])
        made = _embed(plain, known)
        if known:
            check_vectors(engine, plain.info.name, known, made)
        canaries = _pack(chosen, made if texts is None else _embed(plain, chosen))
        if canaries is None:
            raise InvalidArgument(_no_text(engine))
        if texts is not None and len(canaries.texts) < len(texts):
            _logger.warning(
                "%s of %s were not stored: canaries have at most %d texts, none of them empty, "
                "and %s with their vectors.",
                f"{len(texts) - len(canaries.texts):,}",
                *(count_text(len(texts), "text"), MOST_TEXTS, size_text(MOST_BYTES)),
            )
        engine.record_canaries(canaries)
        return canaries


def record_drawn(engine: Engine, draw: CanaryDraw) -> None:
    """Store the canaries that are drawn while an index is built.

    A build that continues an interrupted one may encode only a few texts. Former canaries are kept
    if there are more of them.
    """
    canaries, before = draw.canaries(), engine.manifest.canaries
    if canaries is not None and (before is None or len(before.texts) <= len(canaries.texts)):
        engine.record_canaries(canaries)


def fresh_encoder(model: Encoder) -> Encoder:
    """Return the model of documents without its adapter and its cache.

    A cache would return the vectors of an earlier day.
    """
    return uncached(encoder_of(uncached(unadapted(model)), "document"))


def draw_documents(engine: Engine, seed: int = 0) -> dict[str, Document]:
    """Return at most ``MOST_TEXTS`` documents with texts, drawn from all of an index."""
    ids = heapq.nsmallest(_DRAWN, engine.ids(), key=lambda id_: _rank(id_, "", seed))
    return _chosen(engine.get(ids), seed)


def _chosen(documents: Mapping[str, Document], seed: int) -> dict[str, Document]:
    """Return the documents with the lowest ranks that have a text."""
    texts = ((id_, each) for id_, each in documents.items() if each.content)
    ranked = heapq.nsmallest(
        MOST_TEXTS, texts, key=lambda item: _rank(item[0], item[1].content, seed)
    )
    return dict(ranked)


def _chosen_texts(texts: Sequence[str]) -> dict[str, Document]:
    numbered = {f"line {number}": Document(text) for number, text in enumerate(texts, start=1)}
    return _chosen(numbered, seed=0)


def _pack(documents: Mapping[str, Document], embeddings: Embeddings) -> Canaries | None:
    draw = CanaryDraw()
    draw.see(documents, embeddings)
    return draw.canaries()


def _embed(model: Encoder, documents: Mapping[str, Document]) -> Embeddings:
    if not documents:
        return np.empty((0, model.info.full_dim), dtype=np.float32)
    texts = [document.content for document in documents.values()]
    return embed(model, list(documents), texts, kind="document")


def _no_text(engine: Engine) -> str:
    problem = f"no text of {engine.place} can serve as a canary: all are empty or too long."
    return f"{problem} Pass short texts: --texts FILE."


def _rank(id_: str, text: str, seed: int) -> tuple[int, bytes]:
    drawn = hashlib.blake2b(f"{seed} {id_}".encode(errors="replace"), digest_size=8)
    return len(text) // _SHORT, drawn.digest()
