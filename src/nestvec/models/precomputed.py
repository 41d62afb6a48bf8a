"""Precomputed vectors in a file, folder or table, looked up by id, in place of a model.

``nestvec.sources`` reads the files; ``docs/vectors.md`` lists the formats. A folder contains the
vectors of documents (``corpus.*``) and optionally of queries (``queries.*``). Without a model,
texts cannot be encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.codec.rows import EmbeddingRows
from nestvec.curve.sample import DocumentSample, Draw
from nestvec.errors import DataError, InvalidArgument, ModelError
from nestvec.files.atomic import replace_file
from nestvec.models.base import BaseEncoder
from nestvec.models.folder_config import configured_dims
from nestvec.models.info import choose_dims, published_facts
from nestvec.models.known import Rows
from nestvec.models.model_of_vectors import model_of_vectors
from nestvec.models.spaces import share_space
from nestvec.sources.folders import NOUNS, STEMS, find_vectors
from nestvec.sources.formats import is_vectors_file
from nestvec.sources.load import load_embeddings
from nestvec.sources.manifest import MANIFEST, read_manifest
from nestvec.sources.model_name import VECTORS_FILE, read_model_name, write_model_name
from nestvec.sources.places import is_url, shown_place
from nestvec.sources.save import save_embeddings
from nestvec.sources.schemes import is_vectors_url
from nestvec.sources.stored import StoredEmbeddings
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress

_IDS_AT_ONCE = 100_000


@dataclass(frozen=True)
class _Vectors:
    """Checked vectors of one kind."""

    stored: StoredEmbeddings

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each id."""
        return {name: row for row, name in enumerate(self.stored.ids)}


