"""Static models: a table with one row a token, the mean of a text's rows is its embedding.

Reads and writes plain Sentence Transformers folders with a StaticEmbedding module (and perhaps
Normalize), and gives the same embeddings, without loading PyTorch or Sentence Transformers.
Training such a table is in ``train``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.errors import InvalidArgument, ModelError, require
from nestvec.files.atomic import replace_folder
from nestvec.files.mapped import new_embeddings
from nestvec.models.base import BaseEncoder
from nestvec.models.info import ModelOptions, describe
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from tokenizers import Tokenizer

CHUNK = 1024  # texts; bounds the memory that their tokens take
_WEIGHTS = "embedding.weight"
MARKER = "modules.json"
# The name that every release of Sentence Transformers with static models (3.2 and later) loads.
_MODULE = "sentence_transformers.models.StaticEmbedding"


class StaticEncoder(BaseEncoder):
    """A static model in memory."""

    def __init__(
        self, info: ModelInfo, tokenizer: Tokenizer, table: Embeddings, *, normalize: bool = False
    ) -> None:
        """Bind a table to its tokenizer.

        Args:
            info: What is known of the model.
            tokenizer: Its ids are rows of the table; its padding is turned off.
            table: [vocabulary, full_dim].
            normalize: True where the model itself ends in unit length.

        Raises:
            ModelError: If the tokenizer has ids that the table has no row for.
        """
        last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if last >= len(table):
            raise ModelError(f"{info.name}: token id {last}, but the table has {len(table)} rows")
        tokenizer.no_padding()
        self._info = info
        self._tokenizer = tokenizer
        self._table = table
        self._normalize = normalize

    @classmethod
    def load(cls, folder: Path, options: ModelOptions) -> StaticEncoder:
        """Load a folder that ``is_static`` accepts.

        Raises:
            ModelError: If its files cannot be read or do not belong together.
            InvalidArgument: If a width that is asked for is above the model's.
            MissingExtra: If ``tokenizers`` or ``safetensors`` is not installed.
        """
        modules = _modules(folder)
        place = folder / modules[0]["path"]
        tokenizer, table = _read_tokenizer(place / "tokenizer.json"), _read_table(place)
        limit = None if tokenizer.truncation is None else tokenizer.truncation["max_length"]
        info = describe(folder, options, full_dim=table.shape[1], max_tokens=limit)
        return cls(info, tokenizer, table, normalize=len(modules) > 1)

    @property
    def info(self) -> ModelInfo:
        """What is known of the model."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """Its ids are rows of the table."""
        return self._tokenizer

    @property
    def table(self) -> Embeddings:
        """A vector for each token, [vocabulary, full_dim]; there may be rows without a token."""
        return self._table

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Return the mean of each text's token rows, [n, full_dim]; zeros where it has none."""
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
        """Count the texts that the tokenizer cuts; most static models have no limit."""
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
        """How many rows the table has."""
        return len(self._table)

    def tokenize(self, texts: Sequence[str], *, kind: Kind) -> list[list[int]]:
        """Return the rows of each text."""
        encodings = self._tokenizer.encode_batch_fast(
            self._prompted(texts, kind), add_special_tokens=False
        )
        return [encoding.ids for encoding in encodings]

    def encode_tokens(self, ids: Sequence[Sequence[int]]) -> Embeddings:
        """Return the mean of rows, [n, full_dim]."""
        counts = token_counts(ids, len(self._table))
        means: Embeddings = counts @ self._table
        means /= np.maximum(np.diff(counts.indptr), 1)[:, None]
        if self._normalize:
            norms = np.linalg.norm(means, axis=1, keepdims=True)
            means /= np.maximum(norms, 1e-12)  # as torch.nn.functional.normalize does
        return means

    def _prompted(self, texts: Sequence[str], kind: Kind) -> list[str]:
        prompt = self._info.query_prompt if kind == "query" else self._info.document_prompt
        return [prompt + text for text in texts] if prompt else list(texts)


