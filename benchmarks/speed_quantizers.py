"""Contenders that search quantized vectors: turbovec, RaBitQ, SVS, zvec and Qdrant Edge.

Each is set up as its project documents. Codes alone lose too much, so turbovec's and FAISS's codes
are also rescored with float16 vectors, as nestvec's are. ``speed_rivals`` has the graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nestvec.types import Embeddings, Rows
from speed_contenders import EFFORTS, Search, Setting, let_faiss_use

_SAMPLE = 1_024  # vectors with which turbovec is calibrated, as it recommends
_HALVES = "halves.npy"
_LINKS, _WINDOW = 32, 200
_KEEPS: tuple[Setting, ...] = tuple((keep,) for keep in (20, 40, 60, 100, 150, 200, 400))
_BATCH = 10_000


@dataclass(frozen=True)
class TurboVec:
    """A scan of turbovec, rescored with float16 vectors in memory unless the setting is 0."""

    package: ClassVar[str] = "turbovec"
    name: str
    bits: int
    settings: Sequence[Setting]

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Calibrate, add all vectors and save."""
        from turbovec import TurboQuantIndex

        index = TurboQuantIndex(vectors.shape[1], self.bits)
        rows = np.random.default_rng(0).choice(len(vectors), _SAMPLE, replace=False)
        index.calibrate(np.ascontiguousarray(vectors[np.sort(rows)]))
        index.add(vectors)
        index.write(str(folder / "index.tv"))
        np.save(folder / _HALVES, vectors.astype(np.float16))

    def open(self, folder: Path) -> Search:
        """Load the codes, and the vectors if they are needed."""
        from turbovec import TurboQuantIndex

        index = TurboQuantIndex.load(str(folder / "index.tv"))
        index.prepare()
        halves = np.load(folder / _HALVES) if any(keep for (keep,) in self.settings) else None

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            (keep,) = setting
            _, rows = index.search(queries, keep or k)
            return rows if halves is None else rescored(queries, rows, halves, k)

        return search


