"""The manifest of a folder of shards that ``nestvec embed`` writes: ``embeddings.json``.

The manifest states the model, the dim and precision of the vectors, and the complete shards. A
shard is a Parquet file with the columns ``id`` and ``vector``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nestvec.codec.codec import Codec
from nestvec.errors import DataError
from nestvec.files.atomic import replace_file
from nestvec.files.versioned import parse_versioned, read_versioned
from nestvec.types import Kind, ModelInfo, Precision

MANIFEST = "embeddings.json"
_VERSION, _KIND = 1, "manifest of embeddings"
_REMEDY = "Embed the texts again."


@dataclass(frozen=True)
class Shard:
    """A complete file of vectors.

    Attributes:
        file: Its name in the folder.
        rows: Number of vectors.
        sha256: Checksum of the file.
        texts: Checksum of the ids and texts of the vectors; "" if unknown.
        zero_vectors: Number of vectors that are zero.
        zero_id: The id of the first zero vector; "" if there is none.
        truncated: Number of texts that are longer than the maximum length of the model.
    """

    file: str
    rows: int
    sha256: str
    texts: str = ""
    zero_vectors: int = 0
    zero_id: str = ""
    truncated: int = 0


@dataclass(frozen=True, eq=False)
class EmbeddingsManifest:
    """What a folder of shards contains.

    Attributes:
        model: The model that encoded the texts.
        kind: Whether the texts are documents or queries.
        dim: Number of dimensions of each vector.
        precision: Format of each vector.
        shards: The complete shards, in the order of the texts.
        codec: The fitted codec, if the vectors are codes; None for float32 and float16.
        complete: Whether all texts are encoded.
        shard_rows: Number of vectors of each shard except the last; 0 if unknown.
        total: Number of texts of the corpus; 0 if unknown.
        settings: Settings that affect vectors slightly, such as versions of libraries.
    """

    model: ModelInfo
    kind: Kind
    dim: int
    precision: Precision
    shards: tuple[Shard, ...] = ()
    codec: Codec | None = None
    complete: bool = False
    shard_rows: int = 0
    total: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of vectors of all complete shards."""
        return sum(shard.rows for shard in self.shards)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {
            "version": _VERSION,
            "model": self.model.to_json(),
            "kind": self.kind,
            "dim": self.dim,
            "precision": self.precision,
            "complete": self.complete,
            "shard_rows": self.shard_rows,
            "total": self.total,
            "settings": dict(self.settings),
            "codec": None if self.codec is None else self.codec.to_json(),
            "shards": [asdict(shard) for shard in self.shards],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EmbeddingsManifest:
        """Create a manifest from the values of ``to_json``."""
        codec = values["codec"]
        return cls(
            model=ModelInfo.from_json(values["model"]),
            kind=values["kind"],
            dim=values["dim"],
            precision=values["precision"],
            shards=tuple(Shard(**shard) for shard in values["shards"]),
            codec=None if codec is None else Codec.from_json(codec),
            complete=values["complete"],
            shard_rows=values.get("shard_rows", 0),
            total=values.get("total", 0),
            settings=values.get("settings", {}),
        )

    @classmethod
    def from_text(cls, text: str, where: Path | str) -> EmbeddingsManifest:
        """Create a manifest from the text of its file.

        Raises:
            DataError: If the text cannot be read.
        """
        values = parse_versioned(text, where, kind=_KIND, version=_VERSION, remedy=_REMEDY)
        return _from_values(values, where)

    def to_text(self) -> str:
        """Return the text of the file of this manifest."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"


def read_manifest(folder: Path) -> EmbeddingsManifest | None:
    """Return the manifest of a folder; None if the folder has none.

    Raises:
        DataError: If the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    values = read_versioned(path, kind=_KIND, version=_VERSION, remedy=_REMEDY)
    return _from_values(values, path)


def _from_values(values: Mapping[str, Any], where: Path | str) -> EmbeddingsManifest:
    try:
        return EmbeddingsManifest.from_json(values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(where, f"is damaged ({error!r}). {_REMEDY}") from error


def write_manifest(manifest: EmbeddingsManifest, folder: Path) -> None:
    """Write the manifest of a folder.

    Raises:
        DataError: If the folder cannot be written.
    """
    with replace_file(folder / MANIFEST) as temporary:
        temporary.write_text(manifest.to_text(), encoding="utf-8")
