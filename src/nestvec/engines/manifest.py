"""The manifest of an index: its model, its operating point and its fitted codecs.

A manifest changes with the operating point, the model or the codecs, not with each document. Its
JSON form contains a checksum of its other values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.codec.quantizer import check_codable
from nestvec.engines.canaries import Canaries
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.types import CodeKey, Embeddings, ModelInfo, OperatingPoint
from nestvec.version import __version__

FORMAT, FORMAT_VERSION = "nestvec-index", 3
OLDEST_VERSION = 2
"""The oldest version that the embedded engine and pgvector read."""
TOKENS_VERSION = 3
"""The oldest version that engines read which store metadata as ``filters.tokens``."""
Stored = Literal["float16", "float32"]
"""The precision in which full vectors are stored."""
Settings = Mapping[str, int | float | str]
"""Settings of the search structures of an engine, by name."""
_CHECKSUM = "sha256"  # of all other values of the manifest


@dataclass(frozen=True)
class Manifest:
    """The metadata of an index.

    Attributes:
        model: The model of the stored vectors.
        stored: The precision of the stored vectors, which are normalized and have full width.
        point: The operating point of searches.
        codecs: The codecs of the codes, by (dim, precision).
        encoder: The model that encodes texts, if it was recorded later: ``model`` then describes
            only the vectors, as for an index of precomputed vectors.
        settings: The settings of the search structures of an engine that searches approximately,
            such as ``ef_search``, and the overlap that was measured with them.
        canaries: Texts with the vectors of the model, to detect that the model has changed; None
            for an index of an earlier version, or without texts.
    """

    model: ModelInfo
    stored: Stored
    point: OperatingPoint
    codecs: Mapping[CodeKey, Codec] = field(default_factory=dict)
    encoder: ModelInfo | None = None
    settings: Settings = field(default_factory=dict)
    canaries: Canaries | None = None

    def __post_init__(self) -> None:
        """Check the precision of stored vectors and the operating point.

        Raises:
            InvalidArgument: If ``stored`` is not a precision of ``Stored``, or ``check_point``
                raises.
        """
        if self.stored not in get_args(Stored):
            known = ", ".join(get_args(Stored))
            problem = f"stored={self.stored!r} is not supported."
            raise InvalidArgument(f"{problem} Choose one of: {known}.")
        self.check_point(self.point)

    @property
    def encoding_model(self) -> ModelInfo:
        """The model that encodes texts, without the index's adapter if it was recorded later."""
        return self.encoder or self.model

    def check_point(self, point: OperatingPoint) -> None:
        """Check that the stored vectors can be searched by an operating point.

        Raises:
            InvalidArgument: If a stage is wider than the vectors, a stage uses float32 and the
                index stores float16, or a stage's dim does not fit its precision.
        """
        full_dim, name = self.model.full_dim, self.model.name
        for stage in point.stages:
            if stage.dim > full_dim:
                problem = f"{point}: dim={stage.dim} is larger than full_dim={full_dim} of {name}."
                raise InvalidArgument(f"{problem} Choose a dim of at most {full_dim}.")
            check_codable(*stage.representation)
            if stage.precision == "float32" and self.stored != "float32":
                problem = f"{point}: the index stores float16 vectors, not float32."
                remedy = "Use float16 in the point, or rebuild the index with stored float32."
                raise InvalidArgument(f"{problem} {remedy}")

    def as_stored(self, embeddings: Embeddings) -> NDArray[np.floating]:
        """Convert embeddings to the vectors that the index stores and encodes.

        Args:
            embeddings: [n, full_dim], as the model returns them.

        Returns:
            [n, full_dim], layer-normalized if the model requires it, then normalized to unit
            length and rounded to the precision ``stored``.
        """
        unit = as_stored(embeddings, layer_norm=self.model.layer_norm)
        return unit.astype(self.stored)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file, including their checksum."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "written_by": f"nestvec {__version__}",
            "model": self.model.to_json(),
            "full_dim": self.model.full_dim,
            "stored": self.stored,
            "point": str(self.point),
            "codecs": [codec.to_json() for codec in self.codecs.values()],
        }
        if self.encoder is not None:
            values["encoder"] = self.encoder.to_json()
        if self.settings:
            values["settings"] = dict(self.settings)
        if self.canaries is not None:
            values["canaries"] = self.canaries.to_json()
        return values | {_CHECKSUM: _checksum(values)}

    @classmethod
    def from_json(cls, text: str, where: Path | str, *, oldest: int = OLDEST_VERSION) -> Manifest:
        """Read a manifest that ``to_json`` wrote.

        Args:
            text: The JSON text.
            where: The file or table of the text, for error messages.
            oldest: The oldest version of the format that is read.

        Raises:
            DataError: If the format or its version is not supported.
            DamagedFile: If the text differs from what was written.
        """
        try:
            values = json.loads(text)
            _check_format(where, values, oldest)
            if values.pop(_CHECKSUM, None) != _checksum(values):
                problem = "its checksum does not match its content. Rebuild the index."
                raise DamagedFile(where, problem)
            codecs = [Codec.from_json(codec) for codec in values["codecs"]]
            encoder, canaries = values.get("encoder"), values.get("canaries")
            return cls(
                ModelInfo.from_json(values["model"]),
                values["stored"],
                OperatingPoint.parse(values["point"]),
                {(codec.dim, codec.precision): codec for codec in codecs},
                None if encoder is None else ModelInfo.from_json(encoder),
                values.get("settings", {}),
                None if canaries is None else Canaries.from_json(canaries),
            )
        except (ValueError, KeyError, TypeError, AttributeError, InvalidArgument) as error:
            raise DamagedFile(where, f"cannot be read ({error!r}). Rebuild the index.") from error


def stored_for(point: OperatingPoint) -> Stored:
    """Return the precision for stored vectors: float32 if a stage uses it, otherwise float16."""
    needs_float32 = any(stage.precision == "float32" for stage in point.stages)
    return "float32" if needs_float32 else "float16"


def _check_format(where: Path | str, values: Mapping[str, Any], oldest: int) -> None:
    if values["format"] != FORMAT:
        raise DataError(where, f"is not a manifest of an index: its format is not {FORMAT}.")
    version = values["version"]
    supported = range(oldest, FORMAT_VERSION + 1)
    if version not in supported:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        remedy = "Install a newer nestvec." if newer else "Rebuild the index."
        known = " or ".join(map(str, supported))
        raise DataError(where, f"has the index format {version}; supported is {known}. {remedy}")


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
