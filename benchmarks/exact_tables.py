"""Write the table of ``results/exact_search.json``."""

from __future__ import annotations

import statistics

from markdown_tables import markdown, results

_KINDS = {(1, 1): "1 query, 1 thread", (100, 1): "100, 1 thread", (100, 2): "100, 2 threads"}


def exact_search() -> str:
    """Write the times of each contender as multiples of FAISS's IndexFlatIP, in milliseconds."""
    found = results("exact_search")
    lines = [["vectors", "instructions", "search", *_KINDS.values()]]
    for instructions, runs in found.items():
        timed = [row for row in runs["rows"] if "ms" in row]
        for n, name in dict.fromkeys((row["n"], row["name"]) for row in timed):
            own = {
                (row["queries"], row["threads"]): row
                for row in timed
                if (row["n"], row["name"]) == (n, name)
            }
            cells = [
                f"{statistics.median(own[kind]['ms']):,.1f} ms ({own[kind]['of_reference']:.2f})"
                for kind in _KINDS
            ]
            used = "AVX2" if instructions == "AVX2 only" else runs["faiss_level"].split("_")[0]
            lines.append([f"{n:,}", used, name, *cells])
    return markdown(lines)
