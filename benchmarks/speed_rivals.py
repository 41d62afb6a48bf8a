"""Contenders of other projects: usearch, hnswlib, ScaNN and LanceDB, set up as they document.

Each package is imported when it is used. Packages that are not installed are left out and listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nestvec.types import Embeddings, Rows
from speed_contenders import EFFORTS, OURS, THEIRS, Contender, Search, Setting
from speed_quantizers import QUANTIZED, runs_here

_LINKS, _EFFORT = 16, 100  # parameters of the graphs, the same as for FAISS
_BATCH = 50_000


@dataclass(frozen=True)
class USearch:
    """A graph of usearch over vectors of lower precision."""

    package: ClassVar[str] = "usearch.index"
    name: str
    dtype: str
    settings: Sequence[Setting] = EFFORTS

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Add all vectors and save."""
        from usearch.index import Index

        index = Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype=self.dtype,
            connectivity=_LINKS,
            expansion_add=_EFFORT,
        )
        index.add(np.arange(len(vectors)), vectors, threads=threads)
        index.save(str(folder / "index.usearch"))

    def open(self, folder: Path) -> Search:
        """Load it into memory."""
        from usearch.index import Index

        index = Index.restore(str(folder / "index.usearch"))

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            (index.expansion_search,) = setting
            found = index.search(queries if len(queries) > 1 else queries[0], k, threads=threads)
            return np.asarray(found.keys, dtype=np.int64).reshape(len(queries), k)

        return search


@dataclass(frozen=True)
class HnswLib:
    """The graph of hnswlib, float32."""

    package: ClassVar[str] = "hnswlib"
    name: str
    settings: Sequence[Setting] = EFFORTS

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Add all vectors and save."""
        import hnswlib

        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), ef_construction=_EFFORT, M=_LINKS)
        index.add_items(vectors, num_threads=threads)
        index.save_index(str(folder / f"{vectors.shape[1]}.hnswlib"))

    def open(self, folder: Path) -> Search:
        """Load it into memory."""
        import hnswlib

        (file,) = folder.glob("*.hnswlib")
        index = hnswlib.Index(space="ip", dim=int(file.stem))
        index.load_index(str(file))

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            index.set_ef(max(k, *setting))
            return index.knn_query(queries, k=k, num_threads=threads)[0].astype(np.int64)

        return search


@dataclass(frozen=True)
class ScaNN:
    """ScaNN's tree with anisotropic codes of 4 bits, reordered by float32."""

    package: ClassVar[str] = "scann"
    name: str
    settings: Sequence[Setting] = tuple((leaves, 100) for leaves in (4, 8, 16, 32, 64, 128, 256))

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Train and save, with the square root of the rows as leaves, as ScaNN recommends."""
        import scann

        builder = scann.scann_ops_pybind.builder(vectors, 10, "dot_product")
        leaves = int(np.sqrt(len(vectors)))
        searcher = (
            builder.set_n_training_threads(threads)
            .tree(num_leaves=leaves, num_leaves_to_search=32, training_sample_size=250_000)
            .score_ah(2, anisotropic_quantization_threshold=0.2)
            .reorder(100)
            .build()
        )
        searcher.serialize(str(folder))

    def open(self, folder: Path) -> Search:
        """Load it into memory."""
        import scann

        searcher = scann.scann_ops_pybind.load_searcher(str(folder))

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            leaves, reordered = setting
            searcher.set_num_threads(threads)
            if len(queries) == 1:
                found = searcher.search(queries[0], k, reordered, leaves)[0]
            elif threads == 1:
                found = searcher.search_batched(queries, k, reordered, leaves)[0]
            else:
                found = searcher.search_batched_parallel(queries, k, reordered, leaves)[0]
            return np.asarray(found, dtype=np.int64).reshape(len(queries), k)

        return search


@dataclass(frozen=True)
class LanceDB:
    """LanceDB's inverted lists of product codes, refined with the vectors on disk."""

    package: ClassVar[str] = "lancedb"
    name: str
    settings: Sequence[Setting] = ((8, 10), (16, 10), (32, 10), (32, 20), (64, 20), (128, 50))

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Write the table and its index, with 8 dims per sub-vector and the other defaults."""
        import lancedb

        table = lancedb.connect(str(folder)).create_table("vectors", _lance_batches(vectors))
        sub_vectors = vectors.shape[1] // 8
        table.create_index(metric="dot", num_sub_vectors=sub_vectors, index_type="IVF_PQ")

    def open(self, folder: Path) -> Search:
        """Open the table."""
        import lancedb

        table = lancedb.connect(str(folder)).open_table("vectors")

        def one(query: Embeddings, k: int, setting: Setting) -> list[int]:
            probes, refined = setting
            request = table.search(query).distance_type("dot").nprobes(probes)
            request = request.refine_factor(refined).limit(k).select(["row", "_distance"])
            return request.to_arrow()["row"].to_pylist()

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            if len(queries) == 1:
                return np.array([one(queries[0], k, setting)], dtype=np.int64)
            with ThreadPoolExecutor(threads) as pool:
                found = pool.map(lambda query: one(query, k, setting), queries)
            return np.array(list(found), dtype=np.int64)

        return search


def _lance_batches(vectors: Embeddings) -> Any:
    import pyarrow as pa

    list_ = pa.list_(pa.float32(), vectors.shape[1])
    schema = pa.schema([("row", pa.int64()), ("vector", list_)])

    def batches() -> Iterator[Any]:
        for start in range(0, len(vectors), _BATCH):
            block = vectors[start : start + _BATCH]
            values = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), type=list_)
            rows = pa.array(np.arange(start, start + len(block)))
            yield pa.RecordBatch.from_arrays([rows, values], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


CONTENDERS: dict[str, Contender] = {
    each.name: each
    for each in (
        *OURS,
        *THEIRS,
        USearch("usearch float16", "f16"),
        USearch("usearch 8-bit", "i8"),
        HnswLib("hnswlib float32"),
        ScaNN("ScaNN"),
        LanceDB("LanceDB IVF-PQ, refined"),
        *QUANTIZED,
    )
}


def left_out() -> list[str]:
    """Return the names of contenders that are not installed or do not run on this processor."""
    packages = {name: each.package.partition(".")[0] for name, each in CONTENDERS.items()}
    missing = [name for name, package in packages.items() if find_spec(package) is None]
    return [*missing, *(each.name for each in QUANTIZED if not runs_here(each))]
