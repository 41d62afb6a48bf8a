"""Load a model by path or hub id, whatever its kind.

Chooses by what the folder holds: vectors, a static table, or anything else that Sentence
Transformers loads. Hub models become a local folder first, so that all are described alike.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeGuard

from nestvec.errors import InvalidArgument, ModelError, require
from nestvec.models.cache import default_cache_folder
from nestvec.models.device import check_device, warn_if_unused
from nestvec.models.in_memory import encoder_in_memory
from nestvec.models.info import ModelOptions
from nestvec.models.known import find_known
from nestvec.models.lazy import load_cached
from nestvec.models.precomputed import PrecomputedVectors, holds_vectors
from nestvec.models.sentence_transformer import DType, SentenceTransformerEncoder, settings
from nestvec.models.static import StaticEncoder, is_static
from nestvec.models.transformer import TransformerEncoder, exposes_tokens, fast_dtype
from nestvec.types import Encoder, Kind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    ModelLike: TypeAlias = Encoder | SentenceTransformer | str | Path
    """What is accepted as a model: an encoder, a model in memory, a folder or a hub id."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_DEFAULT_OWNER = "sentence-transformers"  # of an unknown name without one
# No pickled weights, no copies of them in other formats.
_DOWNLOADED = ["*.json", "*.txt", "*.model", "*.py", "*.safetensors"]
ENCODER_MEMBERS = ("info", "encode", "count_truncated")
_NOT_DOWNLOADED = ["onnx/*", "openvino/*"]
_STORED = "Its vectors are stored, so no text is encoded."
_ON_CPU = "A static model runs on the CPU in float32."


def load_model(  # noqa: PLR0913 - every argument is keyword-only
    name_or_path: str | Path,
    *,
    dims: Sequence[int] | None = None,
    prompts: Mapping[Kind, str] | None = None,
    device: str | None = None,
    dtype: DType | None = "float32",
    trust_remote_code: bool = False,
    cache: Path | Literal[True] | None = None,
) -> Encoder:
    """Load a model folder, a folder of vectors, or a model of the Hugging Face hub.

    Args:
        name_or_path: The folder, or a hub id such as ``"BAAI/bge-small-en-v1.5"``.
        dims: Dims to measure instead of those that the model declares. Its full width is added.
        prompts: Texts put before all texts of a kind ("query", "document"), instead of the
            prompts that the model declares.
        device: A PyTorch device: "cpu", "cuda", "cuda:1", "mps". None leaves the choice to
            Sentence Transformers. Static models and stored vectors use no device.
        dtype: What the model computes in. None selects bfloat16 if the processor supports it.
            Static models and stored vectors are always float32.
        trust_remote_code: Allow the model folder's own Python code to run.
        cache: Store embeddings in this folder, or, if True, in the folder that all commands share
            (``$NESTVEC_CACHE``), and encode only texts that are not stored yet. Static models
            and stored vectors need no cache: they are faster than a disk.

    Raises:
        ModelError: If there is no such model, or it cannot be loaded.
        DataError: If the vectors of a folder cannot be used, or the cache cannot be written.
        InvalidArgument: If a dim is not from 1 to the model's full width, a prompt is of an
            unknown kind, or the device is not available.
        MissingExtra: If a library that this kind of model needs is not installed.
    """
    options = _options(name_or_path, dims, prompts)
    folder = local_folder(options.name)
    if holds_vectors(folder):
        if prompts:
            raise InvalidArgument(f"{folder}: holds vectors, so prompts come too late")
        warn_if_unused(options.name, _STORED, device=device, dtype=dtype)
        return PrecomputedVectors.load(folder, dims=options.dims)
    if is_static(folder):
        warn_if_unused(options.name, _ON_CPU, device=device, dtype=dtype)
        return StaticEncoder.load(folder, options)
    _check_model_folder(folder)
    check_device(device)
    dtype = dtype or fast_dtype()
    load = partial(_load_transformer, folder, options, device, dtype, trust_remote_code)
    if cache is None:
        return load()
    place = default_cache_folder() if cache is True else cache
    return cached(folder, options, settings(dtype), load, cache=place, device=device)


def _options(
    name_or_path: object, dims: Sequence[int] | None, prompts: Mapping[Kind, str] | None
) -> ModelOptions:
    if not isinstance(name_or_path, str | Path):
        kind = type(name_or_path).__name__
        raise InvalidArgument(f"name_or_path has the type {kind}. Pass a folder or a hub id.")
    return ModelOptions(str(name_or_path), None if dims is None else tuple(dims), prompts or {})


def _check_model_folder(folder: Path) -> None:
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise ModelError(
            f"{folder}: holds no model (modules.json or config.json) "
            "and no vectors (corpus.npy or corpus.parquet)"
        )


def as_encoder(model: ModelLike) -> Encoder:
    """Return an encoder for whatever is accepted as a model.

    Args:
        model: An encoder, a ``SentenceTransformer`` in memory, a folder or a hub id.

    Raises:
        InvalidArgument: If ``model`` is none of these.
        ModelError: If a folder or hub id cannot be loaded, or a model in memory cannot be saved.
    """
    if isinstance(model, Encoder):
        return model
    if isinstance(model, str | Path):
        return load_model(model)
    if is_library_model(model):
        return encoder_in_memory(model)
    kind = type(model).__name__
    raise InvalidArgument(
        f"model has the type {kind}. Pass a path, what load_model returns, a SentenceTransformer, "
        f"or an object with {', '.join(ENCODER_MEMBERS)}."
    )


def is_library_model(model: object) -> TypeGuard[SentenceTransformer]:
    """Report whether an object is a ``SentenceTransformer``, without importing that library."""
    library = sys.modules.get("sentence_transformers")
    return library is not None and isinstance(model, library.SentenceTransformer)


def _load_transformer(
    folder: Path, options: ModelOptions, device: str | None, dtype: DType, trust_remote_code: bool
) -> SentenceTransformerEncoder:
    encoder = SentenceTransformerEncoder.load(
        folder, options, device=device, dtype=dtype, trust_remote_code=trust_remote_code
    )
    return TransformerEncoder(encoder) if exposes_tokens(encoder) else encoder


def local_folder(name: str) -> Path:
    """Return the folder of a model: the one named, or a copy of the hub's.

    Raises:
        ModelError: If there is no such folder, and the hub has no such model.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{path}: is a file; name the model's folder")
    if not _HUB_ID.fullmatch(name):
        raise ModelError(f"{name}: there is no such folder")
    return _download(_hub_id(name), name)


def _hub_id(name: str) -> str:
    if "/" in name:
        return name
    known = find_known(name)
    return f"{_DEFAULT_OWNER}/{name}" if known is None else known.names[0]


def _download(hub_id: str, name: str) -> Path:
    hub = require("huggingface_hub", extra="models")
    try:
        with _without_bars():
            folder = hub.snapshot_download(
                hub_id, allow_patterns=_DOWNLOADED, ignore_patterns=_NOT_DOWNLOADED
            )
    except (OSError, ValueError) as error:  # the hub's own errors are all of these
        raise ModelError(
            f"{name}: is no folder here, and the Hugging Face hub cannot be reached or has no "
            "such model: check the name, or copy the model's folder here and name that"
        ) from error
    return Path(folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    bars = require("huggingface_hub.utils", extra="models")
    had_none = bars.are_progress_bars_disabled()
    bars.disable_progress_bars()
    try:
        yield
    finally:
        if not had_none:
            bars.enable_progress_bars()
