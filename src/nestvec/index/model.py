"""Find, load and check the model of an index, and apply the index's adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nestvec.data.corpus import Corpus
from nestvec.engines.engine import Engine
from nestvec.engines.registry import engine_at
from nestvec.errors import InvalidArgument, ModelError, ModelMismatch
from nestvec.index.matching import check_model
from nestvec.models.adapted import AdaptedEncoder, uncached
from nestvec.models.adapter import Adapter, adapted_info
from nestvec.models.encoding import (
    embed_batches,
    embed_documents,
    warn_of_zero_vectors,
    zero_rows,
)
from nestvec.models.info import recorded_row
from nestvec.models.load import load_model
from nestvec.models.paired import PairedEncoder, RecordedEncoder, stores_documents
from nestvec.models.precomputed import PrecomputedVectors, has_vectors
from nestvec.models.sentence_transformer import DTYPES, DType
from nestvec.models.sharing import check_query_options, pair_models
from nestvec.sources.schemes import is_vectors_url
from nestvec.types import Document, Embeddings, Encoder, Kind, ModelInfo, OnProgress


def with_absolute_path(model: ModelInfo) -> ModelInfo:
    """Replace the name of a local model by its absolute path, which any process can resolve."""
    folder, queries = Path(model.name), model.query_model
    return replace(
        model,
        name=str(folder.resolve()) if folder.exists() else model.name,
        query_model=None if queries is None else with_absolute_path(queries),
    )


def load_recorded_model(
    info: ModelInfo,
    place: str,
    *,
    dtype: DType | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    cache: Path | Literal[True] | None = None,
) -> Encoder:
    """Load the model that an index names.

    The recorded prompts are used, even if the model folder now states other prompts. If the model
    folder does not exist, a folder of the same name next to the index is used: both may have been
    moved together. If the index records a query model, the model of documents is loaded when a
    document is encoded.

    Args:
        info: The model, as the index records it.
        place: The path or URL of the index.
        dtype: The data type that the model computes in; None for the one recorded in the index.
        device: As in ``load_model``.
        trust_remote_code: As in ``load_model``.
        cache: As in ``load_model``.

    Raises:
        ModelError: If the model cannot be found.
    """
    load = partial(
        _load, dtype=dtype, device=device, trust_remote_code=trust_remote_code, cache=cache
    )
    if info.query_model is None:
        return load(_recorded_name(info, place), info.prompts, info)
    documents = _recorded_documents(info, place, load)
    return PairedEncoder(documents, _recorded_queries(info, place, load))


def load_for_index(  # noqa: PLR0913 - later arguments are keyword-only
    name: str | None,
    place: str,
    *,
    prompts: Mapping[Kind, str] | None = None,
    dtype: DType | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    cache: Path | Literal[True] | None = None,
    query_model: str | None = None,
    same_space: bool = False,
) -> Encoder:
    """Load the model of an index by its recorded name or by another name.

    Args:
        name: A model folder or a Hugging Face model id; None for the recorded name.
        place: The path or URL of the index.
        prompts: Prompts by kind that replace the recorded ones.
        dtype: As in ``load_recorded_model``.
        device: As in ``load_model``.
        trust_remote_code: As in ``load_model``.
        cache: As in ``load_model``.
        query_model: A model folder or a hub id of the model that encodes queries; None for the
            recorded one.
        same_space: As in ``load_model``; only for ``query_model``.

    Raises:
        DataError: If there is no index.
        ModelError: If the model cannot be found.
        ModelMismatch: If it is not known that ``query_model`` shares the space of the documents.
    """
    load = partial(
        _load, dtype=dtype, device=device, trust_remote_code=trust_remote_code, cache=cache
    )
    info = _with_prompts(engine_at(place).read_manifest(place).encoding_model, prompts or {})
    if info.query_model is None and query_model is None:
        check_query_options(query_model, same_space=same_space)
        return load(_recorded_name(info, place) if name is None else name, info.prompts, info)
    if name is None:
        documents = _recorded_documents(info, place, load)
    else:
        documents = load(name, _prompts_of(info, "document"), info)
    if query_model is None:
        return PairedEncoder(documents, _recorded_queries(info, place, load))
    given: dict[Kind, str] = {"query": prompts["query"]} if prompts and "query" in prompts else {}
    return pair_models(documents, load(query_model, given, None), same_space=same_space)


def _with_prompts(info: ModelInfo, prompts: Mapping[Kind, str]) -> ModelInfo:
    """Return the info of a model with other prompts; a query model gets the query prompt."""
    both = {**info.prompts, **prompts}
    info = replace(info, query_prompt=both["query"], document_prompt=both["document"])
    if info.query_model is None:
        return info
    return replace(info, query_model=replace(info.query_model, query_prompt=both["query"]))


def _prompts_of(info: ModelInfo, kind: Kind) -> dict[Kind, str]:
    return {kind: info.prompts[kind]}


def _recorded_documents(info: ModelInfo, place: str, load: Callable[..., Encoder]) -> Encoder:
    """Return the recorded model of documents, which is loaded when a document is encoded."""

    def load_documents() -> Encoder:
        # The own query prompt of this model is not recorded, and affects no document.
        return load(_recorded_name(info, place), _prompts_of(info, "document"), info)

    if info.adapter:  # the fingerprint without the adapter is not recorded
        return load_documents()
    fingerprint = info.document_fingerprint or info.fingerprint
    alone = replace(info, fingerprint=fingerprint, document_fingerprint="", query_model=None)
    return RecordedEncoder(alone, load_documents, stored=_is_stored(info))


def _is_stored(info: ModelInfo) -> bool:
    """Return whether the recorded model of documents is a file or folder of stored vectors."""
    path = Path(info.name)
    if info.query_model is not None:
        return not info.document_fingerprint
    return has_vectors(path) if path.is_dir() else path.is_absolute() and not info.weights


def _recorded_queries(info: ModelInfo, place: str, load: Callable[..., Encoder]) -> Encoder:
    queries = info.query_model
    assert queries is not None, "checked by the caller"
    return load(_recorded_name(queries, place), queries.prompts, queries)


def _recorded_name(info: ModelInfo, place: str) -> str:
    """Return the recorded name, or the folder next to the index if the model was moved with it."""
    name = info.name
    if is_vectors_url(name):  # a name from a file must not connect to a server
        problem = f"{place} contains the vectors of {name} and records no model."
        raise ModelError(f"{problem} Record the model: nestvec index model {place} MODEL")
    if not Path(name).is_absolute() or Path(name).exists():
        return name
    moved = Path(place).resolve().parent / Path(name).name
    if not moved.exists():
        problem = f"{name}, the model of {place}, does not exist."
        raise ModelError(f"{problem} Pass the model when you open the index.")
    return str(moved)


def _load(
    name: str,
    prompts: Mapping[Kind, str],
    recorded: ModelInfo | None,
    *,
    dtype: DType | None,
    **options: Any,
) -> Encoder:
    """Load a model with prompts, and its recorded tasks and dtype; vectors have no prompts."""
    chosen = dtype or ("float32" if recorded is None else recorded_dtype(recorded))
    if has_vectors(Path(name).expanduser()):
        return load_model(name, dtype=chosen, **options)
    rows = None if recorded is None else [recorded_row(name, recorded)]
    return load_model(name, prompts=prompts, dtype=chosen, models=rows, **options)


def recorded_dtype(info: ModelInfo) -> DType:
    """Return the data type of the model when the index was built; float32 if none is recorded."""
    return next((each for each in DTYPES if each == info.dtype), "float32")


def encoder_for(engine: Engine, model: Encoder) -> Encoder:
    """Return an encoder whose output is in the space of the stored vectors.

    Args:
        engine: The index.
        model: The model of the index, with or without the index's adapter.

    Returns:
        The model with the index's adapter, if the index has one. A model of another index is
        returned unchanged, as the index raises ``ModelMismatch`` for it. A folder of precomputed
        vectors is returned unchanged, as the index transforms the vectors itself.

    Raises:
        DataError: If the index's adapter is missing.
    """
    plain = not (model.info.adapter or stores_documents(model))
    adapter = engine.adapter
    if adapter is not None and plain:
        with suppress(ModelMismatch):
            return AdaptedEncoder(model, adapter)
    return model


class IndexModel:
    """Converts texts, or vectors of the model, to vectors in the space of the index.

    The adapter of the index is applied, unless the model applies an adapter itself.
    """

    def __init__(
        self, engine: Engine, model: Encoder | None, *, cache: Path | Literal[True] | None = None
    ) -> None:
        """Join an index to its model.

        Args:
            engine: The index.
            model: The encoder; None to load the index's own model when it is needed.
            cache: The embedding cache of a model that is loaded later, as in ``load_model``.

        Raises:
            ModelMismatch: If the index contains vectors of another model.
            DataError: If the index's adapter is missing, or not the one that it records.
        """
        self._engine, self._cache = engine, cache
        self._adapter: Adapter | None = None
        if model is None or not model.info.adapter:
            self._adapter = engine.adapter
        self._model = None if model is None else self._checked(model)

    @property
    def encoder(self) -> Encoder:
        """The model, loaded at the first use. A model loaded here does not apply an adapter.

        Raises:
            ModelError: If the model that the index names cannot be found.
            ModelMismatch: If the model at this path is not the one of the index.
        """
        if self._model is None:
            engine = self._engine
            self._model = self._checked(
                load_recorded_model(engine.manifest.encoding_model, engine.place, cache=self._cache)
            )
        return self._model

    def adapt(self, embeddings: Embeddings, kind: Kind) -> Embeddings:
        """Apply the adapter to vectors of the model, [n, full_dim].

        Vectors of a wrong width are returned unchanged, as the engine raises an error for them.
        """
        full_dim = self._engine.manifest.model.full_dim
        fits = embeddings.ndim == 2 and embeddings.shape[1] == full_dim
        return self._adapter.apply(embeddings, kind) if self._adapter and fits else embeddings

    def queries(self, queries: list[str] | Embeddings) -> Embeddings:
        """Convert queries, as texts or as vectors of the model, to vectors for a search."""
        if isinstance(queries, list):
            queries = self._encode_queries(queries)
        return self.adapt(queries, "query")

    def _encode_queries(self, texts: list[str]) -> Embeddings:
        encoder, place = self.encoder, self._engine.place
        if isinstance(encoder, PrecomputedVectors):
            problem = f"{place} contains the vectors of {encoder.info.name} and records no model"
            remedy = f"Record the model that made the vectors: nestvec index model {place} MODEL"
            raise ModelError(f"{problem}, so texts cannot be encoded. {remedy}")
        # ``embed`` would look up precomputed vectors, which do not contain new texts.
        embeddings = uncached(encoder).encode(texts, kind="query")
        for number, (text, vector) in enumerate(zip(texts, embeddings, strict=True)):
            if not vector.any():
                problem = f"queries[{number}] ({text!r:.60}) has a zero vector, which finds nothing"
                reason = f"{encoder.info.name} knows none of its words. Use other words."
                raise InvalidArgument(f"{problem}: {reason}")
        return embeddings

    def documents(self, added: Mapping[str, Document]) -> Embeddings:
        """Encode documents, and apply the adapter."""
        embeddings = embed_documents(self.encoder, added)
        warn_of_zero_vectors(zero_rows(list(added), embeddings))
        return self.adapt(embeddings, "document")

    def batches(
        self, added: Corpus, *, on_progress: OnProgress | None
    ) -> Iterator[tuple[dict[str, Document], Embeddings]]:
        """Yield batches of documents with their vectors, [n, full_dim]."""
        batches = embed_batches(self.encoder, added, length=added.length, on_progress=on_progress)
        for batch, embeddings in batches:
            yield batch, self.adapt(embeddings, "document")

    def _checked(self, model: Encoder) -> Encoder:
        manifest = self._engine.manifest
        stored, info = manifest.model, _adapted(model.info, self._adapter)
        if manifest.encoder is not None and info.fingerprint != stored.fingerprint:
            stored = _adapted(manifest.encoder, self._engine.adapter)
        check_model(stored, info, self._engine.place)
        return model


def _adapted(info: ModelInfo, adapter: Adapter | None) -> ModelInfo:
    """Return the info of a model with an adapter, also if the adapter is for another model."""
    if adapter is None:
        return info
    try:
        return adapted_info(info, adapter)
    except ModelMismatch:  # ``check_model`` names the differences
        return replace(info, adapter=adapter.digest())
