"""Encode with a Sentence Transformers model on PyTorch.

Models are loaded from a local folder, and their weights from safetensors files only. ``load``
downloads hub models. Embeddings are neither normalized nor truncated: a ``truncate_dim`` that the
library saved in the folder, or that a model in memory has, is not applied.

Texts are padded on the right. Padding on the left would shift the positions of a text's tokens, so
that the vector of a model with learned positions would depend on the other texts of its batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import metadata
from itertools import count as counter
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, get_args

from nestvec.errors import DataError, ModelError, first_line, require
from nestvec.files.mapped import new_embeddings
from nestvec.models.base import BaseEncoder
from nestvec.models.failures import encoding_errors
from nestvec.models.info import ModelOptions, describe
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DType = Literal["float32", "bfloat16"]
DTYPES: tuple[DType, ...] = get_args(DType)
_LIBRARIES = ("sentence-transformers", "tokenizers", "torch", "transformers")
_logger = logging.getLogger(__name__)
_PADDING = Lock()  # a tokenizer is shared by all encoders of a model in memory
_BATCH = 32  # texts in one call of the model; the default of the library
CHUNK = 1024  # texts between two progress reports; the library sorts each chunk by length


class SentenceTransformerEncoder(BaseEncoder):
    """A Sentence Transformers model in memory."""

    def __init__(
        self, info: ModelInfo, model: SentenceTransformer, *, dtype: DType = "float32"
    ) -> None:
        """Wrap a loaded model; ``dtype`` is the data type of its computation."""
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
            folder: The model folder.
            options: What the user sets for the model.
            device: A PyTorch device; None lets the library choose.
            dtype: Data type of the computation. On CPUs with AMX or AVX512-BF16, bfloat16 is
                about 3 times as fast. Embeddings are always float32.
            trust_remote_code: Whether to run Python code from the folder.

        Raises:
            ModelError: If the library cannot load the folder.
            InvalidArgument: If a requested dim is larger than full_dim.
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
        except Exception as error:  # three libraries and remote code can raise any error
            raise ModelError(f"{options.name}: {_load_failure(error)}") from error
        info = describe(
            folder,
            options,
            full_dim=full_dim_of(model, options.name),
            max_tokens=max_tokens_of(model),
        )
        _warn_of_unused_task(info, model)
        return cls(info, model, dtype=dtype)

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        return self._info

    @property
    def library_model(self) -> SentenceTransformer:
        """The wrapped ``SentenceTransformer``."""
        model: SentenceTransformer = self._model
        return model

    @property
    def dtype(self) -> DType:
        """Data type of the computation."""
        return self._dtype

    @property
    def settings(self) -> dict[str, str]:
        """Settings that affect vectors and are not in ``info``."""
        return settings(self._dtype)

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts, float32 [n, full_dim], neither normalized nor truncated."""
        # Models with two towers need encode_query and encode_document instead of encode. These two
        # set the task "query" or "document", so only encode accepts another task.
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        if task := getattr(self._info, f"{kind}_task"):
            encode = partial(self._model.encode, task=task)
        embeddings = new_embeddings(len(texts), self._info.full_dim)
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            with (
                encoding_errors(self._info.name),
                self._padded_right(),
                self._after_each_batch(on_progress, start, len(chunk), len(texts)),
            ):
                embeddings[start : start + len(chunk)] = encode(
                    chunk,
                    prompt=self._info.prompts[kind],
                    batch_size=_BATCH,
                    show_progress_bar=False,
                    normalize_embeddings=False,
                    truncate_dim=self._info.full_dim,
                )
            if on_progress is not None:
                on_progress(start + len(chunk), len(texts))
        return embeddings

    @contextmanager
    def _padded_right(self) -> Iterator[None]:
        tokenizer: Any = getattr(self._model, "tokenizer", None)
        if getattr(tokenizer, "padding_side", "right") == "right":
            yield
            return
        with _PADDING:
            side, tokenizer.padding_side = tokenizer.padding_side, "right"
            try:
                yield
            finally:
                tokenizer.padding_side = side

    @contextmanager
    def _after_each_batch(
        self, on_progress: OnProgress | None, before: int, n_chunk: int, total: int
    ) -> Iterator[None]:
        """Report progress after each batch: a chunk can take a slow model minutes."""
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
        """Count the texts that, with their prompt, have more than max_tokens tokens."""
        limit = self._info.max_tokens
        if limit is None:
            return 0
        prompt, tokenizer = self._info.prompts[kind], self._model.tokenizer
        count = 0
        with quiet(), encoding_errors(self._info.name):  # the library warns about long texts
            for start in range(0, len(texts), CHUNK):  # limits memory
                chunk = [prompt + text for text in texts[start : start + CHUNK]]
                count += sum(len(ids) > limit for ids in tokenizer(chunk)["input_ids"])
        return count


def settings(dtype: DType) -> dict[str, str]:
    """Return the settings that affect vectors besides the model: dtype, library versions."""
    return {"dtype": dtype, **{name: _version(name) for name in _LIBRARIES}}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def full_dim_of(model: Any, name: str) -> int:
    """Return the number of dimensions of a ``SentenceTransformer``'s embeddings, not truncated.

    Raises:
        ModelError: If the model does not report it.
    """
    with model.truncate_embeddings(None):
        full_dim = model.get_embedding_dimension()
    if full_dim is None:
        raise ModelError(f"{name}: does not report the number of dimensions of its embeddings.")
    return int(full_dim)


def max_tokens_of(model: Any) -> int | None:
    """Return the maximum tokens of a ``SentenceTransformer``; None without a limit."""
    limit = model.max_seq_length
    return int(limit) if limit is not None and math.isfinite(limit) else None


def _warn_of_unused_task(info: ModelInfo, model: Any) -> None:
    if info.query_task and "task" not in model.get_model_kwargs():
        _logger.warning(
            "%s is known as a model with a task argument (queries %r, documents %r), but its "
            "modules accept no task, so the tasks have no effect.",
            *(info.name, info.query_task, info.document_task),
        )


def _load_failure(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "requires its own code. If you trust its source, pass trust_remote_code=True."
    return f"cannot be loaded by Sentence Transformers ({first_line(error)})"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert the errors of all libraries when writing a model to ``DataError``.

    Raises:
        DataError: If the block fails to write.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise DataError(path, f"cannot be written ({first_line(error)})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Disable progress bars and warnings of the libraries."""
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
