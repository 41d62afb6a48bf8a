"""The file of an adaptor: a small safetensors file, its manifest in the header. Nothing is pickled.

Reading one loads neither PyTorch nor a model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.adapt.adaptor import METHODS, Adaptor, Head
from nestvec.atomic import replace_file
from nestvec.errors import DamagedFile, DataError, require
from nestvec.types import Embeddings
from nestvec.version import __version__

FORMAT, VERSION = "nestvec-adaptor", 1
_KEY = "nestvec"  # of the header's metadata


def save_adaptor(adaptor: Adaptor, path: Path) -> None:
    """Write an adaptor, in the place of the one before.

    Raises:
        DataError: If it cannot be written; what was there before is untouched.
        MissingExtra: If ``safetensors`` is not installed.
    """
    to_bytes = require("safetensors.numpy", extra="models").save
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"nestvec {__version__}",
        "method": adaptor.method,
        "dims": list(adaptor.dims),
        "full_dim": adaptor.full_dim,
        "base": adaptor.base,
        "base_name": adaptor.base_name,
        "layer_norm": adaptor.layer_norm,
        "two_heads": adaptor.two_heads,
        "seed": adaptor.seed,
        "digest": adaptor.digest(),
        "fitted": dict(adaptor.fitted),
    }
    tensors = {
        name: np.ascontiguousarray(array, dtype=np.float32)
        for name, array in adaptor.tensors().items()
    }
    content = to_bytes(tensors, metadata={_KEY: json.dumps(manifest)})
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def load_adaptor(path: Path) -> Adaptor:
    """Read what ``save_adaptor`` wrote.

    Raises:
        DataError: If it cannot be read, or is of another version.
        DamagedFile: If it is not what was written.
        MissingExtra: If ``safetensors`` is not installed.
    """
    manifest, tensors = _read(path)
    if manifest.get("format") != FORMAT:
        raise DataError(path, f"is no adaptor: its format is not {FORMAT}")
    if manifest.get("version") != VERSION:
        found = manifest.get("version")
        raise DataError(path, f"adaptor format {found} != {VERSION}: fit it again")
    try:
        adaptor = _assemble(manifest, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"cannot be read ({error!r}): fit it again") from error
    if adaptor.digest() != manifest["digest"]:
        raise DamagedFile(path, "has another checksum than when written: fit it again")
    return adaptor


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Embeddings]]:
    library = require("safetensors", extra="models")
    try:
        with library.safe_open(path, framework="numpy") as file:
            manifest = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            return manifest, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, library.SafetensorError) as error:
        first_line = str(error).partition("\n")[0]
        raise DataError(path, f"cannot be read as an adaptor ({first_line})") from error


def _assemble(manifest: dict[str, Any], tensors: dict[str, Embeddings]) -> Adaptor:
    heads = {
        kind: Head(
            **{
                name.partition(".")[2]: array
                for name, array in tensors.items()
                if name.startswith(f"{kind}.")
            }
        )
        for kind in (("documents", "queries") if manifest["two_heads"] else ("documents",))
    }
    if manifest["method"] not in METHODS:
        raise ValueError(f"method {manifest['method']}")
    return Adaptor(
        method=manifest["method"],
        dims=tuple(manifest["dims"]),
        base=manifest["base"],
        base_name=manifest["base_name"],
        layer_norm=manifest["layer_norm"],
        documents=heads["documents"],
        queries=heads.get("queries", heads["documents"]),
        seed=manifest["seed"],
        fitted=manifest["fitted"],
    )
