"""An encoder that sends texts to an API, several requests at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from nestvec.errors import ModelError
from nestvec.files.mapped import new_embeddings
from nestvec.models.api.address import ApiAddress
from nestvec.models.api.answers import check_model, vectors_of
from nestvec.models.api.batches import group_rows
from nestvec.models.api.client import ApiClient, RequestTooLarge
from nestvec.models.api.dialect import TextRequest
from nestvec.models.api.keys import find_key
from nestvec.models.api.requests import CONCURRENCY, send_all
from nestvec.models.base import BaseEncoder
from nestvec.models.cache import EncodedRows
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress


class ApiCaller:
    """Encodes the texts of one request; can be used in several threads."""

    def __init__(self, address: ApiAddress, *, dim: int | None) -> None:
        """Store what to call; nothing is sent.

        Args:
            address: The model at its API.
            dim: The width to request; None for the default of the API.
        """
        self.address = address
        self._dim = dim
        self._most_texts = address.dialect.texts

    @cached_property
    def client(self) -> ApiClient:
        """The client, created at the first request: until then, no key is needed."""
        return ApiClient(self.address, find_key(self.address), connections=CONCURRENCY)

    def most_texts(self) -> int:
        """Return the maximum number of texts that the server accepts in a request."""
        return self._most_texts

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind,
        *,
        full_dim: int | None,
        stop: threading.Event | None = None,
    ) -> Embeddings:
        """Encode the texts of one request, float32 [n, full_dim].

        If the server refuses the size of the request, it is sent in smaller parts.

        Args:
            texts: The texts with their prompt, at least one.
            kind: "query" or "document".
            full_dim: The expected width; None to accept any width.
            stop: If set, a failed request is not sent again.

        Raises:
            ModelError: If the request fails, or the answer does not fit.
        """
        stop = stop or threading.Event()
        parts: list[Embeddings] = []
        rest = list(texts)
        while rest:
            part = rest[: self._most_texts]
            try:
                parts.append(self._encode_part(part, kind, full_dim, stop))
            except RequestTooLarge:
                if len(part) == 1:
                    raise
                self._most_texts = min(self._most_texts, len(part) // 2)
            else:
                rest = rest[len(part) :]
        return np.concatenate(parts)

    def _encode_part(
        self, texts: list[str], kind: Kind, full_dim: int | None, stop: threading.Event
    ) -> Embeddings:
        dialect, model = self.address.dialect, self.address.model
        input_type = (dialect.input_types or {}).get(kind, "")
        body = dialect.body(TextRequest(model, texts, input_type, self._dim))
        answer = self.client.post(dialect.path(model), body, stop)
        return self._checked(answer, len(texts), full_dim)

    def _checked(self, answer: object, n_texts: int, full_dim: int | None) -> Embeddings:
        dialect = self.address.dialect
        try:
            raw = dialect.read(answer)
            check_model(raw.model, self.address.model)
            return vectors_of(raw, n_texts=n_texts, full_dim=full_dim)
        except (KeyError, TypeError, IndexError, AttributeError):
            problem = f"answered in another format than {dialect.name}. Check the base URL."
            raise ModelError(f"{self.address.name}: {problem}") from None
        except ModelError as error:
            raise ModelError(f"{self.address.name}: {error}") from None


class ApiEncoder(BaseEncoder):
    """An encoder that sends texts to an API.

    Texts that contain only spaces are not sent: most APIs refuse them. Their vectors are zero.
    """

    def __init__(self, info: ModelInfo, caller: ApiCaller) -> None:
        """Create the encoder of a described model."""
        self._info = info
        self._caller = caller

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        return self._info

    @property
    def settings(self) -> dict[str, str]:
        """Settings that affect vectors and are not in ``info``: none that are known."""
        return {}

    @property
    def address(self) -> ApiAddress:
        """The model at its API."""
        return self._caller.address

    def batches(self, texts: Sequence[str], *, kind: Kind) -> Iterator[EncodedRows]:
        """Yield the vectors of each request when its answer arrives, in any order.

        After an error, no further request is sent. Answers that are under way are still yielded,
        because they are paid for; then the error is raised.

        Raises:
            ModelError: If a request fails.
        """
        blank = [row for row, text in enumerate(texts) if not text.strip()]
        if blank:
            yield EncodedRows(blank, np.zeros((len(blank), self._info.full_dim), np.float32))
        prompt, dialect = self._info.prompts[kind], self.address.dialect
        rest = ((row, f"{prompt}{text}") for row, text in enumerate(texts) if text.strip())
        groups = group_rows(rest, most_texts=self._caller.most_texts, most_tokens=dialect.tokens)

        def send(rows: list[int], stop: threading.Event) -> EncodedRows:
            prompted = [f"{prompt}{texts[row]}" for row in rows]
            full_dim = self._info.full_dim
            vectors = self._caller.encode(prompted, kind, full_dim=full_dim, stop=stop)
            return EncodedRows(rows, vectors)

        yield from send_all(groups, send)

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Return 0: an API does not report which texts it truncates."""
        return 0

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        embeddings = new_embeddings(len(texts), self._info.full_dim)
        done = 0
        for rows, vectors in self.batches(texts, kind=kind):
            embeddings[rows] = vectors
            done += len(rows)
            if on_progress is not None:
                on_progress(done, len(texts))
        return embeddings