def token_counts(token_ids: Sequence[Sequence[int]], vocabulary: int) -> csr_array:
    """Return a sparse float32 matrix of ones, [n_texts, vocabulary]; its rows hold the tokens.

    A token that stands twice in a text is two entries of its row: a product adds them up, and
    the length of a row is the length of its text.
    """
    from scipy.sparse import csr_array

    offsets = np.concatenate(([0], np.cumsum([len(ids) for ids in token_ids], dtype=np.int64)))
    columns = np.fromiter(chain.from_iterable(token_ids), dtype=np.int64, count=offsets[-1])
    ones = np.ones(len(columns), dtype=np.float32)
    return csr_array((ones, columns, offsets), shape=(len(token_ids), vocabulary))


def is_static(folder: Path) -> bool:
    """Tell whether a folder holds a static model that can be read without PyTorch."""
    if not (folder / MARKER).is_file():
        return False
    modules = _modules(folder)
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds[:1] != ["StaticEmbedding"] or kinds[1:] not in ([], ["Normalize"]):
        return False
    return _has_plain_table(folder / modules[0]["path"] / "model.safetensors")


def save_static_model(
    path: Path,
    *,
    tokenizer_json: str | Tokenizer,
    table: Embeddings,
    matryoshka_dims: Sequence[int],
    extra: Mapping[str, Any],
) -> None:
    """Write a plain Sentence Transformers folder that any other tool loads.

    Args:
        path: The folder to make; a model folder in its place is replaced.
        tokenizer_json: The tokenizer, or its text form.
        table: [vocabulary, full_dim].
        matryoshka_dims: The widths it was trained for; they stand in ``config.json``, where
            vLLM reads them.
        extra: More entries of ``config.json``.

    Raises:
        InvalidArgument: If the table is not float32 [vocabulary, full_dim] of finite numbers,
            or a width is above ``full_dim``.
        DataError: If the folder cannot be written.
    """
    _check_table(table, matryoshka_dims)
    to_bytes = require("safetensors.numpy", extra="models").save
    tokenizer = tokenizer_json if isinstance(tokenizer_json, str) else tokenizer_json.to_str()
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
            (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        # Not its save_file, which makes a file that nobody but its owner may read.
        weights = to_bytes({_WEIGHTS: np.ascontiguousarray(table)})
        (folder / "model.safetensors").write_bytes(weights)


def replace_table(folder: Path, table: Embeddings) -> None:
    """Put another table in the place of a folder's own: for copies that nobody uses yet.

    Args:
        folder: A folder that ``is_static`` accepts.
        table: float32, [vocabulary, full_dim].

    Raises:
        InvalidArgument: If the table is not float32, or holds NaN or infinite numbers.
    """
    _check_table(table, ())
    to_bytes = require("safetensors.numpy", extra="models").save
    place = folder / _modules(folder)[0]["path"]
    (place / "model.safetensors").write_bytes(to_bytes({_WEIGHTS: np.ascontiguousarray(table)}))


def _check_table(table: Embeddings, matryoshka_dims: Sequence[int]) -> None:
    if table.ndim != 2 or table.dtype != np.float32:
        shape = f"{table.dtype} {list(table.shape)}"
        raise InvalidArgument(f"a token table is float32 [vocabulary, full_dim], not {shape}")
    if not np.isfinite(table).all():
        raise InvalidArgument("the token table holds NaN or infinite numbers")
    for dim in matryoshka_dims:
        if not 1 <= dim <= table.shape[1]:
            raise InvalidArgument(f"dim {dim} is not within 1 and full_dim {table.shape[1]}")


def _modules(folder: Path) -> list[dict[str, str]]:
    file = folder / MARKER
    try:
        modules = json.loads(file.read_text(encoding="utf-8"))
        return [{"type": str(module["type"]), "path": str(module["path"])} for module in modules]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: is not a list of modules ({error!r})") from error


def _has_plain_table(file: Path) -> bool:
    # model2vec's own folders name their tensors otherwise and may weigh or map tokens, and NumPy
    # has no bfloat16: those are left to Sentence Transformers.
    if not file.is_file():
        return False
    safetensors = require("safetensors", extra="models")
    try:
        with safetensors.safe_open(file, framework="numpy") as tensors:
            names = list(tensors.keys())
            return names == [_WEIGHTS] and tensors.get_slice(_WEIGHTS).get_dtype() in ("F32", "F16")
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{file}: cannot be read ({error}): copy or save it again") from error


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
