"""Load a model by path or hub id.

The content of the folder determines the encoder: precomputed vectors, a static model, or another
Sentence Transformers model. Hub models are downloaded to a local folder first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from nestvec.curve.sample import Draw
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
from nestvec.sources.places import shown_place
from nestvec.sources.schemes import is_vectors_url
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
    sample: int | None = None,
    seed: int = 0,
) -> Encoder:
    """Load a model folder, vectors, a model of the Hugging Face hub, or an API model.

    Args:
        name_or_path: A model folder, a file or folder of vectors, the URL of a database with
            vectors, a hub id such as ``"BAAI/bge-small-en-v1.5"``, or an API model:
            ``"openai:text-embedding-3-large"``.
        dims: Dims to measure instead of the configured ones. full_dim is always added.
        prompts: Prefixes of texts by kind ("query", "document") instead of the configured ones.
        device: A PyTorch device, such as "cuda:1". None lets Sentence Transformers choose.
        dtype: Data type of the computation. None selects bfloat16 if the processor supports it.
        trust_remote_code: Whether to run Python code from the model folder.
        cache: Folder of the embedding cache; True selects the folder that the commands use. None
            caches only API models. Static models and stored vectors are never cached.
        models: Known models that override nestvec's own table: rows, or a TOML file of rows.
            None uses the file that ``$NESTVEC_MODELS`` names, if any.
        model: Name of the model that computed stored vectors, instead of the recorded name.
        query_model: Another model, which encodes queries; the query prompt is then its prompt.
        same_space: Whether you know that both models share a space. Families in the table of
            known models do not require this.
        base_url: Address of the server of an API model. None selects the address of the vendor.
        sample: Number of stored vectors of documents to read, chosen at random; None for all.
        seed: Seed of the sample.

    Raises:
        ModelError: If there is no such model, or it cannot be loaded.
        DataError: If vectors or ``models`` cannot be used, or the cache cannot be written.
        InvalidArgument: If the model does not allow the value of an argument.
        ModelMismatch: If it is not known that the two models share a space.
        MissingExtra: If a required library is not installed.
    """
    loader = _Loader(device, dtype, trust_remote_code, cache, models, base_url)
    draw = None if sample is None else Draw(sample, seed)
    if query_model is None and not same_space:
        return loader.load(name_or_path, dims=dims, prompts=prompts, model=model, draw=draw)
    documents = partial(loader.load_one_of_pair, name_or_path, dims=dims, model=model, draw=draw)
    pair = PairOptions(query_model, same_space, prompts or {}, models)
    return load_pair(documents, loader.load_one_of_pair, pair)


@dataclass(frozen=True)
class _Loader:
    """Loads models by name. The fields are the arguments that both models of a pair share."""

    device: str | None
    dtype: DType | None
    trust_remote_code: bool
    cache: Path | bool | None
    models: Rows | None
    base_url: str | None

    def load(
        self,
        name_or_path: str | Path,
        *,
        dims: Sequence[int] | None = None,
        prompts: Mapping[Kind, str] | None = None,
        model: str | None = None,
        draw: Draw | None = None,
    ) -> Encoder:
        """Load one model; the arguments are those of ``load_model``."""
        options = _options(name_or_path, dims, prompts, self.models)
        if is_api_name(options.name):
            _refuse_sample(options.name, draw)
            return self._load_api_model(options)
        if self.base_url is not None:
            url = f"base_url={self.base_url!r:.80}"
            problem = f"{options.name}: is not an API model, so {url} has no effect"
            raise InvalidArgument(f"{problem}. Load it as openai:{options.name}, or omit base_url.")
        if is_vectors_url(options.name):
            self._warn_if_unused(options, _STORED)
            return _load_vectors(options.name, options, model, draw)
        folder = local_path(options.name, self.models)
        if has_vectors(folder):
            self._warn_if_unused(options, _STORED)
            return _load_vectors(folder, options, model, draw)
        _refuse_sample(options.name, draw)
        if model is not None:
            raise InvalidArgument(
                f"{folder}: is a model, so model={model!r} has no effect. Remove this argument."
            )
        if is_static(folder) or is_model2vec(folder):
            self._warn_if_unused(options, _ON_CPU)
            encoder: Encoder = StaticEncoder.load(folder, options)
        else:
            encoder = self._load_transformer(folder, options)
        warn_of_folder(folder, encoder.info, options)
        return encoder

    def load_one_of_pair(self, name_or_path: str | Path, **options: Any) -> Encoder:
        """Load a model of a pair, in which the address is only for a model behind an API."""
        at_api = is_api_name(str(name_or_path))
        loader = self if at_api else replace(self, base_url=None)
        return loader.load(name_or_path, **options)

    def _load_api_model(self, options: ModelOptions) -> Encoder:
        self._warn_if_unused(options, _AT_AN_API)
        cache = default_cache_folder() if self.cache is None else self._cache_folder
        return load_api_model(options, base_url=self.base_url, cache=cache)

    def _load_transformer(self, folder: Path, options: ModelOptions) -> Encoder:
        """Load a transformer at once or, with a cache, when a text must be encoded."""
        _check_model_folder(folder)
        check_device(self.device)
        dtype, cache = _dtype(options, self.dtype), self._cache_folder
        load = partial(
            _load_transformer, folder, options, self.device, dtype, self.trust_remote_code
        )
        if cache is None:
            return load()
        return load_cached(folder, options, settings(dtype), load, cache=cache, device=self.device)

    @property
    def _cache_folder(self) -> Path | None:
        return default_cache_folder() if self.cache is True else self.cache or None

    def _warn_if_unused(self, options: ModelOptions, why: str) -> None:
        warn_if_unused(options.name, why, device=self.device, dtype=self.dtype)


def _load_vectors(
    place: Path | str, options: ModelOptions, model: str | None, draw: Draw | None
) -> PrecomputedVectors:
    if options.prompts:
        raise InvalidArgument(
            f"{shown_place(place)}: contains vectors, so prompts have no effect. "
            "Remove the prompts."
        )
    return PrecomputedVectors.load(
        place, model=model, dims=options.dims, models=options.models, draw=draw
    )


def _refuse_sample(name: str, draw: Draw | None) -> None:
    if draw is not None:
        problem = f"{name}: is a model, so sample={draw.rows} has no effect"
        raise InvalidArgument(f"{problem}. Pass stored vectors, or omit sample (--sample).")


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
        raise ModelError(f"{shown_place(name)}: there is no such folder.")
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
