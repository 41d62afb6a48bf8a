"""Where each engine of ``engines.py`` keeps its index, and its native client to compare with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from nestvec.codec.prefix import prefix
from nestvec.types import Embeddings, OperatingPoint

Native = Callable[[Embeddings], list[str]]
PORT = 20_999


class Place:
    """A folder for an embedded engine. Without a native client to compare with.

    Attributes:
        scheme: The URL scheme.
        points: The operating points: two stages, and one stage at full width.
    """

    scheme = ""
    points: tuple[str, ...] = ("256:float16@200>512:float16", "512:float16")

    def __init__(self, folder: Path) -> None:
        """Create the folder."""
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True)

    def __enter__(self) -> Self:
        """Start the server, if there is one."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server."""

    def url(self, name: str) -> str:
        """Return the place of an index."""
        return f"{self.scheme}{self.folder / name}"

    def bare_load(self, vectors: Embeddings) -> float | None:
        """Return the seconds of the native client to load the vectors and ids; None without one."""
        return None

    def native(self, point: OperatingPoint, k: int) -> Native | None:
        """Return a search of the native client with a statement written by hand."""
        return None


class EmbeddedPlace(Place):
    """The engine of nestvec."""

    points = ("512:binary@200>512:float16", "512:int8")


class LancePlace(Place):
    """LanceDB in a local folder."""

    scheme = "lance://"


class QdrantPlace(Place):
    """Qdrant Edge in a local folder."""

    scheme = "qdrant-edge://"


class MilvusPlace(Place):
    """Milvus Lite in a local file."""

    scheme = "milvus-lite://"
    points = ("256:float32@200>512:float32", "512:float32")

    def url(self, name: str) -> str:
        """Return the file."""
        return f"{self.scheme}{self.folder / name}.db"


class PostgresPlace(Place):
    """A PostgreSQL server on the loopback interface, with fsync."""

    def __enter__(self) -> Self:
        """Start the server."""
        tests = Path(__file__).parents[1] / "tests"
        sys.path += [str(tests / "engines_outside"), str(tests)]
        from postgres import PostgresServer

        self._server = PostgresServer(PORT, fsync=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server."""
        self._server.remove()

    def url(self, name: str) -> str:
        """Return the URL of a table."""
        return f"{self._server.url}?table={name}"

    def bare_load(self, vectors: Embeddings) -> float:
        """Return the seconds of one binary COPY into a table with equal columns, committed."""
        from pgvector import HalfVector

        with self._connected() as connection:
            connection.execute(
                'CREATE TABLE bare (id text COLLATE "C" PRIMARY KEY, title text NOT NULL, '
                "text text NOT NULL, metadata jsonb NOT NULL, original text, "
                f"embedding halfvec({vectors.shape[1]}) NOT NULL)"
            )
            connection.execute("ALTER TABLE bare ALTER COLUMN embedding SET STORAGE PLAIN")
            connection.execute("CREATE INDEX ON bare USING gin (metadata)")
            start = time.perf_counter()
            for first in range(0, len(vectors), 2_000):
                self._copy(connection, vectors, first, HalfVector)
            seconds = time.perf_counter() - start
            connection.execute("DROP TABLE bare")
        return round(seconds, 2)

    def native(self, point: OperatingPoint, k: int) -> Native:
        """Return a search by psycopg, with the expressions of the index written out."""
        from pgvector import HalfVector, Vector

        connection = self._connected()
        connection.execute("SET hnsw.iterative_scan = relaxed_order")
        settings = connection.execute(
            "SELECT (manifest::json -> 'settings' ->> 'ef_search') FROM nestvec.indexes"
        ).fetchone()
        connection.execute(f"SET hnsw.ef_search = {int(settings[0])}")
        first, last = point.stages[0], point.stages[-1]
        dim = first.dim
        code = "embedding"
        if dim < last.dim:
            code = f"l2_normalize(subvector(embedding, 1, {dim}))::halfvec({dim})"
        text = (
            f"WITH s AS MATERIALIZED (SELECT id, embedding FROM docs ORDER BY ({code}) <#> %b "
            f"LIMIT {first.keep or k}) SELECT id FROM s "
            f"ORDER BY embedding::vector({last.dim}) <#> %b LIMIT {k}"
        )

        def search(query: Embeddings) -> list[str]:
            full = prefix(query, last.dim)[0]
            short = prefix(query, dim)[0]
            values = [HalfVector(short), Vector(full)]
            return [id_ for (id_,) in connection.execute(text, values).fetchall()]

        return search

    def _connected(self) -> Any:
        import psycopg
        from pgvector.psycopg import register_vector

        connection = psycopg.connect(self._server.url, autocommit=True)
        register_vector(connection)
        return connection

    @staticmethod
    def _copy(connection: Any, vectors: Embeddings, first: int, wrap: Any) -> None:
        from psycopg.types.json import Jsonb

        block = np.array(vectors[first : first + 2_000]).astype(np.float16)
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(["text", "text", "text", "jsonb", "text", "halfvec"])
            for row, vector in enumerate(block, first):
                metadata = Jsonb({"tenth": row % 10, "hundredth": row % 100})
                copy.write_row((str(row), "", "", metadata, None, wrap(vector)))


PLACES: dict[str, type[Place]] = {
    "embedded": EmbeddedPlace,
    "pgvector": PostgresPlace,
    "lancedb": LancePlace,
    "qdrant": QdrantPlace,
    "milvus": MilvusPlace,
}
