"""Any other Sentence Transformers model, run by that library on PyTorch.

Loads from a folder only (``load`` brings hub models into one), a transformer's weights from
safetensors only, and encodes at full width: cutting and normalizing are the codec's work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from itertools import count as counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from nestvec.errors import DataError, ModelError, require
from nestvec.files.mapped import new_embeddings
from nestvec.models.base import BaseEncoder
from nestvec.models.info import ModelOptions, describe
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DType = Literal["float32", "bfloat16"]
DTYPES: tuple[DType, ...] = get_args(DType)
_LIBRARIES = ("sentence-transformers", "tokenizers", "torch", "transformers")
_BATCH = 32  # texts in one call of the model; the library's default
CHUNK = 1024  # texts between two reports of progress; the library sorts each chunk by length


class SentenceTransformerEncoder(BaseEncoder):
    """A Sentence Transformers model in memory."""

    def __init__(
        self, info: ModelInfo, model: SentenceTransformer, *, dtype: DType = "float32"
    ) -> None:
        """Wrap a model that is loaded already; ``dtype`` is what it computes in."""
        self._info = replace(info, dtype=dtype)
        self._dtype: DType = dtype
        self._model: Any = model

    @classmethod
    def load(
        cls,
        folder: Path,
        options: ModelOptions,
        *,
        device: str | None = None,
        dtype: DType = "float32",
        trust_remote_code: bool = False,
    ) -> SentenceTransformerEncoder:
        """Load a model folder.

        Args:
            folder: A folder that the library loads.
            options: What the user sets for the model.
            device: A PyTorch device; None leaves the choice to the library.
            dtype: What the model computes in. On CPUs with AMX or AVX512-BF16, bfloat16 is
                about 3 times as fast. What it returns is float32 either way.
            trust_remote_code: True lets the folder's own Python code run.

        Raises:
            ModelError: If the library cannot load the folder.
            InvalidArgument: If a width that is asked for is above the model's.
            MissingExtra: If ``sentence_transformers`` is not installed.
        """
        library = require("sentence_transformers", extra="models")
        try:
            with quiet():
                model = library.SentenceTransformer(
                    str(folder),
                    device=device,
                    trust_remote_code=trust_remote_code,
                    model_kwargs={"dtype": dtype, "use_safetensors": True},
                )
        except Exception as error:  # three libraries and a model's own code may fail here
            raise ModelError(f"{options.name}: {_why(error)}") from error
        info = describe(
            folder,
            options,
            full_dim=full_dim_of(model, options.name),
            max_tokens=max_tokens_of(model),
        )
        return cls(info, model, dtype=dtype)

    @property
    def info(self) -> ModelInfo:
        """What is known of the model."""
        return self._info

    @property
    def library_model(self) -> SentenceTransformer:
        """The library's own model."""
        model: SentenceTransformer = self._model
        return model

    @property
    def dtype(self) -> DType:
        """What it computes in."""
        return self._dtype

    @property
    def settings(self) -> dict[str, str]:
        """What decides the vectors beside ``info``."""
        return settings(self._dtype)

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts as the model gives them, float32 [n, full_dim]."""
        # Not plain `encode`: models with two towers route by these.
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        embeddings = new_embeddings(len(texts), self._info.full_dim)
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            with self._after_each_batch(on_progress, start, len(chunk), len(texts)):
                embeddings[start : start + len(chunk)] = encode(
                    chunk,
                    prompt=self._prompt(kind),
                    batch_size=_BATCH,
                    show_progress_bar=False,
                    normalize_embeddings=False,
                )
            if on_progress is not None:
                on_progress(start + len(chunk), len(texts))
        return embeddings

    @contextmanager
    def _after_each_batch(
        self, on_progress: OnProgress | None, before: int, n_chunk: int, total: int
    ) -> Iterator[None]:
        """Report progress within a chunk, which is minutes of work for a slow model."""
        if on_progress is None or n_chunk <= _BATCH:
            yield
            return
        batches = counter(1)

        def report(*_: object) -> None:
            done = next(batches) * _BATCH
            if done < n_chunk:  # the caller reports the whole chunk
                on_progress(before + done, total)

        hook = self._model[0].register_forward_hook(report)
        try:
            yield
        finally:
            hook.remove()

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that have more tokens, with their prompt, than the model reads."""
        limit = self._info.max_tokens
        if limit is None:
            return 0
        prompt, tokenizer = self._prompt(kind), self._model.tokenizer
        count = 0
        with quiet():  # the library would warn of each text that is too long
            for start in range(0, len(texts), CHUNK):  # tokens of a whole corpus fill the memory
                chunk = [prompt + text for text in texts[start : start + CHUNK]]
                count += sum(len(ids) > limit for ids in tokenizer(chunk)["input_ids"])
        return count

    def _prompt(self, kind: Kind) -> str:
        return self._info.query_prompt if kind == "query" else self._info.document_prompt


def settings(dtype: DType) -> dict[str, str]:
    """Return what decides a model's vectors beside its files: dtype, versions of libraries."""
    return {"dtype": dtype, **{name: _version(name) for name in _LIBRARIES}}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def full_dim_of(model: Any, name: str) -> int:
    """Return the width of a library model's embeddings.

    Raises:
        ModelError: If the model has none.
    """
    full_dim = model.get_embedding_dimension()
    if full_dim is None:
        raise ModelError(f"{name}: does not say how wide its embeddings are")
    return int(full_dim)


def max_tokens_of(model: Any) -> int | None:
    """Return how many tokens of a text a library model reads; None where there is no limit."""
    limit = model.max_seq_length
    return int(limit) if limit is not None and math.isfinite(limit) else None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or repr(error)


def _why(error: Exception) -> str:
    first_line = _first_line(error)
    if "trust_remote_code" in str(error):
        return "runs code of its own: pass trust_remote_code=True if you trust its source"
    return f"cannot be loaded by Sentence Transformers ({first_line})"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell in one way that a model cannot be written; each library has an error of its own.

    Raises:
        DataError: If the block fails to write.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise DataError(path, f"cannot be written ({_first_line(error)})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Let the libraries draw no bars of their own while ours has the word, and warn of nothing."""
    from transformers.utils import logging

    had_bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
