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

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.atomic import replace_folder
from nestvec.codec import Codec
from nestvec.errors import DamagedFile, DataError, InvalidArgument, ModelMismatch
from nestvec.index.documents import Documents, write_documents
from nestvec.index.scan import Scan
from nestvec.index.staged import Bytes, Rescorer, StagedSearch
from nestvec.types import Codes, Document, Embeddings, Hits, ModelInfo, OperatingPoint, Rows

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_DOCUMENTS, _EMPTY = "documents.sqlite", "empty.rows"


@dataclass(frozen=True)
class Manifest:
    """What an index folder says of itself.

    Attributes:
        model: The model whose vectors it holds.
        point: How it is searched.
        codecs: One for each stage.
        n: Number of documents.
        files: Size and sha256 of each other file, by name.
    """

    model: ModelInfo
    point: OperatingPoint
    codecs: tuple[Codec, ...]
    n: int
    files: Mapping[str, Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``manifest.json``."""
        return {
            "format": "nestvec-index",
            "version": FORMAT_VERSION,
            "model": self.model.to_json(),
            "full_dim": self.model.full_dim,
            "point": str(self.point),
            "n": self.n,
            "codecs": [codec.to_json() for codec in self.codecs],
            "files": {name: dict(entry) for name, entry in self.files.items()},
        }

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            DataError: If there is none, or it is of another version.
            DamagedFile: If it cannot be understood.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise DataError(folder, f"is not an index folder (no {MANIFEST})")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = values["version"]
            if version != FORMAT_VERSION:
                problem = f"index format {version} != {FORMAT_VERSION}: rebuild the index"
                raise DataError(path, problem)
            return cls(
                ModelInfo.from_json(values["model"]),
                OperatingPoint.parse(values["point"]),
                tuple(Codec.from_json(codec) for codec in values["codecs"]),
                values["n"],
                values["files"],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedFile(path, f"cannot be read ({error!r}): rebuild the index") from error


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
    with replace_folder(path, marker=MANIFEST) as folder:
        write_documents(folder / _DOCUMENTS, {id_: corpus[id_] for id_ in ids})
        empty_rows(embeddings).astype("<i8").tofile(folder / _EMPTY)
        for number, codec in enumerate(codecs):
            codec.encode(embeddings).tofile(folder / _stage_file(number))
        files = {file.name: _checksum(file) for file in sorted(folder.iterdir())}
        manifest = Manifest(model, point, tuple(codecs), len(ids), files)
        text = json.dumps(manifest.to_json(), indent=1)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


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
            DataError: If it is not an index folder of this version.
            DamagedFile: If a file is missing, truncated or changed.
        """
        self.path = path
        self.manifest = Manifest.load(path)
        for name in self.manifest.files:
            self._check_size(name)
        for name in self.manifest.files if verify else (_stage_file(0), _EMPTY):
            self._check_sha256(name)
        empty = np.fromfile(path / _EMPTY, dtype="<i8").astype(np.int64)
        first, *later = self.manifest.codecs
        self._search = StagedSearch(
            self.manifest.point,
            Scan(first, np.asarray(self._codes(0, first)), empty=empty),
            [Rescorer(codec, self._codes(i, codec), empty) for i, codec in enumerate(later, 1)],
        )
        self._documents = Documents(path / _DOCUMENTS)
        if len(self._documents) != self.manifest.n:
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
        self._check_query(embeddings, k)
        if len(embeddings) == 0:
            return Hits([], [])
        scores, rows = self._search.search(np.ascontiguousarray(embeddings, np.float32), k)
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

    def _check_size(self, name: str) -> None:
        file, expected = self.path / name, self.manifest.files[name]["bytes"]
        if not file.is_file():
            raise DamagedFile(file, "is missing: rebuild the index")
        if file.stat().st_size != expected:
            problem = f"has {file.stat().st_size} bytes, not {expected}: rebuild the index"
            raise DamagedFile(file, problem)

    def _check_sha256(self, name: str) -> None:
        file = self.path / name
        if _checksum(file) != self.manifest.files[name]:
            raise DamagedFile(file, "has another checksum than when written: rebuild the index")


def _stage_file(number: int) -> str:
    return f"stage-{number}.codes"


def _checksum(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}
