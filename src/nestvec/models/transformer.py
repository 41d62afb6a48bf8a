"""Transformer models that tokenize and encode in two separate steps.

This works only for plain models: a tokenizer of the ``tokenizers`` library, a transformer, pooling
and projection. Other models, such as routers and multimodal models, are encoded by their library.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from itertools import takewhile
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.files.mapped import new_embeddings
from nestvec.models.failures import encoding_errors
from nestvec.models.packed_bert import PackedBert, pack
from nestvec.models.sentence_transformer import CHUNK, DType, SentenceTransformerEncoder, quiet
from nestvec.models.token_batches import CPU_TOKENS, GPU_TOKENS, encode_batches, token_batches
from nestvec.types import Embeddings, Kind, OnProgress, Rows

_MOST_THREADS = 4
_WINDOW = 16_384  # texts that are sorted by length at a time
_TOKENS = {True: CPU_TOKENS, False: GPU_TOKENS}
_PROBED = (1, 5, 9, 40)  # tokens of the texts that a packed model is tested with
_SAME: dict[DType, float] = {"float32": 0.99999, "bfloat16": 0.999}  # least cosine
_TINY = 1e-30
_BY_TASK = ("query_length", "document_length", "query_expansion")
_AFTER = {"Pooling", "Dense", "Normalize", "LayerNorm", "Dropout"}


class TransformerEncoder(SentenceTransformerEncoder):
    """A Sentence Transformers model that is also a ``TokenEncoder``."""

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        """Wrap a model for which ``exposes_tokens`` is true."""
        super().__init__(encoder.info, encoder.library_model, dtype=encoder.dtype)
        first: Any = self._model[0]
        self._padding = int(first.tokenizer.pad_token_id or 0)
        self._has_types = "token_type_ids" in first.tokenizer.model_input_names
        # Copy the tokenizer: the library resets its padding and truncation at each call.
        self._tokenizer: Any = deepcopy(first.tokenizer.backend_tokenizer)
        self._tokenizer.no_padding()
        self._packed: PackedBert | None = None
        if self.info.max_tokens is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(self.info.max_tokens)

    def pack(self) -> bool:
        """Compute without padding from now on, if the model and the processor support it.

        This copies the weights: call it only if they do not change later. The vectors of the
        packed model are compared with those of the library first.

        Returns:
            Whether the model is packed.
        """
        if self._packed is not None:
            return True
        packed = pack(self._model, self.dtype)
        if packed is not None and self._agrees(packed):
            self._packed = packed
        return self._packed is not None

    def _agrees(self, packed: PackedBert) -> bool:
        """Return whether a packed model computes the same vectors as the library."""
        longest = self.info.max_tokens or max(_PROBED)
        rng = np.random.default_rng(0)
        known = np.delete(np.arange(self.vocabulary, dtype=np.int32), self._padding)
        ids = [rng.choice(known, min(n, longest)) for n in _PROBED]
        expected, found = self.encode_tokens(ids), packed.encode(ids)
        if found.shape != expected.shape:
            return False
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        cosines = np.einsum("nd,nd->n", expected, found) / np.maximum(lengths, _TINY)
        return bool(cosines.min() >= _SAME[self.dtype])

    @property
    def vocabulary(self) -> int:
        """Number of rows of the token embedding table."""
        rows: int = self._model[0].model.get_input_embeddings().num_embeddings
        return rows

    @property
    def special_tokens(self) -> tuple[list[int], list[int]]:
        """The token ids that ``tokenize`` adds before and after each text with its prompt."""
        encoding = self._tokenizer.encode("a")
        marked = list(zip(encoding.ids, encoding.special_tokens_mask, strict=True))
        before = [id_ for id_, _ in takewhile(itemgetter(1), marked)]
        rest = reversed(marked[len(before) :])
        after = [id_ for id_, _ in takewhile(itemgetter(1), rest)]
        return before, after[::-1]

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts, float32 [n, full_dim], neither normalized nor truncated."""
        return self.encode_counted(texts, kind=kind, on_progress=on_progress)[0]

    def encode_counted(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
    ) -> tuple[Embeddings, int]:
        """Return the result of ``encode``, and the number of texts that are truncated.

        Each text is tokenized once. Windows of many texts are sorted by length.

        Args:
            texts: The texts, [n].
            kind: "query" or "document".
            on_progress: Called with the number of encoded texts and the number of all texts.

        Raises:
            ModelError: If the model cannot encode texts.
        """
        embeddings = new_embeddings(len(texts), self.info.full_dim)
        on_cpu = self._model.device.type == "cpu"
        truncated = done = 0
        for start in range(0, len(texts), _WINDOW):
            window = texts[start : start + _WINDOW]
            ids, longer = self._tokenize_window(window, kind)
            truncated += longer
            batches = token_batches([len(each) for each in ids], _TOKENS[on_cpu])
            encode = partial(self._encode_rows, ids)
            for rows, vectors in encode_batches(encode, batches, on_cpu=on_cpu):
                embeddings[start + rows] = vectors
                done += len(rows)
                if on_progress is not None:
                    on_progress(done, len(texts))
        return embeddings, truncated

    def _encode_rows(self, ids: Sequence[NDArray[np.int32]], rows: Rows) -> Embeddings:
        return self.encode_tokens([ids[row] for row in rows])

    def _tokenize_window(
        self, texts: Sequence[str], kind: Kind
    ) -> tuple[list[NDArray[np.int32]], int]:
        """Return the token ids of each text, and the number of texts that are truncated."""
        found, truncated = list[NDArray[np.int32]](), 0
        for start in range(0, len(texts), CHUNK):  # encodings need much more memory than ids
            encodings = self._encodings(texts[start : start + CHUNK], kind)
            found += (np.array(each.ids, dtype=np.int32) for each in encodings)
            truncated += sum(bool(each.overflowing) for each in encodings)
        return found, truncated

    def tokenize(self, texts: Sequence[str], *, kind: Kind) -> list[list[int]]:
        """Return token ids of each text, with prompt and special tokens, truncated."""
        return [encoding.ids for encoding in self._encodings(texts, kind)]

    def _encodings(self, texts: Sequence[str], kind: Kind) -> Any:
        prompt = self.info.prompts[kind]
        with encoding_errors(self.info.name):
            return self._tokenizer.encode_batch_fast([prompt + text for text in texts])

    def encode_tokens(self, ids: Sequence[Sequence[int] | NDArray[np.int32]]) -> Embeddings:
        """Encode one batch, padded to its longest text; callers sort and split larger inputs."""
        import torch

        # RoBERTa computes other positions after a padding token.
        if self._packed is not None and all(
            len(each) and self._padding not in each for each in ids
        ):
            with encoding_errors(self.info.name):
                return self._packed.encode(ids)
        width = max(map(len, ids))
        padded = np.full((len(ids), width), self._padding, dtype=np.int64)
        mask = np.zeros_like(padded)
        for line, each in enumerate(ids):
            padded[line, : len(each)] = each
            mask[line, : len(each)] = 1
        features = {
            "input_ids": torch.from_numpy(padded).to(self._model.device),
            "attention_mask": torch.from_numpy(mask).to(self._model.device),
        }
        if self._has_types:  # a model that is called without them may not assume zeros
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        with torch.inference_mode(), encoding_errors(self.info.name):
            vectors = self._model(features)["sentence_embedding"]
        embeddings: Embeddings = vectors.float().cpu().numpy()
        return embeddings


