"""An index of texts: an engine that stores vectors, joined to the model that encodes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from nestvec.codec.arrays import as_embeddings
from nestvec.codec.codec import Codec
from nestvec.data.corpus import Corpus
from nestvec.engines.engine import Capabilities, Engine
from nestvec.engines.registry import open_engine
from nestvec.engines.results import Compacted, Explained, PointBytes, Stats
from nestvec.errors import NestvecError, refuse_string
from nestvec.index.arguments import (
    PlannedPoint,
    documents_of,
    given_vectors,
    parse_search_options,
    point_for,
    read_queries,
)
from nestvec.index.model import IndexModel
from nestvec.index.recording import record_model
from nestvec.models.load import as_encoder
from nestvec.types import (
    CodeKey,
    Codes,
    Document,
    Embeddings,
    Encoder,
    Hits,
    ModelInfo,
    OnProgress,
    OperatingPoint,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from nestvec.models.load import ModelLike

    Queries = str | Sequence[str] | ArrayLike


class Index:
    """An index folder and the model that encodes its queries and new documents.

    Many processes may read an index, and one may change it: the first change acquires the writer's
    lock, and ``close`` releases it. Several threads may use an ``Index``. Use it as a context
    manager, or call ``close``.
    """

    def __init__(
        self, engine: Engine, model: ModelLike | None, *, cache: Path | Literal[True] | None = None
    ) -> None:
        """Join an open engine to a model.

        Args:
            engine: The engine of the index.
            model: The encoder; None to load the index's own model when it is needed.
            cache: The embedding cache of a model that is loaded later, as in ``load_model``.

        Raises:
            ModelMismatch: If the index contains vectors of another model.
            DataError: If the index's adapter is missing, or not the one that it records.
        """
        encoder = None if model is None else as_encoder(model)
        self._model = IndexModel(engine, encoder, cache=cache)
        self._engine = engine

    @classmethod
    def open(
        cls,
        path: Path | str,
        model: ModelLike | None = None,
        *,
        verify: bool = False,
        cache: Path | Literal[True] | None = None,
    ) -> Self:
        """Open an index folder.

        Args:
            path: The index folder, or the URL of another engine.
            model: The encoder of queries; None to load the model that the index names when the
                first text is encoded.
            verify: Also check every vector. Documents and codes are always checked.
            cache: The embedding cache of a model that is loaded later, as in ``load_model``.

        Raises:
            DataError: If the path is not an index of a supported version.
            DamagedFile: If a file is missing, truncated or changed.
            ModelMismatch: If the index contains vectors of another model.
        """
        engine = open_engine(path, verify=verify)
        try:
            return cls(engine, model, cache=cache)
        except NestvecError:
            engine.close()
            raise

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._engine)

    def __repr__(self) -> str:
        """Show where the index is, its size, its model and how it is searched."""
        try:
            size = f"{len(self):,} documents"
        except NestvecError:
            size = "closed"
        return f"Index({self.place!r}, {size}, model={self.info.name!r}, point='{self.point}')"

    def __contains__(self, id_: object) -> bool:
        """Return whether the index contains a document with this id."""
        return id_ in self._engine

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        self.close()

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents."""
        return self._engine.ids()

    @property
    def place(self) -> str:
        """The path of the index folder, or a URL without credentials."""
        return self._engine.place

    @property
    def info(self) -> ModelInfo:
        """The model of the stored vectors, as recorded when they were encoded."""
        return self._engine.manifest.model

    @property
    def point(self) -> OperatingPoint:
        """The operating point of searches."""
        return self._engine.manifest.point

    @property
    def capabilities(self) -> Capabilities:
        """The features that the engine of the index supports."""
        return self._engine.capabilities

    @property
    def bytes(self) -> PointBytes:
        """The bytes that the index requires per document, and reads per query."""
        return self._engine.bytes()

    @property
    def codecs(self) -> Mapping[CodeKey, Codec]:
        """The codecs of the codes, by (dim, precision)."""
        return self._engine.manifest.codecs

    def codes(self, embeddings: ArrayLike, codec: Codec) -> Codes:
        """Return the codes that the index would store for documents, [n, bytes_per_vector].

        Args:
            embeddings: [n, full_dim], as the model returns them, or its adapter if it has one.
            codec: A codec of ``codecs``, or another codec for the same model.
        """
        return codec.encode_stored(self._engine.manifest.as_stored(as_embeddings(embeddings)))

    @property
    def model(self) -> Encoder:
        """The model that encodes texts; it is loaded at the first use.

        The index applies its adapter to the output of this model, unless the index was opened with
        a model that applies the adapter itself.

        Raises:
            ModelError: If the model that the index names cannot be found.
            ModelMismatch: If the model at this path is not the one of the index.
        """
        return self._model.encoder

    def search(
        self,
        queries: Queries,
        k: int = 10,
        *,
        where: str | None = None,
        point: OperatingPoint | str | None = None,
        exact: bool = False,
    ) -> Hits:
        """Return the best ``k`` documents of each query.

        Args:
            queries: Texts, or vectors [n_queries, full_dim] as ``model`` returns them: an array, a
                tensor or lists. One text, or one vector [full_dim], is a batch of one.
            k: At least 1. Fewer hits are returned if the index or the last shortlist is smaller.
            where: A filter on metadata, such as ``year >= 2020 and tags has 'new'``.
            point: The operating point of this search; None for the index's own. The codes of
                another point are built at its first use, and kept while the index is open.
            exact: Score every document by its full stored vector. This is slow, and serves as a
                reference.

        Raises:
            InvalidArgument: If k is below 1, the queries are neither texts nor vectors, a vector
                contains NaN, the filter or the point cannot be parsed, the point truncates vectors
                that must not be truncated, or no document has a field of the filter, or a value of
                a type that the filter compares with the field.
            ModelError: If the model cannot encode texts, or cannot be found.
            ModelMismatch: If the width of the vectors is not that of the model.
        """
        condition, search_point = parse_search_options(where, point, self.info)
        embeddings = self._embeddings(queries)
        found = self._engine.search(embeddings, k, where=condition, point=search_point, exact=exact)
        return replace(found, get=self._engine.get)

    def explain(
        self,
        queries: Queries,
        k: int = 10,
        *,
        where: str | None = None,
        point: OperatingPoint | str | None = None,
    ) -> Explained:
        """Search as ``search`` does, and also return the hits, time and bytes of each stage."""
        condition, search_point = parse_search_options(where, point, self.info)
        embeddings = self._embeddings(queries)
        found = self._engine.explain(embeddings, k, where=condition, point=search_point)
        return replace(found, hits=replace(found.hits, get=self._engine.get))

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id, in the order of ``ids``; unknown ids are left out.

        Raises:
            InvalidArgument: If ``ids`` is a string.
        """
        refuse_string(ids, "ids")
        return self._engine.get(ids)

    def verify(self) -> None:
        """Check every document and every vector.

        Raises:
            DamagedFile: If stored data differs from what was written; names the file and the row.
        """
        self._engine.verify()

    def stats(self) -> Stats:
        """Return the counts and sizes of the index."""
        return self._engine.stats()

    def close(self) -> None:
        """Close the files, and release the writer's lock."""
        self._engine.close()

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        *,
        embeddings: ArrayLike | None = None,
        titles: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Add documents. When this returns, they are on disk and searches find them.

        Args:
            ids: One id per document. The index must not contain any of them.
            texts: One text per document; it is encoded after the title, and stored for ``get``.
            embeddings: Vectors as ``model`` returns them, [n, full_dim]; None to encode the texts.
            titles: One title per document.
            metadata: One mapping per document, of field names to values, for filters. A value is a
                text, a number, a boolean, a date, or a list of these; dates are stored as ISO 8601
                text. None and NaN mean that the document does not have the field.

        Raises:
            InvalidArgument: If the numbers of items differ, an id exists or is repeated, or a
                vector is zero or not finite. Nothing is then added.
            IndexLocked: If another process changes the index.
            DataError: If the disk is full or the folder is read-only. Nothing is then added.
        """
        added = documents_of(ids, texts, titles=titles, metadata=metadata)
        self._put(added, embeddings, replace=False)

    def upsert(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        *,
        embeddings: ArrayLike | None = None,
        titles: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Add documents as ``add`` does, and replace documents that have the same ids."""
        added = documents_of(ids, texts, titles=titles, metadata=metadata)
        self._put(added, embeddings, replace=True)

    def add_documents(
        self, added: Corpus | Mapping[str, Document], *, on_progress: OnProgress | None = None
    ) -> None:
        """Encode documents and add them in batches. After an error, earlier batches remain.

        Args:
            added: Documents by id.
            on_progress: Called with the number of encoded documents and the total.

        Raises:
            InvalidArgument: If an id exists. No document of its batch is added.
        """
        self._put_batches(added, replace=False, on_progress=on_progress)

    def upsert_documents(
        self, added: Corpus | Mapping[str, Document], *, on_progress: OnProgress | None = None
    ) -> None:
        """Encode documents, and add or replace them in batches."""
        self._put_batches(added, replace=True, on_progress=on_progress)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, and return the number of deleted documents.

        Searches no longer find them when this returns. ``compact`` removes them from disk.
        """
        refuse_string(ids, "ids")
        return self._engine.delete(ids)

    def use(self, point: PlannedPoint | OperatingPoint | str) -> None:
        """Change the index's operating point: its codes are built, and no text is encoded."""
        self._engine.use(point_for(point, self.info))

    def record_model(self, model: ModelLike) -> float:
        """Record the model that made the vectors, so that the index can encode texts.

        An index that was built from vectors needs this once. Up to 16 documents are encoded and
        compared with their vectors.

        Args:
            model: An encoder, a ``SentenceTransformer``, a model folder or a hub id, without the
                adapter of the index.

        Returns:
            The lowest cosine between a document's stored vector and the model's vector.

        Raises:
            InvalidArgument: If the model is a folder of vectors or has an adapter, or no document
                of the index has a text.
            ModelMismatch: If the model has another width, or its vectors are not the stored ones.
            IndexLocked: If another process changes the index.
        """
        encoder = as_encoder(model)
        lowest = record_model(self._engine, encoder)
        self._model = IndexModel(self._engine, encoder)
        return lowest

    def compact(self) -> Compacted:
        """Remove deleted documents from disk, and fit the codecs to the remaining ones."""
        return self._engine.compact()

    def lock(self) -> None:
        """Acquire the writer's lock now, not at the first change.

        Raises:
            IndexLocked: If another process changes the index.
        """
        self._engine.lock()

    def _put(
        self, added: Mapping[str, Document], embeddings: ArrayLike | None, *, replace: bool
    ) -> None:
        if embeddings is None:
            stored = self._model.documents(added)
        else:
            stored = self._model.adapt(given_vectors(embeddings, list(added)), "document")
        self._engine.add(added, stored, replace=replace)

    def _put_batches(
        self,
        added: Corpus | Mapping[str, Document],
        *,
        replace: bool,
        on_progress: OnProgress | None,
    ) -> None:
        documents = Corpus.of(added)
        if documents.length != 0:  # an empty corpus does not need the model
            for batch, embeddings in self._model.batches(documents, on_progress=on_progress):
                self._engine.add(batch, embeddings, replace=replace)

    def _embeddings(self, queries: Queries) -> Embeddings:
        return self._model.queries(read_queries(queries))