class PrecomputedVectors(BaseEncoder):
    """Precomputed vectors, accepted in place of a model."""

    def __init__(
        self, info: ModelInfo, vectors: Mapping[Kind, _Vectors], *, model_name: str = ""
    ) -> None:
        """Store checked vectors; use ``load`` to open a file or folder."""
        self._info = info
        self._vectors = vectors
        self._model_name = model_name

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        model: str | None = None,
        dims: tuple[int, ...] | None = None,
        models: Rows | None = None,
        draw: Draw | None = None,
    ) -> PrecomputedVectors:
        """Open a file, a folder or a table of vectors and check every row that is read.

        Args:
            path: The file or folder, or the URL of a table; ``.npy`` files are memory-mapped.
            model: Name of the model of the vectors; by default the name that the folder records,
                else the name of the file or folder.
            dims: Dims to measure.
            models: Rows that take precedence over the table of known models.
            draw: The sample of documents to read; None for all documents.

        Raises:
            DataError: If a file is damaged, a row is NaN, infinite or zero, an id is missing or
                appears twice, or the vectors of documents and queries differ in dim or in model.
            InvalidArgument: If a requested dim is larger than full_dim, or the vectors must not be
                truncated.
            ModelError: If ``config.json`` in the folder is not JSON or has impossible dims.
            MissingExtra: If the library that reads the files is not installed.
        """
        found = _find(path)
        if not found:
            raise DataError(path, "contains no vectors, such as corpus.npy or corpus.parquet")
        recorded = _recorded_models(found)
        _check_one_space(path, recorded, models)
        # Each kind is read from the folder, so that the name of the model is read, too.
        vectors = {kind: _Vectors(_read(path, kind, draw)) for kind in found}
        path = shown_place(path) if isinstance(path, str) else path
        full_dim = _common_dim(path, vectors)
        # Adding queries later must not change the fingerprint, so only the corpus counts if there
        # is one.
        first = (vectors.get("document") or vectors["query"]).stored
        name, row = model_of_vectors(
            path, full_dim, stated=model, recorded=first.model, models=models
        )
        configured = _configured_dims(path, recorded, full_dim)
        chosen = choose_dims(full_dim, requested=dims, configured=configured, known=row)
        info = ModelInfo(
            name=str(path),
            fingerprint=_fingerprint(first),
            full_dim=full_dim,
            dims=chosen.dims,
            dims_source=chosen.source,
            dims_trained=chosen.trained,
            **published_facts(configured, row),
            **_recorded_facts(found, recorded),
        )
        return cls(info, vectors, model_name=name)

    @property
    def info(self) -> ModelInfo:
        """Information about the model of the vectors."""
        return self._info

    @property
    def model_name(self) -> str:
        """Name of the model that computed the vectors; "" if it is not known."""
        return self._model_name

    @property
    def sample(self) -> DocumentSample | None:
        """The sample of the documents that was read; None if all were read."""
        return self._vectors["document"].stored.sample if "document" in self._vectors else None

    def rows(self, kind: Kind) -> Mapping[str, int]:
        """Return the row of each id of a kind."""
        return self._vectors[kind].rows if kind in self._vectors else {}

    def with_documents_as_queries(self) -> PrecomputedVectors:
        """Return the same documents, of which each is also a query."""
        documents = self._vectors["document"]
        return PrecomputedVectors(self._info, {"document": documents, "query": documents})

    def ids(self, kind: Kind) -> list[str]:
        """Return the ids of a kind in file order; an empty list without a file."""
        return list(self._vectors[kind].stored.ids) if kind in self._vectors else []

    def check(self, ids: Sequence[str], *, kind: Kind) -> None:
        """Check that each id has a vector.

        Raises:
            DataError: If an id has no vector.
        """
        if kind not in self._vectors:
            remedies = [] if is_url(self._info.name) else [f"Add them as {STEMS[kind]}.*"]
            remedies += ["encode queries with --query-model MODEL"] if kind == "query" else []
            remedy = ", or ".join(remedies)
            problem = f"contains no vectors of {NOUNS[kind]}. {remedy[:1].upper()}{remedy[1:]}."
            raise DataError(self._info.name, problem)
        found = self._vectors[kind]
        missing = [name for name in ids if name not in found.rows]
        if missing:
            count = f"{len(missing)} of {len(ids)} ids have no vector"
            problem = f"{count}, the first is {missing[0]!r}. Add the vectors, or remove these ids."
            raise DataError(found.stored.path, problem)

    def take(self, ids: Sequence[str], *, kind: Kind) -> Embeddings:
        """Return the vectors of ids, in the given order, float32 [n, full_dim].

        Raises:
            DataError: If an id has no vector.
        """
        return self.select(ids, kind=kind)[:]

    def select(self, ids: Sequence[str], *, kind: Kind) -> EmbeddingRows:
        """Return the vectors of ids, in the given order, without reading them.

        Raises:
            DataError: If an id has no vector.
        """
        self.check(ids, kind=kind)
        found = self._vectors[kind]
        rows = np.fromiter((found.rows[name] for name in ids), dtype=np.int64, count=len(ids))
        return EmbeddingRows(found.stored.values, rows)

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Raise an error: there is no model.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            f"{self._info.name}: contains vectors and no model, so it cannot encode texts. "
            "Use the model of the vectors."
        )

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Return 0: it is unknown which texts were truncated."""
        return 0


def _find(place: Path | str) -> Mapping[Kind, Path | str]:
    """Return where the vectors of each kind are; a table contains documents."""
    if isinstance(place, str):
        return {"document": place} if is_vectors_url(place) else find_vectors(Path(place))
    return find_vectors(place)


def _read(path: Path | str, kind: Kind, draw: Draw | None) -> StoredEmbeddings:
    if draw is None or kind == "query":
        return load_embeddings(path, kind=kind)
    return load_embeddings(path, kind=kind, sample=draw.rows, seed=draw.seed)


def has_vectors(path: Path) -> bool:
    """Return whether a path is a file of vectors, or a folder that contains precomputed vectors.

    Raises:
        DataError: If several files of a folder can be the vectors.
    """
    return is_vectors_file(path) if path.is_file() else bool(find_vectors(path))


def save_vectors(
    ids: Sequence[str],
    embeddings: ArrayLike,
    folder: Path | str,
    *,
    kind: Kind,
    model: str | None = None,
) -> None:
    """Write the vectors of a kind, and their ids, to a folder of vectors.

    Args:
        ids: [n].
        embeddings: [n, full_dim], as the model returns them: an array, a tensor or lists.
        folder: The folder; files of the other kind stay as they are.
        kind: "document" or "query".
        model: Name of the model that computed the vectors, such as "text-embedding-3-large". The
            folder records the name, so that the trained dims of a known model are known later.

    Raises:
        InvalidArgument: If the numbers of ids and rows differ, an id is empty, has a line break
            or appears twice, or the folder records another model.
        DataError: If a vector is NaN, infinite or zero, or the folder cannot be written.
    """
    folder = Path(folder)
    if model is not None:
        _check_recorded(folder, model)
    save_embeddings(ids, embeddings, folder / f"{STEMS[kind]}.npy", dtype="float32")
    if model is not None:
        with replace_file(folder / VECTORS_FILE) as temporary:
            write_model_name(temporary, model)


def _check_recorded(folder: Path, model: str) -> None:
    recorded = read_model_name(folder)
    if recorded not in ("", model):
        raise InvalidArgument(
            f"{folder} records vectors of {recorded}, not of {model}. Write to another folder."
        )


def _common_dim(path: Path | str, vectors: Mapping[Kind, _Vectors]) -> int:
    full_dim, *others = {found.stored.dim for found in vectors.values()}
    if others:
        widths = (f"{STEMS[kind]} {found.stored.dim}" for kind, found in vectors.items())
        problem = f"has vectors of different dims ({', '.join(widths)})"
        raise DataError(path, f"{problem}. Use one model for both.")
    return full_dim


def _recorded_models(found: Mapping[Kind, Path | str]) -> dict[Kind, ModelInfo]:
    """Return the models that ``nestvec embed`` recorded, by the kind of their vectors."""
    manifests = {
        kind: read_manifest(place)
        for kind, place in found.items()
        if isinstance(place, Path) and place.is_dir()
    }
    return {kind: each.model for kind, each in manifests.items() if each is not None}


def _check_one_space(
    path: Path | str, recorded: Mapping[Kind, ModelInfo], models: Rows | None
) -> None:
    """Check that the recorded models of documents and of queries share a space.

    Raises:
        DataError: If they do not.
    """
    if len(recorded) < len(STEMS):
        return
    documents, queries = recorded["document"], recorded["query"]
    if documents.adapter == queries.adapter and (
        documents.fingerprint == queries.fingerprint or share_space(documents, queries, models)
    ):
        return
    if documents.identity == queries.identity:
        problem = "has documents and queries of different adapters"
    else:
        problem = f"has documents of {documents.identity}, but queries of {queries.identity}"
    raise DataError(path, f"{problem}. Embed both with one model.")


def _recorded_facts(
    found: Mapping[Kind, Path | str], recorded: Mapping[Kind, ModelInfo]
) -> dict[str, Any]:
    """Return the fields of ``ModelInfo`` that ``nestvec embed`` recorded.

    The adapter is no such field: it is already applied to the vectors.
    """
    model = recorded.get("document") or recorded.get("query")
    if model is None:
        return {}
    facts: dict[str, Any] = {
        "prompts_source": f"recorded in {MANIFEST}",
        "pooling": model.pooling,
        "dtype": model.dtype,
        "max_tokens": model.max_tokens,
    }
    if "document" in recorded:
        facts |= {"document_prompt": model.document_prompt, "document_task": model.document_task}
    if "query" in recorded or "query" not in found:  # other files of queries record no prompt
        of_queries = recorded.get("query", model)
        facts |= {"query_prompt": of_queries.query_prompt, "query_task": of_queries.query_task}
    return facts


def _configured_dims(
    path: Path | str, recorded: Mapping[Kind, ModelInfo], full_dim: int
) -> tuple[int, ...] | None:
    """Return the trained dims that a folder records, in its configuration or its manifest."""
    is_folder = isinstance(path, Path) and path.is_dir()
    configured = configured_dims(Path(path)) if is_folder else None
    if configured is not None:
        return configured
    model = recorded.get("document") or recorded.get("query")
    if model is None or not model.dims_trained:
        return None
    return tuple(dim for dim in model.dims if dim <= full_dim) or None


def _fingerprint(vectors: StoredEmbeddings) -> str:
    """Hash the ids, one per line, and the vectors as float32."""
    total = hashlib.sha256()
    for start in range(0, len(vectors), _IDS_AT_ONCE):
        separator = "\n" if start else ""
        names = "\n".join(vectors.ids[start : start + _IDS_AT_ONCE])
        total.update(f"{separator}{names}".encode())
    for chunk in vectors.chunks():
        total.update(chunk.tobytes())
    return total.hexdigest()
