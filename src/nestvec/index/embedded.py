"""The embedded index: a folder with the codes of an operating point's stages and the documents.

    manifest.json       format, model, operating point, calibration, checksums of the other files
    stage-0.codes       codes of the first stage, read into memory
    stage-1.codes ...   codes of later stages, memory-mapped
    empty.rows          rows of zero vectors
    documents.sqlite    ids, texts, metadata

Built in one batch, written beside the old one and then put in its place; nothing is pickled.
Takes and gives vectors and rows of documents; what joins it to a model is ``workflows``' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nestvec.atomic import check_replaceable, replace_folder
from nestvec.codec import Codec
from nestvec.errors import DamagedFile, InvalidArgument, ModelMismatch
from nestvec.index.documents import Documents, write_documents
from nestvec.index.manifest import Manifest, checksum
from nestvec.index.scan import Scan
from nestvec.index.staged import Bytes, Rescorer, StagedSearch
from nestvec.types import Codes, Document, Embeddings, Hits, ModelInfo, OperatingPoint, Rows

_DOCUMENTS, _EMPTY = "documents.sqlite", "empty.rows"
_MARKER = "stage-0.codes"  # other kinds of folder have a manifest.json, too


def build(
    path: Path,
    *,
    model: ModelInfo,
    corpus: Mapping[str, Document],
    embeddings: Embeddings,
    point: OperatingPoint,
) -> None:
    """Write an index folder, in the place of an older one if there is one.

    Args:
        path: The folder.
        model: Whose vectors they are.
        corpus: The documents by id.
        embeddings: One for each document in the corpus's order, [n, full_dim].
        point: How it will be searched.

    Raises:
        InvalidArgument: If a stage is wider than the vectors, or counts differ.
        DataError: If the folder cannot be written; what was there is untouched.
    """
    if embeddings.shape != (len(corpus), model.full_dim):
        problem = f"embeddings {embeddings.shape} for {len(corpus)} documents of {model.full_dim}"
        raise InvalidArgument(problem)
    # Ties of a search come in ascending row, and must come in descending id.
    ids = sorted(corpus, reverse=True)
    position = {id_: row for row, id_ in enumerate(corpus)}
    embeddings = embeddings[[position[id_] for id_ in ids]]
    codecs = [
        Codec.fit(embeddings, stage.dim, stage.precision, layer_norm=model.layer_norm)
        for stage in point.stages
    ]
    with replace_folder(path, marker=_MARKER) as folder:
        write_documents(folder / _DOCUMENTS, {id_: corpus[id_] for id_ in ids})
        # Not tofile, whose errors do not say why.
        (folder / _EMPTY).write_bytes(empty_rows(embeddings).astype("<i8").data)
        for number, codec in enumerate(codecs):
            (folder / _stage_file(number)).write_bytes(codec.encode(embeddings).data)
        files = {file.name: checksum(file) for file in sorted(folder.iterdir())}
        Manifest(model, point, tuple(codecs), len(ids), files).save(folder)


def check_target(path: Path) -> None:
    """Refuse a place that ``build`` would refuse, before the corpus is encoded for it.

    Raises:
        DataError: If it holds something else than an index.
    """
    check_replaceable(path, marker=_MARKER)


def empty_rows(embeddings: Embeddings) -> Rows:
    """Return the rows of zero vectors, as an encoder gives them for empty texts."""
    return np.flatnonzero(~embeddings.any(axis=1)).astype(np.int64)


class EmbeddedIndex:
    """An index folder opened for searching."""

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        """Open a folder.

        Sizes of all files are checked, and the checksum of what is read into memory anyway.

        Args:
            path: The folder.
            verify: Check the checksum of every file.

        Raises:
            DataError: If it is not an index folder of this version, or cannot be read.
            DamagedFile: If a file is missing, truncated or changed.
        """
        self.path = path
        self.manifest = Manifest.load(path)
        self.manifest.check_files(
            path, checksums_of=self.manifest.files if verify else (_stage_file(0), _EMPTY)
        )
        empty = np.fromfile(path / _EMPTY, dtype="<i8").astype(np.int64)
        first, *later = self.manifest.codecs
        self._search = StagedSearch(
            self.manifest.point,
            Scan(first, np.asarray(self._codes(0, first)), empty=empty),
            [Rescorer(codec, self._codes(i, codec), empty) for i, codec in enumerate(later, 1)],
        )
        self._documents = Documents(path / _DOCUMENTS)
        if len(self._documents) != self.manifest.n:
            self.close()
            problem = f"{len(self._documents)} documents, {self.manifest.n} in the manifest"
            raise DamagedFile(path / _DOCUMENTS, problem)

    def __len__(self) -> int:
        """Count the documents."""
        return self.manifest.n

    @property
    def bytes(self) -> Bytes:
        """What the index takes for each vector and reads for each query."""
        codecs = {(codec.dim, codec.precision): codec for codec in self.manifest.codecs}
        return Bytes.of(self.manifest.point, codecs)

    def check_model(self, model: ModelInfo) -> None:
        """Refuse a model other than the one whose vectors are stored.

        Raises:
            ModelMismatch: If it is another one.
        """
        stored = self.manifest.model
        if model.fingerprint != stored.fingerprint:
            raise ModelMismatch(
                f"{self.path} holds vectors of {stored.name} ({stored.fingerprint[:12]}), "
                f"not of {model.name} ({model.fingerprint[:12]}): "
                "open it with the former, or rebuild it with the latter"
            )

    def search(self, embeddings: Embeddings, k: int) -> Hits:
        """Return the best ``k`` documents of each query.

        Args:
            embeddings: [n_queries, full_dim], as the model gives them.
            k: At least 1; a shortlist or corpus that holds fewer gives fewer.

        Raises:
            InvalidArgument: If k is below 1 or a vector holds NaN or infinity.
            ModelMismatch: If the vectors have another width than the stored model's.
        """
        with np.errstate(over="ignore"):  # a float64 above float32's limit is found as infinity
            embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        self._check_query(embeddings, k)
        if len(embeddings) == 0:
            return Hits([], [])
        scores, rows = self._search.search(embeddings, k)
        ids = self._documents.ids(rows.ravel().tolist())
        width = rows.shape[1]
        starts = range(0, rows.size, width)
        return Hits([ids[start : start + width] for start in starts], scores.tolist())

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that are there, in the order asked."""
        return self._documents.get(ids)

    def close(self) -> None:
        """Close the files."""
        self._documents.close()

    def _check_query(self, embeddings: Embeddings, k: int) -> None:
        stored = self.manifest.model
        if k < 1:
            raise InvalidArgument(f"k {k} < 1")
        if embeddings.ndim != 2 or embeddings.shape[1] != stored.full_dim:
            raise ModelMismatch(
                f"queries of shape {embeddings.shape} for an index of {stored.name}, which needs "
                f"[n, {stored.full_dim}]: encode at full width, the index truncates; "
                "or rebuild it with the other model"
            )
        if not np.isfinite(embeddings).all():
            raise InvalidArgument("a query vector holds NaN or infinity")

    def _codes(self, number: int, codec: Codec) -> Codes:
        shape = (self.manifest.n, codec.bytes_per_vector)
        return np.memmap(self.path / _stage_file(number), dtype=np.uint8, mode="r", shape=shape)


def _stage_file(number: int) -> str:
    return f"stage-{number}.codes"
