"""Fit an adapter on a model's vectors: a folder of them, or what it makes of a corpus or pairs.

Brings together vectors, queries and labels, each under its id; how an adapter is fitted on arrays,
and which one is taken, is the business of ``adapt``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestvec.adapt.fitting import TRAINED, AdaptConfig, Base, asked_dims, fit
from nestvec.adapt.sample import ROWS_PER_DIM, Sample, check_vectors, unit_vectors
from nestvec.codec.arrays import as_embeddings
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument, ModelMismatch, require
from nestvec.models.adapter import Adapter, Method
from nestvec.models.adapter_file import check_unadapted
from nestvec.models.encoding import embed
from nestvec.models.load import as_encoder, is_library_model
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Document, Embeddings, Encoder, OnProgress, Rows

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike

Texts = RetrievalSet | TrainingPairs | Mapping[str, Document]
"""What is encoded, or names vectors that are there: queries with labels, pairs, or documents."""


def fit_adapter(
    model: ModelLike | ArrayLike,
    data: Texts | None = None,
    *,
    dims: Sequence[int] | None = None,
    method: Method | None = None,
    config: AdaptConfig | None = None,
    on_progress: OnProgress | None = None,
) -> Adapter:
    """Fit an adapter for a model's vectors, and choose its method by what held-out ones keep.

    Args:
        model: A folder of vectors (``load_model``), which are all used, and its queries too; an
            array, tensor or list of vectors, [n, full_dim]; or a model that encodes ``data``: an
            encoder, a ``SentenceTransformer``, a folder or a hub id.
        data: What to encode. Of a folder of vectors it names those to use as queries, and what
            answers them.
        dims: Widths that are to be good; None for halvings of the full one.
        method: One of "svd", "whiten", "linear", "mlp"; None measures which is best.
        config: Further settings; dims and method stand above its own.
        on_progress: Called with what is done and in all, of encoding and then of training.

    Returns:
        An adapter; where nothing is surely better than cutting, one of the method "none", which
        leaves vectors as they are.

    Raises:
        InvalidArgument: If the vectors or the settings cannot be used, or a model is given no
            texts.
        DataError: If an id has no vector.
        MissingExtra: If something is to be trained and PyTorch is not installed.
        ModelMismatch: If the model is adapted already.
    """
    config = config or AdaptConfig()
    config = replace(
        config,
        dims=config.dims if dims is None else tuple(dims),
        method=config.method if method is None else method,
    )
    if config.method is None or config.method in TRAINED:
        require("torch", extra="train")  # before anything is encoded
    if isinstance(model, str | Path) or is_library_model(model):
        model = as_encoder(model)
    if not isinstance(model, Encoder):
        if data is not None:
            raise InvalidArgument("an array of vectors has no ids for data: load a folder of them")
        sample = _sample(_some_rows(_array(model), config), _HeldQueries(), layer_norm=False)
        return fit(sample, Base("", "an array of vectors"), config, on_progress=on_progress)
    info = model.info
    if info.adapter:
        raise ModelMismatch(f"{info.name} is adapted already: name what it was made of")
    check_unadapted(Path(info.name))  # the folder, where it is one
    _check_asked(config, info.full_dim)  # before anything is encoded
    if isinstance(model, PrecomputedVectors):
        documents, asked = _looked_up(model, data, config)
        fingerprint = ""  # of the vectors, not of what made them
    else:
        documents, asked = _encoded(model, data, config, on_progress)
        fingerprint = info.fingerprint
    sample = _sample(documents, asked, layer_norm=info.layer_norm)
    base = Base(fingerprint, info.name, info.layer_norm, info.dims_trained)
    return fit(sample, base, config, on_progress=on_progress)


def _array(vectors: ArrayLike) -> Embeddings:
    """Return floating-point numbers; a mapped file stays one."""
    if isinstance(vectors, np.ndarray) and vectors.ndim and vectors.dtype.kind == "f":
        return vectors
    return as_embeddings(vectors)


def _check_asked(config: AdaptConfig, full_dim: int) -> None:
    asked_dims(config.dims, full_dim)
    least = ROWS_PER_DIM * full_dim
    if config.sample < least:
        few = f"sample {config.sample:,} < {least:,}"
        raise InvalidArgument(f"{few}, the least for {full_dim} dims: ask for more")


@dataclass(frozen=True, eq=False)
class _HeldQueries:
    """Queries, and the rows that answer each."""

    queries: Embeddings | None = None
    positives: tuple[Rows, ...] | None = None


def _sample(documents: Embeddings, asked: _HeldQueries, *, layer_norm: bool) -> Sample:
    unit = check_vectors(documents, layer_norm=layer_norm)
    queries = np.empty((0, unit.shape[1]), dtype=np.float32)
    if asked.queries is not None and len(asked.queries):
        queries = unit_vectors(asked.queries, layer_norm=layer_norm)
    return Sample(unit, queries, asked.positives)


def _looked_up(
    vectors: PrecomputedVectors, data: Texts | None, config: AdaptConfig
) -> tuple[Embeddings, _HeldQueries]:
    """Take vectors that are there."""
    if isinstance(data, TrainingPairs):
        folder = vectors.info.name
        raise InvalidArgument(f"{folder} holds vectors by id, pairs are texts: give qrels instead")
    ids = vectors.ids("document")
    if not ids:  # the queries of a log are vectors as well
        if data is not None:
            out = "add corpus vectors, or leave the texts and qrels out"
            raise InvalidArgument(f"{vectors.info.name} holds queries, no documents: {out}")
        return vectors.take(_some(vectors.ids("query"), (), config), kind="query"), _HeldQueries()
    if isinstance(data, RetrievalSet):
        asked = _labels(data)
    elif data is None:
        asked = _Labels(vectors.ids("query"))
    else:
        ids, asked = list(data), _Labels(vectors.ids("query"))
    asked = asked.some(config)
    vectors.check(asked.answers, kind="document")
    chosen = _some(ids, asked.answers, config)
    found = vectors.take(chosen, kind="document")
    queries = vectors.take(asked.queries, kind="query") if asked.queries else None
    return found, _HeldQueries(queries, asked.rows(chosen))


def _encoded(
    model: Encoder, data: Texts | None, config: AdaptConfig, on_progress: OnProgress | None
) -> tuple[Embeddings, _HeldQueries]:
    """Encode texts."""
    if data is None:
        raise InvalidArgument(f"{model.info.name} encodes texts: give a corpus, pairs or qrels")
    if isinstance(data, TrainingPairs):
        data = _of_pairs(data)
    judged = data if isinstance(data, RetrievalSet) else None
    labels = _Labels([]) if judged is None else _labels(judged).some(config)
    corpus = data.corpus if isinstance(data, RetrievalSet) else data
    ids = _some(list(corpus), labels.answers, config)
    texts = [corpus[id_].content for id_ in ids]
    documents = embed(model, ids, texts, kind="document", on_progress=on_progress)
    if judged is None or not labels.queries:
        return documents, _HeldQueries()
    asked = [judged.queries[id_] for id_ in labels.queries]
    queries = embed(model, labels.queries, asked, kind="query", on_progress=on_progress)
    return documents, _HeldQueries(queries, labels.rows(ids))


@dataclass(frozen=True)
class _Labels:
    """Ids of queries, and of what answers each; None where nothing is known."""

    queries: list[str]
    relevant: list[list[str]] | None = None

    @property
    def answers(self) -> list[str]:
        """All that answers any, each once."""
        return list(dict.fromkeys(id_ for ids in self.relevant or () for id_ in ids))

    def some(self, config: AdaptConfig) -> _Labels:
        """Keep at most as many queries as are to be fitted on."""
        if len(self.queries) <= config.sample:
            return self
        rows = _drawn(len(self.queries), config.sample, config.seed)
        relevant = None if self.relevant is None else [self.relevant[row] for row in rows]
        return _Labels([self.queries[row] for row in rows], relevant)

    def rows(self, ids: Sequence[str]) -> tuple[Rows, ...] | None:
        """Return the rows of the answers to each query."""
        if self.relevant is None:
            return None
        row_of = {id_: row for row, id_ in enumerate(ids)}
        return tuple(
            np.array([row_of[id_] for id_ in found if id_ in row_of], dtype=np.int64)
            for found in self.relevant
        )


def _labels(data: RetrievalSet) -> _Labels:
    if not data.qrels:
        return _Labels(list(data.queries))
    relevant = [
        [id_ for id_, grade in data.qrels.get(query, {}).items() if grade > 0]
        for query in data.queries
    ]
    return _Labels(list(data.queries), relevant)


def _of_pairs(pairs: TrainingPairs) -> RetrievalSet:
    """Number texts: each distinct positive is a document, each distinct anchor asks for its own."""
    corpus = {text: str(row) for row, text in enumerate(dict.fromkeys(pairs.positives))}
    asking = {text: str(row) for row, text in enumerate(dict.fromkeys(pairs.anchors))}
    qrels: dict[str, dict[str, int]] = {id_: {} for id_ in asking.values()}
    for anchor, positive in zip(pairs.anchors, pairs.positives, strict=True):
        qrels[asking[anchor]][corpus[positive]] = 1
    return RetrievalSet(
        name="pairs",
        split="train",
        corpus={id_: Document(text) for text, id_ in corpus.items()},
        queries={id_: text for text, id_ in asking.items()},
        qrels=qrels,
        counts={},
    )


def _some(ids: Sequence[str], wanted: Sequence[str], config: AdaptConfig) -> list[str]:
    """Return all ids, or as many as are to be fitted on: those wanted, and others drawn."""
    if len(ids) <= config.sample:
        return list(ids)
    known = set(ids)
    kept = [id_ for id_ in wanted if id_ in known][: config.sample]
    taken = set(kept)
    others = [id_ for id_ in ids if id_ not in taken]
    drawn = _drawn(len(others), config.sample - len(kept), config.seed)
    return kept + [others[row] for row in drawn]


def _some_rows(vectors: Embeddings, config: AdaptConfig) -> Embeddings:
    n = len(vectors)
    return vectors if n <= config.sample else vectors[_drawn(n, config.sample, config.seed)]


def _drawn(n: int, count: int, seed: int) -> list[int]:
    rows: NDArray[np.int64] = np.random.default_rng(seed).choice(n, count, replace=False)
    found: list[int] = np.sort(rows).tolist()
    return found
