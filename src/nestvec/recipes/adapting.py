"""Fit an adapter on precomputed vectors, or on the vectors that a model encodes from texts.

This module collects the vectors of documents and queries, and the relevance labels, by id.
``nestvec.adapt`` fits adapters on the arrays and chooses one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestvec.adapt.fitting import TRAINED, AdaptConfig, Base, fit, resolve_dims
from nestvec.adapt.sample import ROWS_PER_DIM, Sample, check_vectors, unit_vectors
from nestvec.codec.arrays import as_embeddings
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument, ModelMismatch, require
from nestvec.models.adapter import Adapter, Method
from nestvec.models.adapter_file import check_unadapted
from nestvec.models.encoding import check_texts, embed
from nestvec.models.load import as_encoder, is_library_model
from nestvec.models.paired import stores_documents
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Document, Embeddings, Encoder, OnProgress, Rows, begin_step
from nestvec.wording import count_text

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike

_logger = logging.getLogger(__name__)
Texts = RetrievalSet | TrainingPairs | Mapping[str, Document]
"""Texts to encode, or the ids of precomputed vectors: queries with labels, pairs, or documents."""


def fit_adapter(
    model: ModelLike | ArrayLike,
    data: Texts | None = None,
    *,
    dims: Sequence[int] | None = None,
    method: Method | None = None,
    config: AdaptConfig | None = None,
    on_progress: OnProgress | None = None,
) -> Adapter:
    """Fit an adapter on a model's vectors, and choose its method on held-out vectors.

    Args:
        model: One of: a folder of vectors (see ``load_model``), whose documents and queries are
            used; an array, tensor or list of vectors, [n, full_dim]; or a model that encodes
            ``data``: an encoder, a ``SentenceTransformer``, a folder or a hub id.
        data: Texts to encode. For a folder of vectors: ids of documents, or queries with relevance
            labels.
        dims: Truncation dims to optimize. None uses the full width divided by 2, 4, 8 and 16.
        method: "svd", "whiten", "linear" or "mlp". None chooses the best method by measurement.
        config: Further settings. ``dims`` and ``method`` override its values.
        on_progress: Called with the work done and its total, during encoding and then training.

    Returns:
        The adapter. If no method is significantly better than truncation, its method is "none",
        and it does not change vectors.

    Raises:
        InvalidArgument: If the vectors or settings cannot be used, or a model has no ``data``.
        DataError: If an id has no vector.
        MissingExtra: If a method needs training and PyTorch is not installed.
        ModelMismatch: If the model has an adapter already.
    """
    config = _configure(config, dims, method)
    if config.method is None or config.method in TRAINED:
        require("torch", extra="train")  # before anything is encoded
    if isinstance(model, str | Path) or is_library_model(model):
        model = as_encoder(model)
    if not isinstance(model, Encoder):
        if data is not None:
            raise InvalidArgument(
                "data refers to ids, but an array of vectors has no ids. Load a folder of vectors."
            )
        rows = _subsample_rows(as_embeddings(model), config)
        sample = _sample(rows, _SampleQueries(), layer_norm=False)
        return fit(sample, Base("", "an array of vectors"), config, on_progress=on_progress)
    info = model.info
    if info.adapter:
        raise ModelMismatch(f"{info.name} is adapted already. Use the model without an adapter.")
    check_unadapted(Path(info.name))  # no effect if the name is not a folder
    _check_config(config, info.full_dim)  # before anything is encoded
    if isinstance(model, PrecomputedVectors):
        documents, queries = _look_up(model, data, config)
    else:
        documents, queries = _encode(model, data, config, on_progress)
    sample = _sample(documents, queries, layer_norm=info.layer_norm)
    return fit(sample, _base(model), config, on_progress=on_progress)


def _base(model: Encoder) -> Base:
    """Describe the model that the adapter is for."""
    info, name = model.info, model.info.name
    if isinstance(model, PrecomputedVectors):
        name = model.model_name or name
    # The fingerprint of stored vectors does not identify the model that computed the vectors.
    fingerprint = "" if stores_documents(model) else info.fingerprint
    return Base(fingerprint, name, info.layer_norm, info.matryoshka or info.dims_trained)


def _configure(
    config: AdaptConfig | None, dims: Sequence[int] | None, method: Method | None
) -> AdaptConfig:
    """Return the settings with the dims and the method that override them."""
    config = config or AdaptConfig()
    return replace(
        config,
        dims=config.dims if dims is None else tuple(dims),
        method=config.method if method is None else method,
    )


def _check_config(config: AdaptConfig, full_dim: int) -> None:
    resolve_dims(config.dims, full_dim)
    least = ROWS_PER_DIM * full_dim
    if config.sample < least:
        problem = (
            f"sample={config.sample:,} is less than {least:,}, the minimum for {full_dim} dims"
        )
        raise InvalidArgument(f"{problem}. Choose {least:,} or more.")


@dataclass(frozen=True, eq=False)
class _SampleQueries:
    """Vectors of queries, [n_queries, full_dim], and the rows of the relevant documents of each."""

    vectors: Embeddings | None = None
    positives: tuple[Rows, ...] | None = None


def _sample(documents: Embeddings, queries: _SampleQueries, *, layer_norm: bool) -> Sample:
    unit = check_vectors(documents, layer_norm=layer_norm)
    unit_queries = np.empty((0, unit.shape[1]), dtype=np.float32)
    if queries.vectors is not None and len(queries.vectors):
        unit_queries = unit_vectors(queries.vectors, layer_norm=layer_norm)
    return Sample(unit, unit_queries, queries.positives)


def _look_up(
    vectors: PrecomputedVectors, data: Texts | None, config: AdaptConfig
) -> tuple[Embeddings, _SampleQueries]:
    """Look up precomputed vectors by id."""
    folder = vectors.info.name
    if isinstance(data, TrainingPairs):
        raise InvalidArgument(
            f"{folder} contains vectors by id, but pairs are texts. Pass qrels instead of pairs."
        )
    ids = vectors.ids("document")
    if not ids:  # fit on queries, for example of a query log
        if data is not None:
            problem = f"{folder} contains query vectors, but no document vectors."
            raise InvalidArgument(f"{problem} Add corpus vectors, or omit the texts and qrels.")
        chosen = _subsample(vectors.ids("query"), (), config)
        return vectors.take(chosen, kind="query"), _SampleQueries()
    if isinstance(data, RetrievalSet):
        labels = _labels(data)
    else:
        ids = ids if data is None else list(data)
        labels = _Labels(vectors.ids("query"))
    labels = labels.subsample(config)
    vectors.check(labels.documents, kind="document")
    chosen = _subsample(ids, labels.documents, config)
    documents = vectors.take(chosen, kind="document")
    queries = vectors.take(labels.queries, kind="query") if labels.queries else None
    return documents, _SampleQueries(queries, labels.rows(chosen))


def _encode(
    model: Encoder, data: Texts | None, config: AdaptConfig, on_progress: OnProgress | None
) -> tuple[Embeddings, _SampleQueries]:
    """Encode a sample of the texts."""
    if data is None:
        problem = f"{model.info.name} is a model and needs texts to encode."
        raise InvalidArgument(f"{problem} Pass a corpus, pairs or qrels.")
    if isinstance(data, TrainingPairs):
        data = _as_retrieval_set(data)
    labeled = data if isinstance(data, RetrievalSet) else None
    labels = _Labels([]) if labeled is None else _labels(labeled).subsample(config)
    corpus = data.corpus if isinstance(data, RetrievalSet) else data
    ids = _subsample(list(corpus), labels.documents, config)
    texts = [corpus[id_].content for id_ in ids]
    check_texts(model, texts)
    begin_step(on_progress, "encode corpus", "texts")
    documents = embed(model, ids, texts, kind="document", on_progress=on_progress)
    if labeled is None or not labels.queries:
        return documents, _SampleQueries()
    texts = [labeled.queries[id_] for id_ in labels.queries]
    begin_step(on_progress, "encode queries", "texts")
    queries = embed(model, labels.queries, texts, kind="query", on_progress=on_progress)
    return documents, _SampleQueries(queries, labels.rows(ids))


@dataclass(frozen=True)
class _Labels:
    """Ids of queries, and of the relevant documents of each query; None without labels."""

    queries: list[str]
    relevant: list[list[str]] | None = None

    @property
    def documents(self) -> list[str]:
        """Distinct ids of all relevant documents."""
        return list(dict.fromkeys(id_ for ids in self.relevant or () for id_ in ids))

    def subsample(self, config: AdaptConfig) -> _Labels:
        """Return at most ``config.sample`` of the queries, drawn at random."""
        if len(self.queries) <= config.sample:
            return self
        rows = _draw_rows(len(self.queries), config.sample, config.seed)
        relevant = None if self.relevant is None else [self.relevant[row] for row in rows]
        return _Labels([self.queries[row] for row in rows], relevant)

    def rows(self, ids: Sequence[str]) -> tuple[Rows, ...] | None:
        """Return the rows in ``ids`` of the relevant documents of each query."""
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


def _as_retrieval_set(pairs: TrainingPairs) -> RetrievalSet:
    """Use each distinct positive as a document and each distinct anchor as a query."""
    n_negatives = sum(map(len, pairs.negatives))
    if n_negatives:
        message = "not used: %s, because an adapter is fitted on anchors and positives only"
        _logger.warning(message, count_text(n_negatives, "negative"))
    corpus = {text: str(row) for row, text in enumerate(dict.fromkeys(pairs.positives))}
    query_ids = {text: str(row) for row, text in enumerate(dict.fromkeys(pairs.anchors))}
    qrels: dict[str, dict[str, int]] = {id_: {} for id_ in query_ids.values()}
    for anchor, positive in zip(pairs.anchors, pairs.positives, strict=True):
        qrels[query_ids[anchor]][corpus[positive]] = 1
    return RetrievalSet(
        name="pairs",
        split="train",
        corpus={id_: Document(text) for text, id_ in corpus.items()},
        queries={id_: text for text, id_ in query_ids.items()},
        qrels=qrels,
        counts={},
    )


def _subsample(ids: Sequence[str], required: Sequence[str], config: AdaptConfig) -> list[str]:
    """Return at most ``config.sample`` ids: the required ids first, and others drawn at random."""
    if len(ids) <= config.sample:
        return list(ids)
    known = set(ids)
    chosen = [id_ for id_ in required if id_ in known][: config.sample]
    excluded = set(chosen)
    others = [id_ for id_ in ids if id_ not in excluded]
    drawn = _draw_rows(len(others), config.sample - len(chosen), config.seed)
    return chosen + [others[row] for row in drawn]


def _subsample_rows(vectors: Embeddings, config: AdaptConfig) -> Embeddings:
    n = len(vectors)
    return vectors if n <= config.sample else vectors[_draw_rows(n, config.sample, config.seed)]


def _draw_rows(n: int, count: int, seed: int) -> list[int]:
    rows: NDArray[np.int64] = np.random.default_rng(seed).choice(n, count, replace=False)
    found: list[int] = np.sort(rows).tolist()
    return found
