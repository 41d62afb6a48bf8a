"""Where each engine of ``engines.py`` keeps its index, with its native client to compare with."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import engine_clients as clients
from engine_clients import Native, Wanted
from nestvec.types import Embeddings

sys.path += [str(Path(__file__).parents[1] / "tests" / part) for part in ("engines_outside", "")]
TWO_STAGES, FULL = "256:float16@100>512:float16", "512:float16"


def enter_namespace() -> None:
    """Move this process to a network that has only the loopback interface."""
    from loopback import leave_network

    leave_network()


class Place:
    """A folder for an embedded engine.

    Attributes:
        engine: The name of the engine.
        scheme: The URL scheme.
        points: The operating points: of two stages, and of one stage at full width.
        queries: Number of queries.
    """

    engine = "embedded"
    scheme = ""
    points: tuple[str, ...] = (TWO_STAGES, FULL)
    queries = 500

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
        """Return the seconds of the native client to load vectors and ids; None without one."""
        return None

    def native(self, wanted: Wanted) -> Native | None:
        """Return a search of the index ``docs`` by the native client; None without one."""
        return None


class EmbeddedPlace(Place):
    """The engine of nestvec."""

    points = ("512:binary@200>512:float16", "512:int8", "512:float16")


class PostgresPlace(Place):
    """A PostgreSQL server with fsync, and with memory for the table and its indexes."""

    engine = "pgvector"
    points = ("512:sign@400>512:float16", TWO_STAGES, FULL)

    def __enter__(self) -> Self:
        """Start the server."""
        from postgres import PostgresServer

        from conftest import free_ports

        (port,) = free_ports(1)
        self._server = PostgresServer(port, fsync=True, shared_buffers="2GB").start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server."""
        self._server.remove()

    def url(self, name: str) -> str:
        """Return the URL of a table."""
        return f"{self._server.url}?table={name}"

    def bare_load(self, vectors: Embeddings) -> float:
        """Load by COPY."""
        return clients.load_postgres(clients.postgres(self._server.url), vectors)

    def native(self, wanted: Wanted) -> Native:
        """Search by psycopg."""
        return clients.search_postgres(clients.postgres(self._server.url), wanted)


class LancePlace(Place):
    """LanceDB in a local folder."""

    engine = "lancedb"
    scheme = "lance://"

    def bare_load(self, vectors: Embeddings) -> float:
        """Load by ``Table.add``."""
        return clients.load_lance(str(self.folder / "bare"), vectors)

    def native(self, wanted: Wanted) -> Native:
        """Search by the Python package lancedb."""
        return clients.search_lance(str(self.folder / "docs"), wanted)


class LanceS3Place(Place):
    """LanceDB on SeaweedFS, an S3 server."""

    engine = "lancedb"
    queries = 200

    def __enter__(self) -> Self:
        """Start the server."""
        from s3_server import s3_server

        self._running = ExitStack()
        self._bucket = self._running.enter_context(s3_server(self.folder, "bench"))
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server."""
        self._running.close()

    def url(self, name: str) -> str:
        """Return the URL of a folder of the bucket."""
        return f"{self._bucket}/{name}"

    def bare_load(self, vectors: Embeddings) -> float:
        """Load by ``Table.add``."""
        return clients.load_lance(f"{self._bucket}/bare", vectors)

    def native(self, wanted: Wanted) -> Native:
        """Search by the Python package lancedb."""
        return clients.search_lance(f"{self._bucket}/docs", wanted)


class QdrantPlace(Place):
    """Qdrant Edge in a local folder."""

    engine = "qdrant"
    scheme = "qdrant-edge://"

    def bare_load(self, vectors: Embeddings) -> float:
        """Load by ``upsert_points``."""
        return clients.load_edge(self.folder / "bare", vectors)

    def native(self, wanted: Wanted) -> Native:
        """Search by the Python package qdrant-edge, in a copy of the shard."""
        copied = self.folder / f"copy-{len(list(self.folder.iterdir()))}"
        shutil.copytree(self.folder / "docs" / "shard", copied)
        return clients.search_edge(copied, wanted)


class MilvusLitePlace(Place):
    """Milvus Lite in a local file. It searches exhaustively."""

    engine = "milvus"
    scheme = "milvus-lite://"
    points = ("256:float32@100>512:float32", "512:float32")

    def url(self, name: str) -> str:
        """Return the file."""
        return f"{self.scheme}{self.folder / name}.db"

    def bare_load(self, vectors: Embeddings) -> float:
        """Load by ``MilvusClient.insert``."""
        return clients.load_milvus(str(self.folder / "bare.db"), vectors)

    def native(self, wanted: Wanted) -> Native:
        """Search by pymilvus."""
        return clients.search_milvus(str(self.folder / "docs.db"), wanted)


class MilvusPlace(MilvusLitePlace):
    """A standalone Milvus server. A search with strong consistency waits for its next time tick."""

    queries = 100

    def __enter__(self) -> Self:
        """Start the server."""
        from milvus_server import MilvusServer

        self._server = MilvusServer().start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server."""
        self._server.stop()
        self._server.remove()

    def url(self, name: str) -> str:
        """Return the URL of an index."""
        return self._server.url if name == "docs" else f"{self._server.url}?collection={name}"

    def bare_load(self, vectors: Embeddings) -> float:
        """Load by ``MilvusClient.insert``."""
        return clients.load_milvus(f"http://127.0.0.1:{self._server.port}", vectors)

    def native(self, wanted: Wanted) -> Native:
        """Search by pymilvus."""
        return clients.search_milvus(f"http://127.0.0.1:{self._server.port}", wanted)


PLACES: dict[str, type[Place]] = {
    "embedded": EmbeddedPlace,
    "pgvector": PostgresPlace,
    "lancedb": LancePlace,
    "lancedb-s3": LanceS3Place,
    "qdrant-edge": QdrantPlace,
    "milvus-lite": MilvusLitePlace,
    "milvus": MilvusPlace,
}