def exposes_tokens(encoder: SentenceTransformerEncoder) -> bool:
    """Return whether a model is plain, so that its tokens are its only input."""
    library_model: Any = encoder.library_model
    first, *others = library_model
    plain = type(first).__name__ == "Transformer" and hasattr(
        getattr(first, "tokenizer", None), "backend_tokenizer"
    )
    names = {type(module).__name__ for module in others}
    # Pooling that excludes the prompt would need the length of the prompt.
    whole = all(getattr(module, "include_prompt", True) for module in others)
    # Such a model has another maximum length for queries, or appends tokens to them.
    by_task = any(getattr(first, name, None) is not None for name in _BY_TASK)
    # Extra arguments, such as a task, select weights that a batch of tokens does not name.
    plain = plain and not library_model.get_model_kwargs()
    return plain and names <= _AFTER and whole and not by_task and not _has_other_types(first)


def _has_other_types(first: Any) -> bool:
    """Return whether the tokenizer gives a token of one text another type than 0, as XLNet does."""
    with quiet():
        return any(first.tokenizer("a").get("token_type_ids", ()))


def share_processors() -> int:
    """Divide the processors among several threads that encode at the same time.

    For short texts this is faster than one thread that uses all processors.

    Returns:
        The number of threads.
    """
    import torch

    processors = os.cpu_count() or 1
    threads = min(processors, _MOST_THREADS)
    torch.set_num_threads(processors // threads)
    return threads


def fast_dtype() -> DType:
    """Return bfloat16 if this processor supports it, else float32."""
    import torch

    read: Any = getattr(torch.cpu, "get_capabilities", dict)  # not in older versions
    return "bfloat16" if read().get("avx512_bf16") else "float32"
