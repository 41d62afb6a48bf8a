"""Encode the texts and tokens of requests, with a cache of vectors."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar, get_args

import numpy as np

from nestvec.models.adapted import unadapted
from nestvec.models.paired import PairedEncoder, encoded_kinds
from nestvec.models.static import StaticEncoder
from nestvec.serve.batching import SMALL, Batcher, BatchSize, OnBatch, Waiting
from nestvec.serve.errors import ApiError, EncodingFailed, bad_request
from nestvec.serve.inputs import Input, input_encoder
from nestvec.serve.settings import Settings
from nestvec.serve.token_ids import IdDecoder, OwnIds
from nestvec.types import Embeddings, Encoder, Kind, TokenEncoder

_T = TypeVar("_T")
_OVERHEAD = 400  # bytes of a cache entry in addition to its text and vector, measured
_SHORT = 2_000  # characters; passing these to another thread takes longer than tokenizing them
_FEW = 500  # tokens
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
    """Encodes the inputs of requests with a model: cache, tokenizer threads and batching.

    The argument ``field`` of its methods is the name of the field of a text, for error messages,
    with ``{}`` for the position of the text in a list: ``input.{}``.
    """

    def __init__(
        self, model: Encoder, settings: Settings, *, on_batch: OnBatch | None = None
    ) -> None:
        """Start the threads.

        Args:
            model: The encoder.
            settings: Settings of the server.
            on_batch: Function called after each batch, or None.

        Raises:
            InvalidArgument: If the settings of token ids do not fit the model.
            MissingExtra: If token ids should be decoded and tiktoken is not installed.
        """
        base, limits, decoded = unadapted(model), settings.limits, settings.decode_token_ids
        self._own_ids = OwnIds(base, accept_all=settings.accept_token_ids)
        self._decoder = None if decoded is None else IdDecoder(decoded)
        static = isinstance(base, StaticEncoder)
        self._limits = limits
        self.kinds = encoded_kinds(model)
        self._encoder = input_encoder(model)
        self._without_text = _without_text(base)
        # A static model is not cached: a lookup takes as long as encoding.
        self._caches = limits.cache_bytes > 0 and not static
        self._static = static
        self.cache = VectorCache(limits.cache_bytes)
        self.waiting = Waiting(limits.queued_items)
        # One thread for small and one for large requests: small requests do not wait.
        self._tokenizers = [ThreadPoolExecutor(1, "nestvec-tokenizer") for _ in range(2)]
        self._batcher = Batcher(
            self._encoder.encode,
            full_dim=model.info.full_dim,
            size=_STATIC_BATCH if static else None,
            threads=settings.encoders,
            on_batch=on_batch,
        )

    async def texts(self, texts: Sequence[str], kind: Kind, field: str) -> Embedded:
        """Return the vectors of texts.

        Raises:
            ApiError: 400 if a text has no content for the model or the texts have too many tokens,
                429 if too many texts wait.
            EncodingFailed: If the model raises an error.
        """
        self._check_kind(kind)
        places = _places_of_texts(texts, field)
        if not self._caches:
            inputs, vectors = await self._new(texts, kind, places)
            return Embedded(vectors, _n_tokens(inputs))
        known = {text: self.cache.get(kind, text) for text in dict.fromkeys(texts)}
        missing = [text for text, found in known.items() if found is None]
        if missing:
            first = dict(zip(reversed(texts), reversed(places), strict=True))
            inputs, vectors = await self._new(missing, kind, [first[text] for text in missing])
            for each, vector in zip(inputs, vectors, strict=True):
                known[each.text] = new = CachedVector(vector, len(each.ids))
                self.cache.put(kind, each.text, new)
        all_known = [found for text in texts if (found := known[text]) is not None]
        vectors = np.stack([each.vector for each in all_known])
        return Embedded(vectors, sum(each.tokens for each in all_known))

    async def check(self, texts: Sequence[str], kind: Kind, field: str) -> None:
        """Check texts that are encoded later.

        Raises:
            ApiError: 400 if a text has no content for the model.
            EncodingFailed: If the tokenizer raises an error.
        """
        self._check_kind(kind)
        places = _places_of_texts(texts, field)
        self._check_content(await self._prepared(texts, kind), places)

    async def tokens(self, ids: Sequence[Sequence[int]], kind: Kind, field: str) -> Embedded:
        """Return the vectors of texts that are given as token ids.

        Token ids of the model contain the prompt, if it has one. The kind selects the prompt of
        decoded texts and the head of an adapter.

        Raises:
            ApiError: 400 as in ``texts``, and if the token ids are not those of the model, or
                cannot be decoded.
            EncodingFailed: If the model raises an error.
        """
        self._check_number(sum(map(len, ids)))  # before the memory for decoded texts is used
        if self._decoder is not None:
            texts = await self._in_thread(len(ids), self._decoder.texts, ids, field)
            return await self.texts(texts, kind, field)
        self._check_kind(kind)
        self._own_ids.check(ids, field)
        places = [field.format(number) for number in range(len(ids))]
        inputs = [Input(kind, "", each, len(each)) for each in ids]
        with self.waiting.admitted(len(inputs)):
            return Embedded(await self._vectors(inputs, places), _n_tokens(inputs))

    def close(self) -> None:
        """Encode all accepted inputs and stop the threads."""
        for tokenizer in self._tokenizers:
            tokenizer.shutdown()
        self._batcher.close()

    async def _new(
        self, texts: Sequence[str], kind: Kind, places: Sequence[str]
    ) -> tuple[list[Input], Embeddings]:
        """Return the inputs and the vectors of texts that are not in the cache."""
        with self.waiting.admitted(len(texts)):
            inputs = await self._prepared(texts, kind)
            return inputs, await self._vectors(inputs, places)

    async def _prepared(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        with _failures_of_the_model():
            if sum(map(len, texts)) <= _SHORT:
                return self._encoder.prepare(texts, kind)
            return await self._in_thread(len(texts), self._encoder.prepare, texts, kind)

    async def _in_thread(self, n: int, work: Callable[..., _T], *arguments: object) -> _T:
        """Run the work for ``n`` texts in the thread of small or of large requests."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizers[n > SMALL], work, *arguments)

    def _check_kind(self, kind: Kind) -> None:
        """Refuse documents if only the model of queries is served."""
        if kind not in self.kinds:
            problem = "this server encodes only queries, because its documents are stored vectors"
            raise bad_request(f"{problem}. Send input_type='query'.", "input_type")

    def _check_number(self, tokens: int) -> None:
        limit = self._limits.tokens
        if tokens > limit:
            problem = f"input has {tokens:,} tokens, more than the limit of {limit:,}"
            raise bad_request(f"{problem}. Send fewer texts per request.", "input")

    def _check_content(self, inputs: Sequence[Input], places: Sequence[str]) -> None:
        for each, place in zip(inputs, places, strict=True):
            if [*each.ids] == self._without_text.get(each.kind):
                raise _blank(place)

    async def _vectors(self, inputs: Sequence[Input], places: Sequence[str]) -> Embeddings:
        self._check_content(inputs, places)
        self._check_number(_n_tokens(inputs))
        with _failures_of_the_model():
            # A static model encodes a few words faster than a thread starts to.
            if self._static and sum(each.length for each in inputs) <= _FEW:
                vectors = self._batcher.encode_now(inputs)
            else:
                vectors = await self._batcher.encode(inputs)
        zero = np.flatnonzero(~vectors.any(axis=1))
        if len(zero):
            raise _blank(places[int(zero[0])])
        return vectors


def _places_of_texts(texts: Sequence[str], field: str) -> list[str]:
    """Return the field of each text.

    Raises:
        ApiError: 400 if a text is blank.
    """
    places = [field.format(number) for number in range(len(texts))]
    for text, place in zip(texts, places, strict=True):
        if not text.strip():
            raise _blank(place)
    return places


def _n_tokens(inputs: Sequence[Input]) -> int:
    return sum(len(each.ids) for each in inputs)


def _without_text(model: Encoder) -> Mapping[Kind, list[int]]:
    """Return the tokens of an empty text: special tokens and the prompt."""
    alone: dict[Kind, Encoder] = dict.fromkeys(get_args(Kind), model)
    by_kind = model.by_kind if isinstance(model, PairedEncoder) else alone
    return {
        kind: each.tokenize([""], kind=kind)[0]
        for kind, each in by_kind.items()
        if isinstance(each, TokenEncoder)
    }


def _blank(place: str) -> ApiError:
    problem = f"{place}: the text is blank, or the model has no token for it"
    return bad_request(f"{problem}. Send another text, or omit the text.", place)


@contextmanager
def _failures_of_the_model() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a model of unknown origin can raise any error
        raise EncodingFailed from error
