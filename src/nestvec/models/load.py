"""Load a model by path or hub id.

The content of the folder determines the encoder: precomputed vectors, a static model, or another
Sentence Transformers model. Hub models are downloaded to a local folder first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from nestvec.errors import InvalidArgument, ModelError, require
from nestvec.models.api.address import is_api_name
from nestvec.models.api.dialects import DIALECTS
from nestvec.models.api.loading import load_api_model
from nestvec.models.cache import default_cache_folder
from nestvec.models.device import check_device, warn_if_unused
from nestvec.models.folder_config import CONFIG, read_config
from nestvec.models.in_memory import encoder_in_memory
from nestvec.models.info import ModelOptions, refuse_dtype
from nestvec.models.known import Rows, find_known
from nestvec.models.lazy import load_cached
from nestvec.models.model2vec import is_model2vec
from nestvec.models.notices import warn_of_folder
from nestvec.models.precomputed import PrecomputedVectors, has_vectors
from nestvec.models.sentence_transformer import DType, SentenceTransformerEncoder, settings
from nestvec.models.sharing import PairOptions, load_pair
from nestvec.models.static import StaticEncoder, is_static
from nestvec.models.transformer import TransformerEncoder, exposes_tokens, fast_dtype
from nestvec.types import Encoder, Kind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    ModelLike: TypeAlias = Encoder | SentenceTransformer | str | Path
    """What is accepted as a model: an encoder, a model in memory, a folder or a hub id."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_DEFAULT_OWNER = "sentence-transformers"  # for unknown names without an owner
# Neither pickled weights nor copies in other formats.
_DOWNLOADED = ["*.json", "*.txt", "*.model", "*.py", "*.safetensors"]
ENCODER_MEMBERS = ("info", "encode", "count_truncated")
_NOT_DOWNLOADED = ["onnx/*", "openvino/*"]
_STORED = "Its vectors are stored, so no text is encoded."
_AT_AN_API = "The model runs at its API."
_ON_CPU = "A static model runs on the CPU in float32."


