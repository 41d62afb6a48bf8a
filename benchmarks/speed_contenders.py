"""Contenders of the speed benchmark: nestvec's operating points and FAISS's indexes.

A contender writes its index to a folder. Another process opens the folder and searches it at
several settings, from fast to accurate. ``speed_rivals`` has the contenders of other projects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.manifest import Manifest
from nestvec.types import Document, Embeddings, ModelInfo, OperatingPoint, Rows

Setting = tuple[int, ...]
Search = Callable[[Embeddings, int, Setting, int], Rows]
"""A function of queries, k, a setting and threads that returns the best rows, [n_queries, k]."""
_EFFORTS = (16, 32, 64, 96, 128, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
EFFORTS: tuple[Setting, ...] = tuple((ef,) for ef in _EFFORTS)
FIELD = "hundredth"
"""A metadata field of nestvec's documents, with the values 0 to 99."""
_BATCH = 50_000  # documents added together


class Contender(Protocol):
    """An index that can be built and searched.

    Attributes:
        name: The name in tables.
        package: The package that it imports.
        settings: The settings, from fast to accurate.
    """

    name: str
    package: ClassVar[str]
    settings: Sequence[Setting]

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Write the index of unit vectors, [n, dim], into an empty folder."""

    def open(self, folder: Path) -> Search:
        """Return the search of the index in a folder."""


@dataclass(frozen=True)
class NestVec:
    """The embedded engine with one first stage and several lengths of the shortlist.

    Attributes:
        name: The name in tables.
        stage: The first stage.
        settings: The lengths of the shortlist; 0 for an exact search.
    """

    package: ClassVar[str] = "faiss"
    name: str
    stage: str
    settings: Sequence[Setting]

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Write documents without texts, as the other contenders store no texts."""
        let_faiss_use(threads)
        full_dim = vectors.shape[1]
        model = ModelInfo("benchmark", "benchmark", full_dim, (full_dim,), "benchmark", True)
        create_folder(folder, Manifest(model, "float16", self._point(full_dim, 100)))
        index = EmbeddedEngine(folder)
        for start in range(0, len(vectors), _BATCH):
            block = vectors[start : start + _BATCH]
            rows = range(start, start + len(block))
            added = {f"{row:09d}": Document("", metadata={FIELD: row % 100}) for row in rows}
            index.add(added, block, build_codes=False)
        index.build_codes()
        index.close()

    def open(self, folder: Path) -> Search:
        """Open the folder."""
        index = EmbeddedEngine(folder)

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            let_faiss_use(threads)
            if setting == (0,):
                hits = index.search(queries, k, exact=True)
            else:
                hits = index.search(queries, k, point=self._point(queries.shape[1], *setting))
            return np.array(hits.ids, dtype=np.int64)

        return search

    def _point(self, full_dim: int, keep: int) -> OperatingPoint:
        return OperatingPoint.parse(f"{self.stage}@{keep}>{full_dim}:float16")


@dataclass(frozen=True)
class Faiss:
    """An index of FAISS, which is written to one file and read into memory.

    Attributes:
        name: The name in tables.
        factory: The text for ``faiss.index_factory``; ``{lists}`` grows with the corpus.
        names: The parameters that the numbers of a setting set.
        settings: The settings, from fast to accurate.
        built: The parameters that are set before the index is built.
    """

    package: ClassVar[str] = "faiss"
    name: str
    factory: str
    names: Sequence[str]
    settings: Sequence[Setting]
    built: Mapping[str, int] = field(default_factory=dict)

    def build(self, vectors: Embeddings, folder: Path, *, threads: int) -> None:
        """Train the index, add all vectors, and write the file."""
        import faiss

        let_faiss_use(threads)
        lists = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))
        factory = self.factory.format(lists=lists)
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        space: Any = faiss.ParameterSpace()
        for name, value in self.built.items():
            space.set_index_parameter(index, name, value)
        index.train(vectors)
        index.add(vectors)
        faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder: Path) -> Search:
        """Read the index into memory."""
        import faiss

        index = faiss.read_index(str(folder / "index.faiss"))
        space: Any = faiss.ParameterSpace()

        def search(queries: Embeddings, k: int, setting: Setting, threads: int) -> Rows:
            let_faiss_use(threads)
            for name, value in zip(self.names, setting, strict=True):
                space.set_index_parameter(index, name, value)
            rows: Rows = index.search(queries, k)[1]
            return rows

        return search


def let_faiss_use(threads: int) -> None:
    """Set the number of threads of FAISS."""
    import faiss

    faiss.omp_set_num_threads(threads)


def _shortlists(*keeps: int) -> tuple[Setting, ...]:
    return tuple((keep,) for keep in keeps)


_BUILT = {"efConstruction": 100}
_PROBES = (4, 8, 16, 32, 64, 128, 256)
OURS: tuple[NestVec, ...] = (
    NestVec(
        "nestvec 512:binary", "512:binary", _shortlists(20, 40, 50, 100, 120, 150, 200, 400, 800)
    ),
    NestVec(
        "nestvec 256:binary",
        "256:binary",
        _shortlists(50, 100, 200, 400, 800, 1000, 1200, 1500, 2000, 3000),
    ),
    NestVec("nestvec 512:int4", "512:int4", _shortlists(10, 15, 20, 50)),
    NestVec("nestvec 256:int4", "256:int4", _shortlists(10, 20, 50, 100, 200)),
    NestVec("nestvec 512:pq4", "512:pq4", _shortlists(10, 20, 30, 50, 100)),
    NestVec("nestvec, exact", "512:binary", _shortlists(0)),
)
THEIRS: tuple[Faiss, ...] = (
    Faiss("FAISS flat float32", "Flat", (), ((),)),
    Faiss("FAISS HNSW16 float32", "HNSW16,Flat", ["efSearch"], EFFORTS, _BUILT),
    Faiss("FAISS HNSW32 float32", "HNSW32,Flat", ["efSearch"], EFFORTS, _BUILT),
    Faiss("FAISS HNSW32 8-bit", "HNSW32,SQ8", ["efSearch"], EFFORTS, _BUILT),
    Faiss(
        "FAISS IVF-PQ fast-scan, refined at float16",
        "IVF{lists},PQ256x4fs,Refine(SQfp16)",
        ["k_factor_rf", "nprobe"],
        (*((10, probes) for probes in _PROBES), (20, 256), (20, 512), (20, 1024)),
    ),
)
