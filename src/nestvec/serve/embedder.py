"""Texts and tokens of requests to vectors: what is known already is looked up, the rest encoded."""

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
from nestvec.serve.errors import refused
from nestvec.serve.inputs import Input, encoding_of
from nestvec.serve.settings import Limits
from nestvec.types import Embeddings, Encoder, Kind, TokenEncoder

_OVERHEAD = 400  # bytes of an entry beside its text and its vector, measured
_OF_TABLES = BatchSize(items=1024, length=2**20)  # nothing is padded, so batches may be large


class Known(NamedTuple):
    """What is known of a text: its vector [full_dim], and how many tokens it has."""

    vector: Embeddings
    tokens: int


class VectorCache:
    """Vectors by kind and text. Used from one thread, that of the event loop."""

    def __init__(self, limit: int) -> None:
        """Keep at most ``limit`` bytes."""
        self._limit = limit
        self._bytes = 0
        self._known: OrderedDict[tuple[Kind, str], Known] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """Count the vectors."""
        return len(self._known)

    @property
    def bytes(self) -> int:
        """What is kept takes so much."""
        return self._bytes

    def get(self, kind: Kind, text: str) -> Known | None:
        """Return what is known of a text, and count whether anything was."""
        known = self._known.get((kind, text))
        if known is None:
            self.misses += 1
            return None
        self._known.move_to_end((kind, text))
        self.hits += 1
        return known

    def put(self, kind: Kind, text: str, known: Known) -> None:
        """Keep what is known of a text; a copy, so that no larger array is held."""
        size = _size(text, known)
        if size > self._limit or (kind, text) in self._known:
            return
        self._known[kind, text] = Known(known.vector.copy(), known.tokens)
        self._bytes += size
        while self._bytes > self._limit:
            (_, oldest), gone = self._known.popitem(last=False)
            self._bytes -= _size(oldest, gone)


def _size(text: str, known: Known) -> int:
    return len(text) * 4 + known.vector.nbytes + _OVERHEAD


class Embedded(NamedTuple):
    """Vectors as the model gives them, [n, full_dim], and how many tokens they took."""

    vectors: Embeddings
    tokens: int


class Embedder:
    """What stands between requests and a model."""

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
            model: What encodes.
            limits: How much may wait, be kept, be asked for.
            threads: How many batches are encoded at the same time.
            on_batch: Who watches them.
        """
        self._base = unadapted(model)
        static = isinstance(self._base, StaticEncoder)
        self._limits = limits
        self._encoding = encoding_of(model)
        # To look a vector up takes as long as to add up the rows of a table.
        self._caches = limits.cache_bytes > 0 and not static
        self.cache = VectorCache(limits.cache_bytes)
        self.waiting = Waiting(limits.queued_items)
        # Small requests do not wait for the texts of large ones to be cut into tokens, either.
        self._tokenizers = [ThreadPoolExecutor(1, "nestvec-tokenizer") for _ in range(2)]
        self._batcher = Batcher(
            self._encoding.encode,
            full_dim=model.info.full_dim,
            size=_OF_TABLES if static else None,
            threads=threads,
            on_batch=on_batch,
        )

    async def texts(self, texts: Sequence[str], kind: Kind) -> Embedded:
        """Return the vectors of texts.

        Raises:
            ApiError: 400 if they have too many tokens, 429 if too many wait already.
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
                known[each.text] = new = Known(vector, len(each.ids))
                self.cache.put(kind, each.text, new)
        all_known = [found for text in texts if (found := known[text]) is not None]
        vectors = np.stack([each.vector for each in all_known])
        return Embedded(vectors, sum(each.tokens for each in all_known))

    async def tokens(self, ids: Sequence[Sequence[int]]) -> Embedded:
        """Return the vectors of texts that come as the model's own tokens.

        Raises:
            ApiError: 400 if the model shows no tokens, has no such token or takes fewer of them.
        """
        if not isinstance(self._base, TokenEncoder):
            raise refused("this model takes texts, not tokens: send strings", "input")
        self._check_tokens(ids, self._base.vocabulary)
        with self.waiting.admitted(len(ids)):
            return await self._encoded([Input("document", "", each, len(each)) for each in ids])

    def close(self) -> None:
        """Encode what was taken, and end."""
        for tokenizer in self._tokenizers:
            tokenizer.shutdown()
        self._batcher.close()

    async def _prepared(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        tokenizer = self._tokenizers[len(texts) > SMALL]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(tokenizer, self._encoding.prepare, texts, kind)

    async def _encoded(self, inputs: Sequence[Input]) -> Embedded:
        tokens = sum(len(each.ids) for each in inputs)
        if tokens > self._limits.tokens:
            limit = f"{tokens:,} tokens > {self._limits.tokens:,}"
            raise refused(f"input: {limit} in one request: send fewer texts at a time", "input")
        return Embedded(await self._batcher.encode(inputs), tokens)

    def _check_tokens(self, ids: Sequence[Sequence[int]], vocabulary: int) -> None:
        longest = self._base.info.max_tokens
        for number, each in enumerate(ids):
            if not 0 <= min(each) <= max(each) < vocabulary:
                wrong = next(id_ for id_ in each if not 0 <= id_ < vocabulary)
                raise refused(
                    f"input.{number}: token {wrong} is not within 0 and {vocabulary - 1}: tokens "
                    "are this model's own; LangChain sends texts with "
                    "check_embedding_ctx_length=False",
                    f"input.{number}",
                )
            if longest is not None and len(each) > longest:
                problem = f"input.{number}: {len(each)} tokens > {longest}"
                raise refused(f"{problem}: cut it, or send the text", f"input.{number}")
