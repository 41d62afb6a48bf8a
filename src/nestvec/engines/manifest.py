"""What an index records of itself, wherever its engine keeps it: model, point, calibration.

A manifest changes only with the operating point or the model; documents come and go without a
change. Its JSON holds a checksum of its own values, so that no changed digit goes unnoticed.
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
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.types import CodeKey, Embeddings, ModelInfo, OperatingPoint
from nestvec.version import __version__

FORMAT, FORMAT_VERSION = "nestvec-index", 2
Stored = Literal["float16", "float32"]
"""How full vectors are stored."""
_CHECKSUM = "sha256"  # of the manifest's own other values


@dataclass(frozen=True)
class Manifest:
    """What an index records of itself.

    Attributes:
        model: The model whose vectors it holds.
        stored: How full vectors are stored: normalized, at full width.
        point: The operating point that searches use.
        codecs: What codes are made with, by (dim, precision).
    """

    model: ModelInfo
    stored: Stored
    point: OperatingPoint
    codecs: Mapping[CodeKey, Codec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that vectors can be stored and searched like this.

        Raises:
            InvalidArgument: If ``stored`` is no precision for full vectors, or as ``check_point``.
        """
        if self.stored not in get_args(Stored):
            known = ", ".join(get_args(Stored))
            raise InvalidArgument(f"stored {self.stored!r} is not one of {known}")
        self.check_point(self.point)

    def check_point(self, point: OperatingPoint) -> None:
        """Refuse a point that the vectors cannot be searched by.

        Raises:
            InvalidArgument: If it is wider than the vectors, needs float32 where float16 is stored,
                or a stage's dim cannot be coded.
        """
        full_dim, name = self.model.full_dim, self.model.name
        for stage in point.stages:
            if stage.dim > full_dim:
                problem = f"{point}: dim {stage.dim} > full_dim {full_dim} of {name}"
                raise InvalidArgument(problem)
            check_codable(*stage.representation)
            if stage.precision == "float32" and self.stored != "float32":
                problem = f"{point}: the index keeps float16; build it with stored float32, or"
                raise InvalidArgument(f"{problem} name float16")

    def as_stored(self, embeddings: Embeddings) -> NDArray[np.floating]:
        """Return what the index stores of vectors, which its codes are made of.

        Args:
            embeddings: [n, full_dim], as the model returns them.

        Returns:
            [n, full_dim], layer-normalized if the model asks for it, of unit length, rounded to
            the precision of ``stored``.
        """
        unit = as_stored(embeddings, layer_norm=self.model.layer_norm)
        return unit.astype(self.stored)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file, their own checksum with them."""
        values = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "written_by": f"nestvec {__version__}",
            "model": self.model.to_json(),
            "full_dim": self.model.full_dim,
            "stored": self.stored,
            "point": str(self.point),
            "codecs": [codec.to_json() for codec in self.codecs.values()],
        }
        return values | {_CHECKSUM: _checksum(values)}

    @classmethod
    def from_json(cls, text: str, where: Path | str) -> Manifest:
        """Read back what ``to_json`` wrote.

        Args:
            text: The JSON text.
            where: Its file or table, for messages.

        Raises:
            DataError: If it is of another format or version.
            DamagedFile: If it is not what was written.
        """
        try:
            values = json.loads(text)
            _check_format(where, values)
            if values.pop(_CHECKSUM, None) != _checksum(values):
                problem = "has another checksum than when written: rebuild the index"
                raise DamagedFile(where, problem)
            codecs = [Codec.from_json(codec) for codec in values["codecs"]]
            return cls(
                ModelInfo.from_json(values["model"]),
                values["stored"],
                OperatingPoint.parse(values["point"]),
                {(codec.dim, codec.precision): codec for codec in codecs},
            )
        except (ValueError, KeyError, TypeError, AttributeError, InvalidArgument) as error:
            raise DamagedFile(where, f"cannot be read ({error!r}): rebuild the index") from error


def stored_for(point: OperatingPoint) -> Stored:
    """Return how vectors have to be stored for a point: float16, or float32 if a stage needs it."""
    needs_float32 = any(stage.precision == "float32" for stage in point.stages)
    return "float32" if needs_float32 else "float16"


def _check_format(where: Path | str, values: Mapping[str, Any]) -> None:
    if values["format"] != FORMAT:
        raise DataError(where, f"is not of an index: its format is not {FORMAT}")
    version = values["version"]
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        remedy = "take a newer nestvec" if newer else "rebuild the index"
        raise DataError(where, f"index format {version} != {FORMAT_VERSION}: {remedy}")


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
