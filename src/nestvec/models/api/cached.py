"""Cache the vectors of an API model: each answer is stored when it arrives.

If a quota ends in the middle, the same command continues where it ended, and no text is paid twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nestvec.models.api.encoder import ApiEncoder
from nestvec.models.cache import CachedEncoder, EncodedRows
from nestvec.models.encoding import TIMED, encode_each
from nestvec.types import Embeddings, Kind, OnProgress


class CachedApiEncoder(CachedEncoder):
    """A cached API model.

    Attributes:
        api: The API model.
    """

    def __init__(self, api: ApiEncoder, folder: Path) -> None:
        """Create a cache for an API model.

        Args:
            api: The API model.
            folder: Folder of the caches of all models.
        """
        super().__init__(api, folder)
        self.api = api

    def _batches(
        self, texts: Sequence[str], kind: Kind, on_progress: OnProgress | None
    ) -> Iterator[EncodedRows]:
        yield from self.api.batches(texts, kind=kind)
        self._store.join_parts()

    def _add(self, keys: Sequence[bytes], vectors: Embeddings) -> None:
        self._store.add_part(keys, vectors)

    def _measure_ms(self, texts: Sequence[str], kind: Kind) -> float:
        """Measure on texts that are not cached, and cache them; on one cached text otherwise."""
        unknown = self.missing(texts, kind=kind)[:TIMED]
        timed, encoder = (unknown, self) if unknown else (texts[:1], self.api)
        return encode_each(len(timed), lambda rows: encoder.encode(timed[rows], kind=kind))[1]