def load_model(  # noqa: PLR0913 - every argument is keyword-only
    name_or_path: str | Path,
    *,
    dims: Sequence[int] | None = None,
    prompts: Mapping[Kind, str] | None = None,
    device: str | None = None,
    dtype: DType | None = "float32",
    trust_remote_code: bool = False,
    cache: Path | bool | None = None,
    models: Rows | None = None,
    model: str | None = None,
    query_model: str | Path | None = None,
    same_space: bool = False,
    base_url: str | None = None,
) -> Encoder:
    """Load a model folder, vectors, a model of the Hugging Face hub, or an API model.

    Args:
        name_or_path: The folder, a file or folder of vectors, a hub id such as
            ``"BAAI/bge-small-en-v1.5"``, or an API model such as
            ``"openai:text-embedding-3-large"``.
        dims: Dims to measure; overrides the model's configuration. full_dim is always added.
        prompts: Prefixes of texts by kind ("query", "document"); override the model's
            configuration. ``nestvec.models.prompts`` describes where prompts come from otherwise.
        device: A PyTorch device: "cpu", "cuda", "cuda:1", "mps". None lets Sentence Transformers
            choose. Static models and precomputed vectors use no device.
        dtype: Data type of the computation. None selects bfloat16 if the processor supports it.
            Static models and precomputed vectors are always float32.
        trust_remote_code: Whether to run Python code from the model folder.
        cache: Folder of the embedding cache; True selects the folder that the commands use
            (``$NESTVEC_CACHE``). Cached texts are not encoded again. Static models and
            precomputed vectors are not cached: they are faster than a disk. API models are cached
            by default; False disables the cache.
        models: A TOML file with rows of known models, or such rows. These rows take precedence
            over nestvec's own table. None uses the file that ``$NESTVEC_MODELS`` names, if any.
        model: Name of the model that computed the vectors of a folder of vectors; None for the
            name that the folder records, else the name of the folder.
        query_model: Another model that encodes queries; it must share a space with the model of
            documents. The query prompt is then its prompt.
        same_space: Whether you know that both models share a space. Families in the table of
            known models do not require this.
        base_url: Address of the server of an API model, such as ``"http://127.0.0.1:8000/v1"``.
            By default, the address of the vendor.

    Raises:
        ModelError: If there is no such model, or it cannot be loaded.
        DataError: If a folder of vectors or ``models`` cannot be used, or the cache cannot be
            written.
        InvalidArgument: If a dim is not from 1 to full_dim or the model must not be truncated, a
            prompt has an unknown kind, the device is not available, or the model must not compute
            in ``dtype``.
        ModelMismatch: If it is not known that the two models share a space.
        MissingExtra: If a required library is not installed.
    """
    if query_model is not None or same_space:
        load_any = partial(
            _load_at,
            base_url,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            cache=cache,
            models=models,
        )
        documents = partial(load_any, name_or_path, dims=dims, model=model)
        pair = PairOptions(query_model, same_space, prompts or {}, models)
        return load_pair(documents, load_any, pair)
    options = _options(name_or_path, dims, prompts, models)
    cache_folder = default_cache_folder() if cache is True else cache or None
    if is_api_name(options.name):
        warn_if_unused(options.name, _AT_AN_API, device=device, dtype=dtype)
        place = default_cache_folder() if cache is None else cache_folder
        return load_api_model(options, base_url=base_url, cache=place)
    if base_url is not None:
        problem = f"{options.name}: is not an API model, so base_url={base_url!r:.80} has no effect"
        raise InvalidArgument(f"{problem}. Load it as openai:{options.name}, or omit base_url.")
    folder = local_path(options.name, models)
    if has_vectors(folder):
        warn_if_unused(options.name, _STORED, device=device, dtype=dtype)
        return _load_vectors(folder, options, model)
    if model is not None:
        raise InvalidArgument(
            f"{folder}: is a model, so model={model!r} has no effect. Remove this argument."
        )
    if is_static(folder) or is_model2vec(folder):
        warn_if_unused(options.name, _ON_CPU, device=device, dtype=dtype)
        encoder: Encoder = StaticEncoder.load(folder, options)
    else:
        _check_model_folder(folder)
        check_device(device)
        chosen = _dtype(options, dtype)
        load = partial(_load_transformer, folder, options, device, chosen, trust_remote_code)
        encoder = _cached(folder, options, chosen, load, cache=cache_folder, device=device)
    warn_of_folder(folder, encoder.info, options)
    return encoder


def _cached(
    folder: Path,
    options: ModelOptions,
    dtype: DType,
    load: Callable[[], SentenceTransformerEncoder],
    *,
    cache: Path | None,
    device: str | None,
) -> Encoder:
    """Return the model with a cache; without a cache folder, load the model at once."""
    if cache is None:
        return load()
    return load_cached(folder, options, settings(dtype), load, cache=cache, device=device)


def _load_vectors(folder: Path, options: ModelOptions, model: str | None) -> PrecomputedVectors:
    if options.prompts:
        raise InvalidArgument(
            f"{folder}: contains vectors, so prompts have no effect. Remove the prompts."
        )
    return PrecomputedVectors.load(folder, model=model, dims=options.dims, models=options.models)


def _load_at(base_url: str | None, name_or_path: str | Path, **options: Any) -> Encoder:
    """Load one model of a pair: the address applies to a model that is behind an API."""
    url = base_url if is_api_name(str(name_or_path)) else None
    return load_model(name_or_path, base_url=url, **options)


def _options(
    name_or_path: object,
    dims: Sequence[int] | None,
    prompts: Mapping[Kind, str] | None,
    models: Rows | None,
) -> ModelOptions:
    if not isinstance(name_or_path, str | Path):
        kind = type(name_or_path).__name__
        raise InvalidArgument(f"name_or_path has the type {kind}. Pass a folder or a hub id.")
    chosen = None if dims is None else tuple(dims)
    return ModelOptions(str(name_or_path), chosen, prompts or {}, models)


