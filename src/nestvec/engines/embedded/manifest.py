"""What an index folder says of itself: its model, how it is searched, its fitted codecs.

It changes only with the operating point or the model; documents come and go without it. It holds a
checksum of its own values, so that no changed digit goes unnoticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import check_codable
from nestvec.engines.embedded.folder import MANIFEST
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.files.atomic import replace_file
from nestvec.types import ModelInfo, OperatingPoint, Precision
from nestvec.version import __version__

FORMAT, FORMAT_VERSION = "nestvec-index", 2
Stored = Literal["float16", "float32"]
"""How full vectors are kept."""
Key = tuple[int, Precision]
_SEAL = "sha256"  # of the manifest's own other values


@dataclass(frozen=True)
class Manifest:
    """What an index folder says of itself.

    Attributes:
        model: The model whose vectors it holds.
        stored: How they are kept: normalised, at full width.
        point: How they are searched.
        codecs: What codes are made with, by (dim, precision).
    """

    model: ModelInfo
    stored: Stored
    point: OperatingPoint
    codecs: Mapping[Key, Codec]

    def check_point(self, point: OperatingPoint) -> None:
        """Refuse a point that the vectors cannot be searched by.

        Raises:
            InvalidArgument: If it is wider than they are, needs float32 where they are kept as
                float16, or a stage's dim cannot be coded.
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

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``manifest.json``, their own checksum with them."""
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
        return values | {_SEAL: _seal(values)}

    def save(self, folder: Path) -> None:
        """Write ``manifest.json``, in the place of the one before.

        Raises:
            DataError: If it cannot be written.
        """
        with replace_file(folder / MANIFEST) as path:
            path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            DataError: If there is none, or it is of another version.
            DamagedFile: If it is not what was written.
        """
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            _check_format(path, values)
            if values.pop(_SEAL, None) != _seal(values):
                raise DamagedFile(path, "has another checksum than when written: rebuild the index")
            codecs = [Codec.from_json(codec) for codec in values["codecs"]]
            return cls(
                ModelInfo.from_json(values["model"]),
                values["stored"],
                OperatingPoint.parse(values["point"]),
                {(codec.dim, codec.precision): codec for codec in codecs},
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(folder, f"is not an index folder (no {MANIFEST})") from error
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedFile(path, f"cannot be read ({error!r}): rebuild the index") from error


def _check_format(path: Path, values: Mapping[str, Any]) -> None:
    if values["format"] != FORMAT:
        raise DataError(path, f"is not of an index: its format is not {FORMAT}")
    version = values["version"]
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        remedy = "take a newer nestvec" if newer else "rebuild the index"
        raise DataError(path, f"index format {version} != {FORMAT_VERSION}: {remedy}")


def _seal(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
