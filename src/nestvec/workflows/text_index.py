"""An index of texts: the embedded index joined to the model whose vectors it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from nestvec.errors import InvalidArgument, ModelError, ModelMismatch
from nestvec.index.embedded import EmbeddedIndex, build, check_target
from nestvec.index.staged import Bytes
from nestvec.models.load import embed, load_model
from nestvec.plan.choose import Plan
from nestvec.types import (
    Document,
    Embeddings,
    Encoder,
    Hits,
    ModelInfo,
    OnProgress,
    OperatingPoint,
)


def build_index(
    model: Encoder,
    corpus: Mapping[str, Document],
    point: Plan | OperatingPoint | str,
    path: Path | str,
    *,
    on_progress: OnProgress | None = None,
) -> Index:
    """Encode a corpus, write its index folder and open it.

    Args:
        model: What encodes; also precomputed vectors.
        corpus: The documents by id.
        point: How to search: a plan, a point or a point's text form.
        path: The folder; an index in its place is replaced when the new one is complete.
        on_progress: Called with documents encoded and in total.

    Raises:
        InvalidArgument: If the point is wider than the model or the corpus is empty.
        ModelMismatch: If the plan is another model's.
        DataError: If the folder cannot be written; what was there is untouched.
    """
    chosen = _point(point, model.info)
    if not corpus:
        raise InvalidArgument("the corpus is empty: an index needs at least one document")
    check_target(Path(path))  # before the corpus is encoded, not after
    texts = [document.content for document in corpus.values()]
    build(
        Path(path),
        model=_findable_anywhere(model.info),
        corpus=corpus,
        embeddings=embed(model, list(corpus), texts, kind="document", on_progress=on_progress),
        point=chosen,
    )
    return Index.open(path, model)


class Index:
    """An index folder and the model that encodes its queries.

    Use it as a context manager, or ``close`` it.
    """

    def __init__(self, embedded: EmbeddedIndex, model: Encoder | None) -> None:
        """Join an opened index to a model; None loads the one it was built with when needed.

        Raises:
            ModelMismatch: If the index holds another model's vectors.
        """
        if model is not None:
            embedded.check_model(model.info)
        self._embedded = embedded
        self._model = model

    @classmethod
    def open(cls, path: Path | str, model: Encoder | None = None, *, verify: bool = False) -> Index:
        """Open an index folder.

        Args:
            path: The folder.
            model: What encodes queries; None loads the model that the index names, once a text
                is searched for.
            verify: Check the checksum of every file, not only of what is read into memory.

        Raises:
            DataError: If it is not an index folder of this version.
            DamagedFile: If a file is missing, truncated or changed.
            ModelMismatch: If the index holds another model's vectors.
        """
        embedded = EmbeddedIndex(Path(path), verify=verify)
        try:
            return cls(embedded, model)
        except ModelMismatch:
            embedded.close()
            raise

    def __len__(self) -> int:
        """Count the documents."""
        return len(self._embedded)

    def __enter__(self) -> Index:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    @property
    def point(self) -> OperatingPoint:
        """How it is searched."""
        return self._embedded.manifest.point

    @property
    def bytes(self) -> Bytes:
        """What it takes for each vector and reads for each query."""
        return self._embedded.bytes

    @property
    def model(self) -> Encoder:
        """The model that encodes queries, loaded now if it was not yet.

        Raises:
            ModelError: If the model that the index names is not there.
            ModelMismatch: If there is another one in its place.
        """
        if self._model is None:
            model = _load_named(self._embedded.manifest.model.name, self._embedded.path)
            self._embedded.check_model(model.info)
            self._model = model
        return self._model

    def search(self, queries: Sequence[str] | Embeddings, k: int = 10) -> Hits:
        """Return the best ``k`` documents of each query.

        Args:
            queries: Texts, or embeddings [n_queries, full_dim] of the same model.
            k: At least 1; fewer come where the index or its last shortlist holds fewer.

        Raises:
            InvalidArgument: If k is below 1, queries are one string, or a vector holds NaN.
            ModelError: If the model cannot encode texts, or is not there.
            ModelMismatch: If the vectors have another width than the model's.
        """
        if isinstance(queries, str):
            raise InvalidArgument("queries is one string: search takes a list of them")
        if not isinstance(queries, np.ndarray):
            # Not embed: precomputed vectors have none for a new text.
            queries = self.model.encode(queries, kind="query")
        return self._embedded.search(queries, k)

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that are there, in the order asked."""
        return self._embedded.get(ids)

    def close(self) -> None:
        """Close the files."""
        self._embedded.close()


def _point(asked: Plan | OperatingPoint | str, model: ModelInfo) -> OperatingPoint:
    """Return the point that is asked for, once it is one for the model."""
    if isinstance(asked, Plan) and asked.model.fingerprint != model.fingerprint:
        raise ModelMismatch(
            f"the plan is of {asked.model.name} ({asked.model.fingerprint[:12]}), not of "
            f"{model.name} ({model.fingerprint[:12]}): plan on the latter's curve, "
            f"or name the point {asked.point} itself"
        )
    if isinstance(asked, Plan):
        point = asked.point
    else:
        point = OperatingPoint.parse(asked) if isinstance(asked, str) else asked
    widest = max(stage.dim for stage in point.stages)
    if widest > model.full_dim:
        raise InvalidArgument(f"{point}: dim {widest} > full_dim {model.full_dim} of {model.name}")
    return point


def _findable_anywhere(model: ModelInfo) -> ModelInfo:
    """Name a local model by its whole path, so that the index finds it from any folder."""
    folder = Path(model.name)
    return replace(model, name=str(folder.resolve())) if folder.exists() else model


def _load_named(name: str, index: Path) -> Encoder:
    """Load the model that an index names; a folder that moved with it stands beside it."""
    moved = index.resolve().parent / Path(name).name
    if Path(name).is_absolute() and not Path(name).exists():
        if moved.exists():
            return load_model(moved)
        raise ModelError(f"{name}, the model of {index}, is not there: name it when opening")
    return load_model(name)
