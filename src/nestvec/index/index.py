"""An index of texts: an engine that stores vectors, joined to the model that makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from nestvec.codec.arrays import as_embeddings
from nestvec.codec.codec import Codec
from nestvec.data.corpus import Corpus
from nestvec.engines.engine import Engine
from nestvec.engines.registry import open_engine
from nestvec.engines.results import Compacted, Explained, PointBytes, Stats
from nestvec.errors import InvalidArgument, NestvecError
from nestvec.index.arguments import (
    PlannedPoint,
    documents_of,
    given_vectors,
    point_for,
    read_asked,
    read_queries,
)
from nestvec.index.model import IndexModel
from nestvec.models.load import as_encoder
from nestvec.types import (
    CodeKey,
    Codes,
    Document,
    Embeddings,
    Encoder,
    Hits,
    Metadata,
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

    Any number of processes may read it, one may change it: the first change takes the writer's
    lock, ``close`` gives it back. May be used from several threads, as a context manager or with
    ``close``.
    """

    def __init__(
        self, engine: Engine, model: ModelLike | None, *, cache: Path | Literal[True] | None = None
    ) -> None:
        """Join an opened index to a model; None loads the one it was built with when needed.

        Raises:
            ModelMismatch: If the index holds another model's vectors.
            DataError: If its adapter is missing or another one.
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
            path: The folder, or the URL of another engine.
            model: What encodes queries; None loads the model that the index names, once a text
                is searched for.
            verify: Check every vector, too, not only documents and codes.
            cache: Of embeddings, as in ``load_model``, for a model that is loaded when needed.

        Raises:
            DataError: If it is not an index folder of this version.
            DamagedFile: If a file is missing, truncated or changed.
            ModelMismatch: If the index holds another model's vectors.
        """
        engine = open_engine(path, verify=verify)
        try:
            return cls(engine, model, cache=cache)
        except NestvecError:
            engine.close()
            raise

    def __len__(self) -> int:
        """Count the documents."""
        return len(self._engine)

    def __repr__(self) -> str:
        """Show where the index is, its size, its model and how it is searched."""
        try:
            size = f"{len(self):,} documents"
        except NestvecError:
            size = "closed"
        return f"Index({self.place!r}, {size}, model={self.info.name!r}, point='{self.point}')"

    def __contains__(self, id_: object) -> bool:
        """Tell whether there is a document of that id."""
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
        """Where it is: a folder, or a URL without credentials."""
        return self._engine.place

    @property
    def info(self) -> ModelInfo:
        """The model whose vectors it holds, as it was when they were made."""
        return self._engine.manifest.model

    @property
    def point(self) -> OperatingPoint:
        """How it is searched."""
        return self._engine.manifest.point

    @property
    def bytes(self) -> PointBytes:
        """What it requires for each document, and reads for each query."""
        return self._engine.bytes()

    @property
    def codecs(self) -> Mapping[CodeKey, Codec]:
        """What its codes are made with, by (dim, precision)."""
        return self._engine.manifest.codecs

    def codes(self, embeddings: ArrayLike, codec: Codec) -> Codes:
        """Return the codes that the index would store of documents, [n, bytes_per_vector].

        Args:
            embeddings: [n, full_dim], as the model returns them, or its adapter.
            codec: One of ``codecs``, or another of the same model.
        """
        return codec.encode_stored(self._engine.manifest.as_stored(as_embeddings(embeddings)))

    @property
    def model(self) -> Encoder:
        """The model that encodes, loaded now if it was not yet.

        An adapter of the index comes after it, unless it was opened with a model that is behind it.

        Raises:
            ModelError: If the model that the index names is not there.
            ModelMismatch: If there is another one in its place.
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
            k: At least 1; fewer come where the index or its last shortlist holds fewer.
            where: Which documents may be returned: ``year >= 2020 and lang in ('de', 'fr')``.
            point: Another operating point than the index's own; its codes are made when it is
                first named, and kept while the index is open.
            exact: Score every document by its whole stored vector: slow, and the truth.

        Raises:
            InvalidArgument: If k is below 1, queries are neither texts nor vectors, a vector holds
                NaN, or the filter or the point cannot be read.
            ModelError: If the model cannot encode texts, or is not there.
            ModelMismatch: If the vectors have another width than the model's.
        """
        condition, asked = read_asked(where, point)
        embeddings = self._embeddings(queries)
        found = self._engine.search(embeddings, k, where=condition, point=asked, exact=exact)
        return replace(found, get=self._engine.get)

    def explain(
        self,
        queries: Queries,
        k: int = 10,
        *,
        where: str | None = None,
        point: OperatingPoint | str | None = None,
    ) -> Explained:
        """Search as ``search`` does; return with the hits what each stage found, took and read."""
        condition, asked = read_asked(where, point)
        found = self._engine.explain(self._embeddings(queries), k, where=condition, point=asked)
        return replace(found, hits=replace(found.hits, get=self._engine.get))

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that are there, in the order asked.

        Raises:
            InvalidArgument: If ids are one string.
        """
        if isinstance(ids, str):
            raise InvalidArgument("ids is one string: get takes a list of them")
        return self._engine.get(ids)

    def verify(self) -> None:
        """Check every document and every vector.

        Raises:
            DamagedFile: If something is not what was written, naming file and row.
        """
        self._engine.verify()

    def stats(self) -> Stats:
        """Return numbers of the index."""
        return self._engine.stats()

    def close(self) -> None:
        """Close the files, and let others write."""
        self._engine.close()

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        *,
        embeddings: ArrayLike | None = None,
        titles: Sequence[str] | None = None,
        metadata: Sequence[Metadata] | None = None,
    ) -> None:
        """Add documents; they are on disk, and found by the next search, when this returns.

        Args:
            ids: One for each, none of them in the index yet.
            texts: What is encoded (after the title), and given back by ``get``.
            embeddings: Vectors as ``model`` gives them, in the place of encoding, [n, full_dim].
            titles: Put before the texts.
            metadata: Strings and numbers by field, for filters.

        Raises:
            InvalidArgument: If counts differ, an id is there or stands twice, or a vector is zero
                or not finite; then nothing is added.
            IndexLocked: If another process changes the index.
            DataError: If the disk is full or the folder read-only; then nothing has changed.
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
        metadata: Sequence[Metadata] | None = None,
    ) -> None:
        """Add documents, or replace those that have the same ids; otherwise as ``add``."""
        added = documents_of(ids, texts, titles=titles, metadata=metadata)
        self._put(added, embeddings, replace=True)

    def add_documents(
        self, added: Corpus | Mapping[str, Document], *, on_progress: OnProgress | None = None
    ) -> None:
        """Add documents by id, committed in batches: what was added before an error stays.

        Raises:
            InvalidArgument: If an id is there already: nothing of its batch is added.
        """
        self._put_batches(added, replace=False, on_progress=on_progress)

    def upsert_documents(
        self, added: Corpus | Mapping[str, Document], *, on_progress: OnProgress | None = None
    ) -> None:
        """Add or replace documents by id, committed in batches."""
        self._put_batches(added, replace=True, on_progress=on_progress)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, and return how many of the ids were there.

        They are gone from results at once, and from the disk after ``compact``.
        """
        if isinstance(ids, str):
            raise InvalidArgument("ids is one string: delete takes a list of them")
        return self._engine.delete(ids)

    def use(self, point: PlannedPoint | OperatingPoint | str) -> None:
        """Search by another point from now on: only codes are made anew."""
        self._engine.use(point_for(point, self.info))

    def compact(self) -> Compacted:
        """Remove what was deleted from the disk, and fit the codecs to what is there."""
        return self._engine.compact()

    def lock(self) -> None:
        """Become the one writer now, not at the first change.

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
        if documents.length != 0:  # else the model need not be there
            for batch, embeddings in self._model.batches(documents, on_progress=on_progress):
                self._engine.add(batch, embeddings, replace=replace)

    def _embeddings(self, queries: Queries) -> Embeddings:
        return self._model.queries(read_queries(queries))
