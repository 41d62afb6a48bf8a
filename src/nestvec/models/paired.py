"""Two models that share a space: one encodes documents, and the other encodes queries.

Families of models share a space so that documents are encoded once by a large model, and each query
by a small one. The documents may also be stored vectors. A model with two towers in one folder is
not a pair: it is loaded as one model.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from nestvec.data.retrieval import lacks_texts
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.models.base import BaseEncoder
from nestvec.models.differences import differences
from nestvec.models.info import default_dims
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.prompts import REQUESTED
from nestvec.types import Embeddings, Encoder, Kind, ModelInfo, OnProgress, TimedEncoder

_ONE_WIDTH = "Queries and documents need vectors of one width."


class RecordedEncoder(BaseEncoder):
    """The model of documents that a file records; it is loaded when a document is encoded."""

    def __init__(self, info: ModelInfo, load: Callable[[], Encoder], *, stored: bool) -> None:
        """Store how to load the model.

        Args:
            info: The model, as the file records it.
            load: Loads the model.
            stored: Whether the model is a folder of stored vectors.
        """
        self._info = info
        self._load = load
        self._lock = threading.Lock()
        self._loaded: Encoder | None = None
        self.stored = stored

    @property
    def loaded(self) -> Encoder:
        """The model, loaded at the first use.

        Raises:
            ModelMismatch: If the model encodes documents differently than the recorded model.
        """
        with self._lock:
            if self._loaded is None:
                model = self._load()
                if not encodes_documents_equally(self._info, model.info):
                    raise ModelMismatch(
                        f"{model.info.identity} is not the recorded model {self._info.identity}. "
                        f"Different: {differences(self._info, model.info, 'record')}. "
                        "Pass the model that encoded the documents."
                    )
                self._loaded = model
            return self._loaded

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts, float32 [n, full_dim], neither normalized nor truncated."""
        return self.loaded.encode(texts, kind=kind, on_progress=on_progress)

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length."""
        return self.loaded.count_truncated(texts, kind=kind)


class PairedEncoder(BaseEncoder):
    """An encoder of two models; ``pair_models`` also checks that they share a space.

    Attributes:
        by_kind: The model of each kind of text.
    """

    def __init__(self, documents: Encoder, queries: Encoder) -> None:
        """Combine two models.

        Args:
            documents: The model of documents, or their stored vectors.
            queries: The model of queries.

        Raises:
            ModelMismatch: If the models differ in width or in layer normalization.
            InvalidArgument: If the model of queries is stored vectors, or a model has an adapter.
        """
        _check_parts(documents.info, queries)
        self.by_kind: Mapping[Kind, Encoder] = {"document": documents, "query": queries}
        self._info = _paired_info(documents.info, queries.info, stored=stores_documents(documents))

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts, float32 [n, full_dim], neither normalized nor truncated."""
        return self.by_kind[kind].encode(texts, kind=kind, on_progress=on_progress)

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the maximum length of their model."""
        return self.by_kind[kind].count_truncated(texts, kind=kind)

    def encode_ms(self, texts: Sequence[str], *, kind: Kind) -> float | None:
        """Return the stored time of the model of this kind of text."""
        model = self.by_kind[kind]
        return model.encode_ms(texts, kind=kind) if isinstance(model, TimedEncoder) else None


def encoder_of(model: Encoder, kind: Kind) -> Encoder:
    """Return the model that encodes texts of a kind: the model itself if it is no pair."""
    each = model.by_kind[kind] if isinstance(model, PairedEncoder) else model
    return each.loaded if isinstance(each, RecordedEncoder) else each


def stores_documents(model: Encoder) -> bool:
    """Return whether documents are looked up by id, because their vectors are stored."""
    documents = model.by_kind["document"] if isinstance(model, PairedEncoder) else model
    if isinstance(documents, RecordedEncoder):
        return documents.stored
    return isinstance(documents, PrecomputedVectors)


def ids_without_texts(dataset: Path, load: Callable[[], Encoder]) -> list[str] | None:
    """Return the ids of stored documents for a data set that has no texts of documents.

    Args:
        dataset: The path of the data set.
        load: Loads the model, or the stored vectors. Called only if there are no texts.

    Returns:
        The ids; None if the data set has texts, or a model encodes documents.
    """
    if not lacks_texts(dataset):
        return None
    model = load()
    documents = model.by_kind["document"] if isinstance(model, PairedEncoder) else model
    return documents.ids("document") if isinstance(documents, PrecomputedVectors) else None


def encoded_kinds(model: Encoder) -> tuple[Kind, ...]:
    """Return the kinds of texts that a model encodes; stored vectors encode none."""
    if not stores_documents(model):
        return get_args(Kind)
    return ("query",) if isinstance(model, PairedEncoder) else ()


def encodes_documents_equally(one: ModelInfo, other: ModelInfo) -> bool:
    """Return whether two models give documents the same vectors, up to rounding."""
    first, second = (each.document_fingerprint or each.fingerprint for each in (one, other))
    if first == second:
        return True
    return (
        bool(one.weights)
        and one.weights == other.weights
        and one.adapter == other.adapter == ""  # an adapter was fitted with the query prompt
        and one.document_prompt == other.document_prompt
        and one.document_task == other.document_task
    )


def _check_parts(documents: ModelInfo, queries: Encoder) -> None:
    info = queries.info
    if isinstance(queries, PrecomputedVectors):
        problem = f"{info.name} contains vectors, so it cannot encode queries."
        raise InvalidArgument(f"{problem} Name a model that encodes texts.")
    for each in (documents, info):
        if each.adapter or each.query_model is not None:
            which = "has an adapter" if each.adapter else "is a pair of models"
            problem = f"{each.name} {which}, so it cannot be paired with another model."
            raise InvalidArgument(f"{problem} Pair two plain models.")
    if documents.full_dim != info.full_dim:
        raise ModelMismatch(_different_widths(documents, info))
    if documents.layer_norm and not info.layer_norm:
        raise ModelMismatch(_only_one_normalizes(documents, info))
    if info.layer_norm and not documents.layer_norm and documents.weights:
        raise ModelMismatch(_only_one_normalizes(info, documents))


def _different_widths(documents: ModelInfo, queries: ModelInfo) -> str:
    dims = documents.full_dim
    problem = (
        f"{documents.name} has {dims} dims, but the query model {queries.name} has "
        f"{queries.full_dim} dims. {_ONE_WIDTH} Choose a query model of {dims} dims"
    )
    if documents.weights or dims > queries.full_dim:
        return f"{problem}."
    embed = f"nestvec embed MODEL QUERIES --kind query --dim {dims}"
    return f"{problem}, or store vectors of the queries, too: {embed}."


def _only_one_normalizes(one: ModelInfo, other: ModelInfo) -> str:
    problem = f"{one.name} requires layer normalization before truncation, and {other.name} does"
    return f"{problem} not. Choose two models that agree."


def _paired_info(documents: ModelInfo, queries: ModelInfo, *, stored: bool) -> ModelInfo:
    """Describe a pair: documents, with the prompt of queries and the dims of both models.

    The fingerprint of stored vectors does not change, as the vectors remain the same.
    """
    both = hashlib.sha256(f"{documents.fingerprint} {queries.fingerprint}".encode()).hexdigest()
    dims, source, trained, min_dim = _paired_dims(documents, queries, stored=stored)
    return replace(
        documents,
        fingerprint=documents.fingerprint if stored else both,
        dims=dims,
        dims_source=source,
        dims_trained=trained,
        min_dim=min_dim,
        layer_norm=queries.layer_norm,  # equal, or unknown for stored vectors
        matryoshka=documents.matryoshka or queries.matryoshka,
        not_prefixes=documents.not_prefixes or queries.not_prefixes,
        query_prompt=queries.query_prompt,
        query_task=queries.query_task,
        prompts_source=_prompts_source(documents, queries, stored=stored),
        query_model=queries,
        document_fingerprint="" if stored else documents.fingerprint,
    )


def _prompts_source(documents: ModelInfo, queries: ModelInfo, *, stored: bool) -> str:
    unknown = stored and not documents.prompts_source
    if unknown or documents.prompts_source == queries.prompts_source:
        return queries.prompts_source
    of_queries, of_documents = (each.prompts_source or "none" for each in (queries, documents))
    return f"{of_queries}; document: {of_documents}"


def _paired_dims(
    documents: ModelInfo, queries: ModelInfo, *, stored: bool
) -> tuple[tuple[int, ...], str, bool, int | None]:
    """Return dims, their source, whether both models were trained for them, and the least dim."""
    unknown = stored and not documents.dims_trained  # the query model shows what the vectors allow
    known = [queries] if unknown else [documents, queries]
    whole = next((each for each in known if each.not_prefixes), None)
    if whole is not None:
        return (documents.full_dim,), whole.dims_source, False, None
    least = [each.min_dim for each in known if each.min_dim is not None]
    min_dim = max(least) if len(least) == len(known) else None
    if documents.dims_source == REQUESTED:
        trained = all(each.is_trained_for(dim) for each in known for dim in documents.dims)
        return documents.dims, REQUESTED, trained, min_dim
    if unknown:
        return queries.dims, queries.dims_source, queries.dims_trained, min_dim
    candidates = {*documents.dims, *queries.dims, documents.full_dim}
    shared = {dim for dim in candidates if all(each.is_trained_for(dim) for each in known)}
    if len(shared) > 1:
        return tuple(sorted(shared, reverse=True)), documents.dims_source, True, min_dim
    dims = default_dims(documents.full_dim)
    return dims, "guess: halvings, for which not both models were trained", False, None
