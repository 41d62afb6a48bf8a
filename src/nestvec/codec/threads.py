"""Set the number of FAISS threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def n_threads() -> int:
    """Return the number of threads that FAISS uses for a batch of queries."""
    import faiss

    threads: int = faiss.omp_get_max_threads()
    return threads


@contextmanager
def one_thread() -> Iterator[None]:
    """Run FAISS on one thread, for single queries and for work too small to parallelize."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
