"""Save and load adapters: safetensors files with a JSON manifest in the header.

Loading an adapter imports neither PyTorch nor a model. Files may come from untrusted sources, so
loading validates everything that the methods of ``Adapter`` assume.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import DamagedFile, DataError, ModelMismatch, first_line, require
from nestvec.files.atomic import replace_file
from nestvec.models.adapter import METHODS, Adapter, Head
from nestvec.models.folder_config import CONFIG, OWN_KEY, read_config
from nestvec.types import Embeddings
from nestvec.version import __version__

FORMAT, VERSION = "nestvec-adapter", 1
_FORMATS = FORMAT, "nestvec-adaptor"  # the second is from earlier versions
ADAPTER = "adapter.safetensors"
"""File name in an index or a folder of adapted vectors, for adapting vectors added later."""
_EARLIER_ADAPTER = "adaptor.safetensors"
_KEY = "nestvec"  # key in the metadata of the safetensors header
# safetensors raises these for types that NumPy does not have, such as BF16 and F8.
_UNSUPPORTED = TypeError, AttributeError
_TYPES = {
    "method": str,
    "dims": list,
    "full_dim": int,
    "base": str,
    "base_name": str,
    "layer_norm": bool,
    "two_heads": bool,
    "seed": int,
    "digest": str,
    "fitted": dict,
}


def save_adapter(adapter: Adapter, path: Path | str) -> None:
    """Write an adapter to a file; an existing file is replaced.

    Raises:
        DataError: If the file cannot be written. An existing file is unchanged.
        MissingExtra: If ``safetensors`` is not installed.
    """
    to_bytes = require("safetensors.numpy", extra="models").save
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"nestvec {__version__}",
        "method": adapter.method,
        "dims": list(adapter.dims),
        "full_dim": adapter.full_dim,
        "base": adapter.base,
        "base_name": adapter.base_name,
        "layer_norm": adapter.layer_norm,
        "two_heads": adapter.two_heads,
        "seed": adapter.seed,
        "digest": adapter.digest(),
        "fitted": dict(adapter.fitted),
    }
    tensors = {
        name: np.ascontiguousarray(array, dtype=np.float32)
        for name, array in adapter.tensors().items()
    }
    content = to_bytes(tensors, metadata={_KEY: json.dumps(manifest)})
    with replace_file(Path(path)) as temporary:
        temporary.write_bytes(content)


def load_adapter(path: Path | str) -> Adapter:
    """Load a file that ``save_adapter`` wrote.

    Raises:
        DataError: If the file cannot be read or has another version.
        DamagedFile: If the content is invalid or the checksum is wrong.
        MissingExtra: If ``safetensors`` is not installed.
    """
    path = Path(path)
    manifest, tensors = _read(path)
    if not isinstance(manifest, dict) or manifest.get("format") not in _FORMATS:
        raise DataError(path, f"is not an adapter: its format is not {FORMAT}.")
    if manifest.get("version") != VERSION:
        found = manifest.get("version")
        raise DataError(path, f"has format version {found!r:.40}, not {VERSION}. Fit it again.")
    try:
        adapter = _assemble(manifest, tensors)
    except ValueError as error:
        raise DamagedFile(path, f"{error}. Fit it again.") from error
    if adapter.digest() != manifest["digest"]:
        raise DamagedFile(path, "is damaged: its checksum is wrong. Fit it again.")
    return adapter


def adapter_path(folder: Path) -> Path:
    """Return the path of a folder's adapter, which earlier versions spelled differently."""
    earlier = folder / _EARLIER_ADAPTER
    return earlier if earlier.exists() else folder / ADAPTER


def _read(path: Path) -> tuple[Any, dict[str, Embeddings]]:
    library = require("safetensors", extra="models")
    try:
        with library.safe_open(path, framework="numpy") as file:
            manifest = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            return manifest, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, RecursionError, library.SafetensorError, *_UNSUPPORTED) as error:
        raise DataError(path, f"cannot be read as an adapter ({first_line(error)})") from error


def _assemble(manifest: Mapping[str, Any], tensors: Mapping[str, Embeddings]) -> Adapter:
    _check_manifest(manifest)
    heads = _heads(manifest, tensors)
    return Adapter(
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


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    for name, kind in _TYPES.items():
        if type(manifest.get(name)) is not kind:  # isinstance would accept True as an int
            raise ValueError(f"its {name} is missing or not of type {kind.__name__}")
    if manifest["method"] not in METHODS:
        raise ValueError(
            f"its method {manifest['method']!r:.40} is not one of {', '.join(METHODS)}"
        )
    dims, full_dim = manifest["dims"], manifest["full_dim"]
    if not dims or any(type(dim) is not int or not 1 <= dim <= full_dim for dim in dims):
        raise ValueError(f"its dims are not whole numbers from 1 to {full_dim}")


def _heads(manifest: Mapping[str, Any], tensors: Mapping[str, Embeddings]) -> dict[str, Head]:
    kinds = ("documents", "queries") if manifest["two_heads"] else ("documents",)
    arrays: dict[str, dict[str, Embeddings]] = {kind: {} for kind in kinds}
    for full_name, array in tensors.items():
        kind, _, name = full_name.partition(".")
        if kind not in arrays:
            raise ValueError(f"it contains the unknown array {full_name!r:.40}")
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"its {full_name!r:.40} has values that are not finite float32")
        arrays[kind][name] = array
    for kind, named in arrays.items():
        _check_shapes(kind, named, manifest["full_dim"])
    return {kind: Head(**named) for kind, named in arrays.items()}


def _check_shapes(kind: str, arrays: Mapping[str, Embeddings], full_dim: int) -> None:
    """Check that a head has all its arrays, no others, and that their shapes match."""
    shapes: dict[str, tuple[int, ...]] = {"matrix": (full_dim, full_dim)}
    if len(arrays) > 1:
        hidden = arrays["bias"].size if "bias" in arrays else 0
        shapes |= {"inner": (full_dim, hidden), "bias": (hidden,), "outer": (hidden, full_dim)}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ValueError(f"its arrays for {kind} do not match an adapter of {full_dim} dims")


def check_unadapted(folder: Path) -> None:
    """Check that a folder does not contain adapted vectors or an adapted model.

    Raises:
        ModelMismatch: If the folder is adapted.
        ModelError: If its ``config.json`` is not a JSON object.
    """
    config = read_config(folder / CONFIG).get(OWN_KEY)
    if isinstance(config, dict) and ("adapter" in config or "adaptor" in config):
        raise ModelMismatch(f"{folder} is adapted already. Pass the original folder.")
