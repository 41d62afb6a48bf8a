"""What an index folder says of itself, and the checksums that hold it to that.

The manifest holds a checksum of every other file and one of its own values, so that no changed
digit goes unnoticed. What the files hold is ``embedded``'s business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.codec import Codec
from nestvec.errors import DamagedFile, DataError
from nestvec.types import ModelInfo, OperatingPoint

FORMAT, FORMAT_VERSION = "nestvec-index", 1
MANIFEST = "manifest.json"
_SEAL = "sha256"  # of the manifest's own other values
_CHANGED = "has another checksum than when written: rebuild the index"


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
        """Return plain values for ``manifest.json``, their own checksum with them."""
        values = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "model": self.model.to_json(),
            "full_dim": self.model.full_dim,
            "point": str(self.point),
            "n": self.n,
            "codecs": [codec.to_json() for codec in self.codecs],
            "files": {name: dict(entry) for name, entry in self.files.items()},
        }
        return values | {_SEAL: _seal(values)}

    def save(self, folder: Path) -> None:
        """Write ``manifest.json``."""
        text = json.dumps(self.to_json(), indent=1)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

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
            if values["format"] != FORMAT:
                raise DataError(path, f"is not of an index: its format is not {FORMAT}")
            version = values["version"]
            if version != FORMAT_VERSION:
                problem = f"index format {version} != {FORMAT_VERSION}: rebuild the index"
                raise DataError(path, problem)
            if values.pop(_SEAL, None) != _seal(values):
                raise DamagedFile(path, _CHANGED)
            return cls(
                ModelInfo.from_json(values["model"]),
                OperatingPoint.parse(values["point"]),
                tuple(Codec.from_json(codec) for codec in values["codecs"]),
                values["n"],
                values["files"],
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(folder, f"is not an index folder (no {MANIFEST})") from error
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedFile(path, f"cannot be read ({error!r}): rebuild the index") from error

    def check_files(self, folder: Path, *, checksums_of: Iterable[str]) -> None:
        """Check the size of every file, and the checksum of some.

        Raises:
            DamagedFile: If one is missing, truncated or changed.
            DataError: If one cannot be read.
        """
        for name, written in self.files.items():
            file, expected = folder / name, written["bytes"]
            if not file.is_file():
                raise DamagedFile(file, "is missing: rebuild the index")
            size = file.stat().st_size
            if size != expected:
                raise DamagedFile(file, f"has {size} bytes, not {expected}: rebuild the index")
        for name in checksums_of:
            if checksum(folder / name) != self.files[name]:
                raise DamagedFile(folder / name, _CHANGED)


def checksum(file: Path) -> dict[str, Any]:
    """Return the size and sha256 of a file.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(file, f"cannot be read ({error.strerror})") from error
    return {"bytes": file.stat().st_size, "sha256": digest}


def _seal(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
