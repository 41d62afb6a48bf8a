"""An index of texts that can be changed; what it finds and tells is ``text_reader``'s business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nestvec.engines.embedded.compaction import Compacted
from nestvec.errors import InvalidArgument
from nestvec.planning.choose import Plan
from nestvec.types import (
    Document,
    Embeddings,
    Metadata,
    OnProgress,
    OperatingPoint,
)
from nestvec.workflows.new_documents import documents_of, given_vectors
from nestvec.workflows.points import point_for
from nestvec.workflows.text_reader import IndexReader


class Index(IndexReader):
    """An index folder and the model that encodes its queries and new documents.

    Any number of processes may read it, one may change it: the first change takes the writer's
    lock, ``close`` gives it back. May be used from several threads, as a context manager or with
    ``close``.
    """

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        *,
        embeddings: Embeddings | None = None,
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
        embeddings: Embeddings | None = None,
        titles: Sequence[str] | None = None,
        metadata: Sequence[Metadata] | None = None,
    ) -> None:
        """Add documents, or replace those that have the same ids; otherwise as ``add``."""
        added = documents_of(ids, texts, titles=titles, metadata=metadata)
        self._put(added, embeddings, replace=True)

    def add_documents(
        self, added: Mapping[str, Document], *, on_progress: OnProgress | None = None
    ) -> None:
        """Add documents by id, committed in batches: what was added before an error stays.

        Raises:
            InvalidArgument: If an id is there already: nothing of its batch is added.
        """
        self._put_batches(added, replace=False, on_progress=on_progress)

    def upsert_documents(
        self, added: Mapping[str, Document], *, on_progress: OnProgress | None = None
    ) -> None:
        """Add or replace documents by id, committed in batches."""
        self._put_batches(added, replace=True, on_progress=on_progress)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, and return how many of the ids were there.

        They are gone from results at once, and from the disk after ``compact``.
        """
        if isinstance(ids, str):
            raise InvalidArgument("ids is one string: delete takes a list of them")
        return self._embedded.delete(ids)

    def use(self, point: Plan | OperatingPoint | str) -> None:
        """Search by another point from now on: only codes are made anew."""
        self._embedded.use(point_for(point, self.info))

    def compact(self) -> Compacted:
        """Remove what was deleted from the disk, and fit the codecs to what is there."""
        return self._embedded.compact()

    def lock(self) -> None:
        """Become the one writer now, not at the first change.

        Raises:
            IndexLocked: If another process changes the index.
        """
        self._embedded.lock()

    def _put(
        self, added: Mapping[str, Document], embeddings: Embeddings | None, *, replace: bool
    ) -> None:
        if embeddings is None:
            embeddings = self._model.documents(added)
        else:
            given = given_vectors(embeddings, list(added))
            embeddings = self._model.adapt(given, "document")
        self._embedded.add(added, embeddings, replace=replace)

    def _put_batches(
        self, added: Mapping[str, Document], *, replace: bool, on_progress: OnProgress | None
    ) -> None:
        if added:  # else the model need not be there
            for batch, embeddings in self._model.batches(added, on_progress=on_progress):
                self._embedded.add(batch, embeddings, replace=replace)
