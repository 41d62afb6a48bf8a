"""Static models: the embedding of a text is the mean of the table rows of its tokens.

Loads and saves plain Sentence Transformers folders with a StaticEmbedding module and optionally a
Normalize module. The embeddings equal those of Sentence Transformers, but neither PyTorch nor
Sentence Transformers is imported. Folders of model2vec are loaded with the embeddings of model2vec.
``train`` trains static models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument, ModelError, require
from nestvec.files.atomic import replace_folder
from nestvec.files.mapped import new_embeddings
from nestvec.models.base import BaseEncoder
from nestvec.models.folder_config import write_config
from nestvec.models.info import ModelOptions, describe
from nestvec.models.model2vec import (
    TABLE,
    is_model2vec,
    open_tensors,
    read_settings,
    read_table,
    unknown_token_of,
)
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from tokenizers import Tokenizer

CHUNK = 1024  # texts at a time; limits the memory for their tokens
_FEW = 512  # tokens; the rows of texts with more tokens are not copied
_WEIGHTS = "embedding.weight"
MARKER = "modules.json"
# All releases of Sentence Transformers with static models (3.2 and later) load this name.
_MODULE = "sentence_transformers.models.StaticEmbedding"


class StaticEncoder(BaseEncoder):
    """A static model in memory."""

    def __init__(
        self,
        info: ModelInfo,
        tokenizer: Tokenizer,
        table: Embeddings,
        *,
        normalize: bool = False,
        dropped: int | None = None,
    ) -> None:
        """Create an encoder from a tokenizer and a table.

        Args:
            info: Information about the model.
            tokenizer: Token ids are rows of the table; padding is disabled.
            table: [vocabulary, full_dim].
            normalize: Whether the model normalizes its embeddings.
            dropped: A token id that is left out of the mean.

        Raises:
            ModelError: If the tokenizer has ids without a row in the table.
        """
        last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if last >= len(table):
            raise ModelError(
                f"{info.name}: has token id {last}, but the table has {len(table)} rows."
            )
        tokenizer.no_padding()
        self._info = info
        self._tokenizer = tokenizer
        self._table = table
        self._normalize = normalize
        self._dropped = dropped

    @classmethod
    def load(cls, folder: Path, options: ModelOptions) -> StaticEncoder:
        """Load a folder that ``is_static`` or ``is_model2vec`` accepts.

        Raises:
            ModelError: If the files cannot be read or do not match.
            InvalidArgument: If a requested dim is larger than full_dim.
            MissingExtra: If ``tokenizers`` or ``safetensors`` is not installed.
        """
        if is_model2vec(folder):
            return cls._load_model2vec(folder, options)
        modules = _modules(folder)
        place = folder / modules[0]["path"]
        tokenizer, table = _read_tokenizer(place / "tokenizer.json"), _read_table(place)
        limit = None if tokenizer.truncation is None else tokenizer.truncation["max_length"]
        info = describe(folder, options, full_dim=table.shape[1], max_tokens=limit)
        return cls(info, tokenizer, table, normalize=len(modules) > 1)

    @classmethod
    def _load_model2vec(cls, folder: Path, options: ModelOptions) -> StaticEncoder:
        tokenizer, table = _read_tokenizer(folder / "tokenizer.json"), read_table(folder)
        normalize, limit = read_settings(folder)
        if limit is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(limit)
        info = describe(folder, options, full_dim=table.shape[1], max_tokens=limit)
        unknown = unknown_token_of(tokenizer)
        return cls(info, tokenizer, table, normalize=normalize, dropped=unknown)

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; token ids are rows of the table."""
        return self._tokenizer

    @property
    def table(self) -> Embeddings:
        """Token vectors, [vocabulary, full_dim]; some rows may have no token."""
        return self._table

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Return the mean of each text's token rows, [n, full_dim]; zeros without tokens."""
        embeddings = new_embeddings(len(texts), self._info.full_dim)
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            embeddings[start : start + len(chunk)] = self.encode_tokens(
                self.tokenize(chunk, kind=kind)
            )
            if on_progress is not None:
                on_progress(start + len(chunk), len(texts))
        return embeddings

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that the tokenizer truncates; most static models have no limit."""
        if self._info.max_tokens is None:
            return 0
        count = 0
        for start in range(0, len(texts), CHUNK):
            encodings = self._tokenizer.encode_batch(
                self._prompted(texts[start : start + CHUNK], kind), add_special_tokens=False
            )
            count += sum(bool(encoding.overflowing) for encoding in encodings)
        return count

    @property
    def vocabulary(self) -> int:
        """Number of rows of the table."""
        return len(self._table)

    @property
    def special_tokens(self) -> tuple[Sequence[int], Sequence[int]]:
        """Nothing: a text of a static model has no special tokens."""
        return (), ()

    def tokenize(self, texts: Sequence[str], *, kind: Kind) -> list[list[int]]:
        """Return the token ids of each text."""
        encodings = self._tokenizer.encode_batch_fast(
            self._prompted(texts, kind), add_special_tokens=False
        )
        if self._dropped is None:
            return [encoding.ids for encoding in encodings]
        return [[id_ for id_ in encoding.ids if id_ != self._dropped] for encoding in encodings]

    def encode_tokens(self, ids: Sequence[Sequence[int]]) -> Embeddings:
        """Return the mean of the rows of each text, [n, full_dim]."""
        if len(ids) == 1:  # the matrix of a search's query takes longer to build than to use
            return self._finished(self._sum_of(ids[0]), [len(ids[0])])
        counts = token_counts(ids, len(self._table))
        sums: Embeddings = counts @ self._table
        return self._finished(sums, np.diff(counts.indptr))

    def _sum_of(self, ids: Sequence[int]) -> Embeddings:
        """Return the sum of rows, [1, full_dim], added in the order of the sparse product."""
        rows = np.asarray(ids, dtype=np.int64)
        if len(rows) > _FEW:
            return token_counts([ids], len(self._table)) @ self._table
        return np.add.reduce(self._table[rows], axis=0, keepdims=True)

    def _finished(self, sums: Embeddings, lengths: Sequence[int] | NDArray[np.int32]) -> Embeddings:
        """Divide sums of rows, [n, full_dim], by the lengths, and normalize the means."""
        means = sums / np.maximum(lengths, 1).astype(np.float32)[:, None]
        if self._normalize:
            norms = np.linalg.norm(means, axis=1, keepdims=True)
            means /= np.maximum(norms, 1e-12)  # as in torch.nn.functional.normalize
        return means

    def _prompted(self, texts: Sequence[str], kind: Kind) -> list[str]:
        prompt = self._info.prompts[kind]
        return [prompt + text for text in texts] if prompt else list(texts)


def token_counts(token_ids: Sequence[Sequence[int]], vocabulary: int) -> csr_array:
    """Return a sparse float32 matrix of ones, [n_texts, vocabulary], one entry for each token.

    A repeated token has several entries in its row. A matrix product adds them up, and the number
    of entries of a row is the length of the text.
    """
    from scipy.sparse import csr_array

    offsets = np.concatenate(([0], np.cumsum([len(ids) for ids in token_ids], dtype=np.int64)))
    columns = np.fromiter(chain.from_iterable(token_ids), dtype=np.int64, count=offsets[-1])
    ones = np.ones(len(columns), dtype=np.float32)
    return csr_array((ones, columns, offsets), shape=(len(token_ids), vocabulary))


def is_static(folder: Path) -> bool:
    """Return whether a folder contains a static model that can be loaded without PyTorch."""
    if not (folder / MARKER).is_file():
        return False
    modules = _modules(folder)
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds[:1] != ["StaticEmbedding"] or kinds[1:] not in ([], ["Normalize"]):
        return False
    return _has_plain_table(folder / modules[0]["path"] / "model.safetensors")


def save_static_model(
    table: Embeddings,
    tokenizer: str | Tokenizer,
    path: Path,
    *,
    matryoshka_dims: Sequence[int],
    extra: Mapping[str, Any],
) -> None:
    """Save a static model as a plain Sentence Transformers folder.

    Args:
        table: float32 [vocabulary, full_dim].
        tokenizer: The tokenizer, or its JSON text.
        path: The folder to create; an existing model folder is replaced.
        matryoshka_dims: Dims that the model was trained for; written to ``config.json``, where
            vLLM reads them.
        extra: More entries of ``config.json``.

    Raises:
        InvalidArgument: If the table is not float32 [vocabulary, full_dim] with finite values, or
            a dim is larger than ``full_dim``.
        DataError: If the folder cannot be written.
    """
    _check_table(table, matryoshka_dims)
    to_bytes = require("safetensors.numpy", extra="models").save
    tokenizer_json = tokenizer if isinstance(tokenizer, str) else tokenizer.to_str()
    configs: dict[str, Any] = {
        "config.json": {**extra, "matryoshka_dimensions": sorted(matryoshka_dims, reverse=True)},
        "config_sentence_transformers.json": {
            "default_prompt_name": None,
            "model_type": "SentenceTransformer",
            "prompts": {"query": "", "document": ""},
            "similarity_fn_name": "cosine",
        },
        MARKER: [{"idx": 0, "name": "0", "path": "", "type": _MODULE}],
    }
    with replace_folder(path, marker=MARKER) as folder:
        for name, values in configs.items():
            write_config(folder / name, values)
        (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
        # Do not use save_file: only the owner could read its file.
        weights = to_bytes({_WEIGHTS: np.ascontiguousarray(table)})
        (folder / "model.safetensors").write_bytes(weights)


def replace_table(folder: Path, table: Embeddings) -> None:
    """Replace the table of a model folder in place; do not use it on a folder in use.

    Args:
        folder: A folder that ``is_static`` or ``is_model2vec`` accepts.
        table: float32, [vocabulary, full_dim].

    Raises:
        InvalidArgument: If the table is not float32, or has NaN or infinite values.
    """
    _check_table(table, ())
    to_bytes = require("safetensors.numpy", extra="models").save
    plain = not is_model2vec(folder)
    place = folder / _modules(folder)[0]["path"] if plain else folder
    tensors = {_WEIGHTS if plain else TABLE: np.ascontiguousarray(table)}
    (place / "model.safetensors").write_bytes(to_bytes(tensors))


def _check_table(table: Embeddings, matryoshka_dims: Sequence[int]) -> None:
    if table.ndim != 2 or table.dtype != np.float32:
        shape = f"{table.dtype} {list(table.shape)}"
        raise InvalidArgument(f"table is {shape}. Pass float32 [vocabulary, full_dim].")
    if not np.isfinite(table).all():
        raise InvalidArgument("table has NaN or infinite values. All must be finite.")
    full_dim = table.shape[1]
    for dim in matryoshka_dims:
        if not 1 <= dim <= full_dim:
            raise InvalidArgument(f"dim={dim} is not from 1 to full_dim={full_dim}.")


def _modules(folder: Path) -> list[dict[str, str]]:
    file = folder / MARKER
    try:
        modules = json.loads(file.read_text(encoding="utf-8"))
        return [{"type": str(module["type"]), "path": str(module["path"])} for module in modules]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: is not a list of modules ({error!r})") from error


def _has_plain_table(file: Path) -> bool:
    # Folders of model2vec have other tensor names and may weight or map tokens, and NumPy has no
    # bfloat16. Sentence Transformers loads these models.
    if not file.is_file():
        return False
    with open_tensors(file) as tensors:
        names = list(tensors.keys())
        return names == [_WEIGHTS] and tensors.get_slice(_WEIGHTS).get_dtype() in ("F32", "F16")


def _read_table(place: Path) -> Embeddings:
    load_file = require("safetensors.numpy", extra="models").load_file
    table: Embeddings = load_file(place / "model.safetensors")[_WEIGHTS].astype(np.float32)
    return table


def _read_tokenizer(file: Path) -> Tokenizer:
    tokenizers = require("tokenizers", extra="models")
    try:
        tokenizer: Tokenizer = tokenizers.Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises no narrower type
        raise ModelError(f"{file}: is not a tokenizer ({error})") from error
    return tokenizer
