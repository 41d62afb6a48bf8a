"""Transformers whose tokens are shown, so that cutting texts into them and encoding come apart.

For plain models only: a tokenizer of the ``tokenizers`` library, a transformer, and what pools and
projects. Models that route, weigh or read something else than text are encoded by their library.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from nestvec.models.sentence_transformer import DType, SentenceTransformerEncoder
from nestvec.types import Embeddings, Kind

_MOST_THREADS = 4
_AFTER = {"Pooling", "Dense", "Normalize", "LayerNorm", "Dropout"}


class TransformerEncoder(SentenceTransformerEncoder):
    """A Sentence Transformers model that is also a ``TokenEncoder``."""

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        """Show the tokens of a model that ``shows_tokens``."""
        super().__init__(encoder.info, encoder.library_model, dtype=encoder.dtype)
        first: Any = self._model[0]
        self._padding = int(first.tokenizer.pad_token_id or 0)
        # A copy: the library sets padding and truncation anew at each of its own calls.
        self._tokenizer: Any = deepcopy(first.tokenizer.backend_tokenizer)
        self._tokenizer.no_padding()
        if self.info.max_tokens is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(self.info.max_tokens)

    @property
    def vocabulary(self) -> int:
        """How many rows its table of tokens has."""
        rows: int = self._model[0].model.get_input_embeddings().num_embeddings
        return rows

    def tokenize(self, texts: Sequence[str], *, kind: Kind) -> list[list[int]]:
        """Return the ids of each text, with its prompt and the model's own marks, cut."""
        prompt = self._prompt(kind)
        encodings = self._tokenizer.encode_batch_fast([prompt + text for text in texts])
        return [encoding.ids for encoding in encodings]

    def encode_tokens(self, ids: Sequence[Sequence[int]]) -> Embeddings:
        """Encode as one batch, padded to its longest: whoever has many sorts and cuts them."""
        import torch

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
        with torch.inference_mode():
            vectors = self._model(features)["sentence_embedding"]
        embeddings: Embeddings = vectors.float().cpu().numpy()
        return embeddings


def shows_tokens(encoder: SentenceTransformerEncoder) -> bool:
    """Tell whether a model is plain enough for its tokens to be all that it reads."""
    library_model: Any = encoder.library_model
    first, *others = library_model
    plain = type(first).__name__ == "Transformer" and hasattr(
        getattr(first, "tokenizer", None), "backend_tokenizer"
    )
    names = {type(module).__name__ for module in others}
    # Pooling that leaves the prompt out must know how long that is.
    whole = all(getattr(module, "include_prompt", True) for module in others)
    return plain and names <= _AFTER and whole


def share_processors() -> int:
    """Let several threads of this process encode at the same time.

    Returns:
        How many threads. Each has its share of the processors: with short texts, they do more side
        by side than all together on one batch after another.
    """
    import torch

    processors = os.cpu_count() or 1
    threads = min(processors, _MOST_THREADS)
    torch.set_num_threads(processors // threads)
    return threads


def fast_dtype() -> DType:
    """Return bfloat16 where this processor computes in it, else float32."""
    import torch

    read: Any = getattr(torch.cpu, "get_capabilities", dict)  # not in older versions
    return "bfloat16" if read().get("avx512_bf16") else "float32"