@dataclass(frozen=True)
class FaissRaBitQ:
    """FAISS's fast-scan of 1-bit RaBitQ codes, rescored with float16 vectors in memory."""

    package: ClassVar[str] = "faiss"
    name: str
    settings: Sequence[Setting] = _KEEPS

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Rotate, encode and save."""
        import faiss

        let_faiss_use(threads)
        dim = vectors.shape[1]
        index = faiss.index_factory(dim, f"RR{dim},RaBitQfs", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // 100_000)])
        for start in range(0, len(vectors), _BATCH * 5):
            index.add(vectors[start : start + _BATCH * 5])
        faiss.write_index(index, str(folder / "index.faiss"))
        np.save(folder / _HALVES, vectors.astype(np.float16))

    def open(self, folder: Path) -> Search:
        """Read codes and vectors into memory."""
        import faiss

        index = faiss.read_index(str(folder / "index.faiss"))
        halves = np.load(folder / _HALVES)

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            let_faiss_use(threads)
            _, rows = index.search(queries, *setting)
            return rescored(queries, rows, halves, k)

        return search


def rescored(queries: Embeddings, rows: Rows, halves: np.ndarray[Any, Any], k: int) -> Rows:
    """Return the best ``k`` candidates of each query by float16 vectors, in memory."""
    best = np.empty((len(queries), k), dtype=np.int64)
    for line, query in enumerate(queries):
        scores = halves[rows[line]].astype(np.float32) @ query
        best[line] = rows[line][np.argsort(-scores)[:k]]
    return best


@dataclass(frozen=True)
class RaBitQLib:
    """rabitqlib's inverted lists with RaBitQ codes, for which it recommends 7 bits."""

    package: ClassVar[str] = "rabitqlib"
    name: str
    bits: int = 7
    settings: Sequence[Setting] = tuple((n,) for n in (8, 16, 32, 64, 128, 256, 512))

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Cluster and encode."""
        from rabitqlib import IvfIndex, QGKMeans

        n_lists = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))
        clusters = QGKMeans(vectors.shape[1], n_lists, num_threads=threads, spherical=True)
        clusters.train(vectors)
        index = IvfIndex(vectors.shape[1], len(vectors), n_lists, self.bits, "ip")
        index.build(vectors, clusters.centroids, clusters.assignments, num_threads=threads)
        index.save(str(folder / "index.rabitq"))

    def open(self, folder: Path) -> Search:
        """Load it into memory."""
        from rabitqlib import IvfIndex

        index = IvfIndex.load(str(folder / "index.rabitq"))

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            found = index.search(queries, k, *setting, num_threads=threads)
            return _ids_of(found, len(queries), k)

        return search


@dataclass(frozen=True)
class SVS:
    """A Vamana graph of Scalable Vector Search over float16 vectors, LVQ or LeanVec codes.

    Attributes:
        name: The name in tables.
        kind: "float16", "LVQ" or "LeanVec". Codes require a processor of Intel.
    """

    package: ClassVar[str] = "svs"
    name: str
    kind: str
    settings: Sequence[Setting] = EFFORTS

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Compress, build the graph and save."""
        import svs

        parameters = svs.VamanaBuildParameters(
            alpha=0.95, graph_max_degree=_LINKS, window_size=_WINDOW
        )
        source = folder / "vectors.fvecs"
        data: Any = vectors.astype(np.float16)
        if self.kind != "float16":
            svs.write_vecs(vectors, str(source))
            data = svs.VectorDataLoader(str(source), svs.DataType.float32, dims=vectors.shape[1])
        if self.kind == "LVQ":
            data = svs.LVQLoader(data, primary=4, residual=8)
        elif self.kind == "LeanVec":
            data = svs.LeanVecLoader(data, vectors.shape[1] // 2)
        index = svs.Vamana.build(parameters, data, svs.DistanceType.MIP, num_threads=threads)
        index.save(*(str(folder / name) for name in ("config", "graph", "data")))
        source.unlink(missing_ok=True)

    def open(self, folder: Path) -> Search:
        """Load it into memory."""
        import svs

        data: Any = str(folder / "data")
        if self.kind == "float16":
            data = svs.VectorDataLoader(data, svs.DataType.float16)
        else:
            data = (svs.LVQLoader if self.kind == "LVQ" else svs.LeanVecLoader)(data)
        graph = svs.GraphLoader(str(folder / "graph"))
        index = svs.Vamana(str(folder / "config"), graph, data, svs.DistanceType.MIP)

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            index.num_threads = threads
            index.search_window_size = max(k, *setting)
            return np.asarray(index.search(queries, k)[0], dtype=np.int64)

        return search


@dataclass(frozen=True)
class QdrantEdge:
    """Qdrant Edge: its graph over binary codes, rescored with its float32 vectors."""

    package: ClassVar[str] = "qdrant_edge"
    name: str
    settings: Sequence[Setting] = tuple(
        (effort, factor) for factor in (4, 16, 64) for effort in (64, 256)
    )

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Upsert the vectors, and build the graph."""
        import qdrant_edge as edge

        codes = edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned)
        own = edge.EdgeVectorParams(
            size=vectors.shape[1], distance=edge.Distance.Dot, quantization_config=codes
        )
        place = folder / "shard"
        place.mkdir()
        shard = edge.EdgeShard.create(str(place), edge.EdgeConfig(vectors={"vector": own}))
        for start in range(0, len(vectors), _BATCH):
            block = vectors[start : start + _BATCH]
            points = [
                edge.Point(start + number, {"vector": each.tolist()})
                for number, each in enumerate(block)
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
        while shard.optimize():
            pass
        shard.flush()
        shard.close()

    def open(self, folder: Path) -> Search:
        """Open the shard."""
        import qdrant_edge as edge

        shard = edge.EdgeShard.load(str(folder / "shard"), None)

        def one(query: Embeddings, k: int, setting: Setting) -> list[int]:
            effort, factor = setting
            codes = edge.QuantizationSearchParams(rescore=True, oversampling=float(factor))
            request = edge.QueryRequest(
                query=edge.Query.Nearest(query.tolist(), using="vector"),
                params=edge.SearchParams(hnsw_ef=effort, quantization=codes),
                limit=k,
            )
            return [int(point.id) for point in shard.query(request)]

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            return np.array([one(query, k, setting) for query in queries], dtype=np.int64)

        return search


@dataclass(frozen=True)
class Zvec:
    """zvec's graph over RaBitQ codes."""

    package: ClassVar[str] = "zvec"
    name: str
    settings: Sequence[Setting] = EFFORTS[:10]

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Insert the vectors, and build the graph."""
        import zvec

        index = zvec.HnswRabitqIndexParam(metric_type=zvec.MetricType.IP)
        vector = zvec.VectorSchema(
            "vector", zvec.DataType.VECTOR_FP32, vectors.shape[1], index_param=index
        )
        schema = zvec.CollectionSchema("documents", vectors=vector)
        collection = zvec.create_and_open(str(folder / "documents"), schema)
        for start in range(0, len(vectors), 1_000):
            block = vectors[start : start + 1_000]
            collection.insert(
                [
                    zvec.Doc(id=str(start + number), vectors={"vector": each.tolist()})
                    for number, each in enumerate(block)
                ]
            )
        collection.optimize()
        collection.flush()

    def open(self, folder: Path) -> Search:
        """Open the collection."""
        import zvec

        collection = zvec.open(str(folder / "documents"))

        def one(query: Embeddings, k: int, effort: int) -> list[int]:
            request = zvec.Query(
                "vector", vector=query.tolist(), param=zvec.HnswRabitqQueryParam(ef=effort)
            )
            return [int(found.id) for found in collection.query(request, topk=k)]

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            return np.array([one(query, k, *setting) for query in queries], dtype=np.int64)

        return search


def _ids_of(found: Any, n_queries: int, k: int) -> Rows:
    """Return the integer array of a pair of ids and distances, in either order."""
    (ids,) = (each for each in map(np.asarray, found) if np.issubdtype(each.dtype, np.integer))
    return ids.astype(np.int64).reshape(n_queries, k)


QUANTIZED = (
    TurboVec("turbovec 2-bit", 2, ((0,),)),
    TurboVec("turbovec 2-bit, rescored", 2, _KEEPS),
    TurboVec("turbovec 4-bit", 4, ((0,),)),
    TurboVec("turbovec 4-bit, rescored", 4, _KEEPS),
    FaissRaBitQ("FAISS RaBitQ fast-scan, rescored"),
    RaBitQLib("rabitqlib IVF, 7 bits"),
    SVS("SVS Vamana float16", "float16"),
    SVS("SVS Vamana LVQ4x8", "LVQ"),
    SVS("SVS Vamana LeanVec", "LeanVec"),
    Zvec("zvec HNSW-RaBitQ"),
    QdrantEdge("Qdrant Edge, binary codes"),
)


def runs_here(contender: object) -> bool:
    """Return whether a contender runs on this processor: codes of SVS require one of Intel."""
    is_codes = isinstance(contender, SVS) and contender.kind != "float16"
    return not is_codes or "GenuineIntel" in Path("/proc/cpuinfo").read_text()
