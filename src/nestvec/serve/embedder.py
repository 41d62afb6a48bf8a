"""Encode the texts and tokens of requests, with a cache of vectors."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from nestvec.models.adapted import unadapted
from nestvec.models.static import StaticEncoder
from nestvec.serve.batching import SMALL, Batcher, BatchSize, OnBatch, Waiting
from nestvec.serve.errors import bad_request
from nestvec.serve.inputs import Input, input_encoder
from nestvec.serve.settings import Limits
from nestvec.types import Embeddings, Encoder, Kind, TokenEncoder

_OVERHEAD = 400  # bytes of a cache entry in addition to its text and vector, measured
_STATIC_BATCH = BatchSize(items=1024, length=2**20)  # large, because there is no padding


class CachedVector(NamedTuple):
    """The vector of a text, [full_dim], and the number of tokens of the text."""

    vector: Embeddings
    tokens: int


class VectorCache:
    """Vectors by kind and text. Used only in the thread of the event loop."""

    def __init__(self, limit: int) -> None:
        """Create a cache of at most ``limit`` bytes."""
        self._limit = limit
        self._bytes = 0
        self._entries: OrderedDict[tuple[Kind, str], CachedVector] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """Count the vectors."""
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """The size of the cache."""
        return self._bytes

    def get(self, kind: Kind, text: str) -> CachedVector | None:
        """Return the entry of a text or None, and count the hit or miss."""
        entry = self._entries.get((kind, text))
        if entry is None:
            self.misses += 1
            return None
        self._entries.move_to_end((kind, text))
        self.hits += 1
        return entry

    def put(self, kind: Kind, text: str, entry: CachedVector) -> None:
        """Add the entry of a text.

        The vector is copied, so that the cache does not keep a larger array alive.
        """
        size = _size(text, entry)
        if size > self._limit or (kind, text) in self._entries:
            return
        self._entries[kind, text] = CachedVector(entry.vector.copy(), entry.tokens)
        self._bytes += size
        while self._bytes > self._limit:
            (_, oldest), removed = self._entries.popitem(last=False)
            self._bytes -= _size(oldest, removed)


def _size(text: str, entry: CachedVector) -> int:
    return len(text) * 4 + entry.vector.nbytes + _OVERHEAD


class Embedded(NamedTuple):
    """Vectors of the model, [n, full_dim], and the number of tokens of their texts."""

    vectors: Embeddings
    tokens: int


class Embedder:
    """Encodes the inputs of requests with a model: cache, tokenizer threads and batching."""

    def __init__(
        self,
        model: Encoder,
        limits: Limits,
        *,
        threads: int = 1,
        on_batch: OnBatch | None = None,
    ) -> None:
        """Start the threads.

        Args:
            model: The encoder.
            limits: Limits of the queue, the cache and the request.
            threads: Number of batches that are encoded at the same time.
            on_batch: Function called after each batch, or None.
        """
        self._base = unadapted(model)
        static = isinstance(self._base, StaticEncoder)
        self._limits = limits
        self._encoder = input_encoder(model)
        # A static model is not cached: a lookup takes as long as encoding.
        self._caches = limits.cache_bytes > 0 and not static
        self.cache = VectorCache(limits.cache_bytes)
        self.waiting = Waiting(limits.queued_items)
        # One thread for small and one for large requests: small requests do not wait.
        self._tokenizers = [ThreadPoolExecutor(1, "nestvec-tokenizer") for _ in range(2)]
        self._batcher = Batcher(
            self._encoder.encode,
            full_dim=model.info.full_dim,
            size=_STATIC_BATCH if static else None,
            threads=threads,
            on_batch=on_batch,
        )

    async def texts(self, texts: Sequence[str], kind: Kind) -> Embedded:
        """Return the vectors of texts.

        Raises:
            ApiError: 400 if the texts have too many tokens, 429 if too many texts wait.
        """
        if not self._caches:
            with self.waiting.admitted(len(texts)):
                return await self._encoded(await self._prepared(texts, kind))
        known = {text: self.cache.get(kind, text) for text in dict.fromkeys(texts)}
        missing = [text for text, found in known.items() if found is None]
        if missing:
            with self.waiting.admitted(len(missing)):
                inputs = await self._prepared(missing, kind)
                encoded = await self._encoded(inputs)
            for each, vector in zip(inputs, encoded.vectors, strict=True):
                known[each.text] = new = CachedVector(vector, len(each.ids))
                self.cache.put(kind, each.text, new)
        all_known = [found for text in texts if (found := known[text]) is not None]
        vectors = np.stack([each.vector for each in all_known])
        return Embedded(vectors, sum(each.tokens for each in all_known))

    async def tokens(self, ids: Sequence[Sequence[int]]) -> Embedded:
        """Return the vectors of texts that are given as token ids of the model.

        Raises:
            ApiError: 400 if the model does not accept tokens, a token id does not exist, or a text
                has too many tokens.
        """
        if not isinstance(self._base, TokenEncoder):
            raise bad_request("this model does not accept tokens. Send strings.", "input")
        self._check_tokens(ids, self._base.vocabulary)
        with self.waiting.admitted(len(ids)):
            return await self._encoded([Input("document", "", each, len(each)) for each in ids])

    def close(self) -> None:
        """Encode all accepted inputs and stop the threads."""
        for tokenizer in self._tokenizers:
            tokenizer.shutdown()
        self._batcher.close()

    async def _prepared(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        tokenizer = self._tokenizers[len(texts) > SMALL]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(tokenizer, self._encoder.prepare, texts, kind)

    async def _encoded(self, inputs: Sequence[Input]) -> Embedded:
        tokens = sum(len(each.ids) for each in inputs)
        if tokens > self._limits.tokens:
            problem = f"input has {tokens:,} tokens, more than the limit of {self._limits.tokens:,}"
            raise bad_request(f"{problem}. Send fewer texts per request.", "input")
        return Embedded(await self._batcher.encode(inputs), tokens)

    def _check_tokens(self, ids: Sequence[Sequence[int]], vocabulary: int) -> None:
        longest = self._base.info.max_tokens
        for number, each in enumerate(ids):
            if not 0 <= min(each) <= max(each) < vocabulary:
                wrong = next(id_ for id_ in each if not 0 <= id_ < vocabulary)
                raise bad_request(
                    f"input.{number}: token {wrong} is not from 0 to {vocabulary - 1}. Use the "
                    "tokenizer of this model, or send strings (in LangChain: "
                    "check_embedding_ctx_length=False).",
                    f"input.{number}",
                )
            if longest is not None and len(each) > longest:
                problem = f"input.{number} has {len(each)} tokens, more than max_tokens={longest}"
                raise bad_request(f"{problem}. Truncate it, or send a string.", f"input.{number}")
