"""Measure how many rows an inverted file would skip in stage 1, and the loss of recall.

Rows are assigned to k-means clusters, as in an inverted file. A search scans the clusters whose
centroids are most similar to the query. The benchmark counts the scanned rows, and the share of the
exact best ten among them, which is the upper bound for any code.

    python benchmarks/clusters.py --corpus corpus --n 100000 1000000
"""

from __future__ import annotations

import argparse
from pathlib import Path

import faiss
import numpy as np

from record import record
from speed_corpus import Corpus

_PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 640, 768, 896, 1024)
_CLUSTERS = 1024
_TRAINED_ON = 64  # training rows per centroid
_BLOCK = 20_000


def main() -> None:
    """Measure each corpus size, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="Folder of sentences.py.")
    parser.add_argument(
        "--work", type=Path, default=Path("index-speed"), help="Folder for exact results."
    )
    parser.add_argument("--n", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    corpora = [Corpus(options.corpus, n, options.work) for n in options.n]
    results = {str(corpus.n): _measure(corpus, seed=options.seed) for corpus in corpora}
    settings = {"clusters": _CLUSTERS, "seed": options.seed, "corpus": corpora[-1].about}
    print(record("clusters", settings=settings, results=results))


def _measure(corpus: Corpus, *, seed: int) -> list[dict[str, float]]:
    centroids = _centroids(corpus, seed=seed)
    clusters = np.concatenate(
        [
            np.argmax(_rows(corpus, start) @ centroids.T, axis=1)
            for start in range(0, corpus.n, _BLOCK)
        ]
    )
    sizes = np.bincount(clusters, minlength=_CLUSTERS)
    nearest_first = np.argsort(-(corpus.queries @ centroids.T), axis=1)
    scanned = np.cumsum(sizes[nearest_first], axis=1) / corpus.n
    rank = np.argsort(nearest_first, axis=1)  # of each cluster, for each query
    reached = np.take_along_axis(rank, clusters[corpus.exact], axis=1)
    return [
        {
            "probes": probes,
            "rows_looked_at": round(float(scanned[:, probes - 1].mean()), 4),
            "overlap@10_at_most": round(float((reached < probes).mean()), 4),
        }
        for probes in _PROBES
    ]


def _centroids(corpus: Corpus, *, seed: int) -> np.ndarray:
    step = max(1, corpus.n // (_CLUSTERS * _TRAINED_ON))
    sample = np.ascontiguousarray(corpus.vectors[::step]).astype(np.float32)
    trained = faiss.Kmeans(
        sample.shape[1],
        _CLUSTERS,
        niter=10,
        spherical=True,
        seed=seed,
        max_points_per_centroid=_TRAINED_ON,
    )
    trained.train(sample)
    return trained.centroids


def _rows(corpus: Corpus, start: int) -> np.ndarray:
    return np.ascontiguousarray(corpus.vectors[start : start + _BLOCK]).astype(np.float32)


if __name__ == "__main__":
    main()