def _dtype(options: ModelOptions, requested: DType | None) -> DType:
    """Return the data type that a model computes in; None requests the fastest allowed one."""
    if requested is None:
        known, fastest = find_known(options.name, options.models), fast_dtype()
        return "float32" if known is not None and fastest in known.refused_dtypes else fastest
    refuse_dtype(options.name, requested, options.models)
    return requested


def _check_one_vector(name: str, models: Rows | None = None, folder: Path | None = None) -> None:
    """Refuse models that return a vector for each token.

    Without this check, such a model would be loaded as a plain transformer with mean pooling.

    Raises:
        ModelError: If the row of the model or the configuration in its folder states this.
    """
    known = find_known(name, models)
    stated = [] if folder is None else read_config(folder / CONFIG).get("architectures") or []
    colbert = any("colbert" in str(each).lower() for each in stated)
    if colbert or (known is not None and known.multi_vector):
        problem = f"{name}: returns a vector for each token (multi-vector, as ColBERT does)"
        raise ModelError(f"{problem}. Choose a model that returns one vector for each text.")


def _check_model_folder(folder: Path) -> None:
    _check_one_vector(str(folder), folder=folder)
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise ModelError(
            f"{folder}: contains no model (modules.json or config.json) "
            "and no vectors (such as corpus.npy or corpus.parquet)."
        )


def as_encoder(model: ModelLike) -> Encoder:
    """Return an encoder for anything that is accepted as a model.

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
        f"model has the type {kind}. Pass a path, a result of load_model, a SentenceTransformer, "
        f"or an object with {', '.join(ENCODER_MEMBERS)}."
    )


def is_library_model(model: object) -> TypeGuard[SentenceTransformer]:
    """Return whether an object is a ``SentenceTransformer``, without importing the library."""
    library = sys.modules.get("sentence_transformers")
    return library is not None and isinstance(model, library.SentenceTransformer)


def _load_transformer(
    folder: Path, options: ModelOptions, device: str | None, dtype: DType, trust_remote_code: bool
) -> SentenceTransformerEncoder:
    encoder = SentenceTransformerEncoder.load(
        folder, options, device=device, dtype=dtype, trust_remote_code=trust_remote_code
    )
    return TransformerEncoder(encoder) if exposes_tokens(encoder) else encoder


def local_path(name: str, models: Rows | None = None) -> Path:
    """Return the folder of a model, or a file of vectors; hub models are downloaded.

    Args:
        name: A path, or a hub id.
        models: As in ``load_model``; the rows complete hub ids without an owner.

    Raises:
        ModelError: If there is neither such a folder, nor such a file, nor such a hub model.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        if has_vectors(path):
            return path
        raise ModelError(f"{path}: is a file without vectors. Pass the model's folder.")
    if not _HUB_ID.fullmatch(name):
        raise ModelError(f"{name}: there is no such folder.")
    return _download(_hub_id(name, models), name)


def _hub_id(name: str, models: Rows | None) -> str:
    _check_one_vector(name, models)
    known = find_known(name, models)
    if known is not None and known.api:
        raise ModelError(
            f"{name} is available through an API only. Put the name of the API first, as in "
            f"openai:text-embedding-3-large (one of {', '.join(DIALECTS)}), or pass a folder of "
            "its vectors."
        )
    if "/" in name:
        return name
    return f"{_DEFAULT_OWNER}/{name}" if known is None else known.name


def _download(hub_id: str, name: str) -> Path:
    hub = require("huggingface_hub", extra="models")
    try:
        with _without_bars():
            folder = hub.snapshot_download(
                hub_id, allow_patterns=_DOWNLOADED, ignore_patterns=_NOT_DOWNLOADED
            )
    except (OSError, ValueError) as error:  # all errors of the hub library are of these types
        raise ModelError(
            f"{name}: is not a folder, and the Hugging Face hub cannot be reached or has no such "
            "model. Check the name, or copy the model's folder here and pass its path."
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
