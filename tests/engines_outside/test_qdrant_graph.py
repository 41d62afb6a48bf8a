"""The graph of Qdrant Edge on 20,000 documents: its width, filters, changes, quantization."""

from dataclasses import replace

import numpy as np
import pytest
from qdrant_setup import (
    POINT,
    WIDE,
    N,
    create,
    numbered,
    overlap,
    reopen,
    wide_vectors,
)

from nestvec.codec.prefix import as_stored
from nestvec.engines.filters.where import Where
from nestvec.engines.qdrant import table
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.engines.qdrant.indexing import HNSW_EF
from nestvec.engines.qdrant.shards import OpenShard
from nestvec.types import Document

TENTH, HUNDREDTH = Where.parse("n has 3"), Where.parse("tag = 't7'")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An index with a graph, opened again after it was built."""
    index = create(tmp_path_factory.mktemp("large") / "index", POINT, WIDE)
    vectors = wide_vectors(N, seed=1)
    for start in range(0, N, 4_000):
        numbers = range(start, start + 4_000)
        index.add(numbered(numbers), vectors[start : start + 4_000])
    index.build_codes()
    index = reopen(index)
    yield index
    index.close()


class TestGraph:
    queries = wide_vectors(50, seed=2)

    def exhaustive(self, index, k=10, where=None):
        settings, index._table.manifest = index.manifest, replace(index.manifest, settings={})
        try:
            return index.search(self.queries, k, where=where)
        finally:
            index._table.manifest = settings

    def test_the_width_of_the_search_is_fitted(self, large):
        settings = large.manifest.settings
        assert (settings["index"], settings["first_stage"]) == ("hnsw", "16:float16")
        assert settings["hnsw_ef"] in HNSW_EF
        assert settings["overlap@10"] >= 0.99
        found = large.search(self.queries, 10)
        assert overlap(found, self.exhaustive(large)) >= 0.97
        assert large.stats().settings == settings

    def test_a_search_uses_the_graph(self, large, monkeypatch):
        shard = large._table._points
        assert shard._call(lambda edge: edge.info()).indexed_vectors_count >= N
        monkeypatch.setattr(large._table._searcher, "exhaustive", None)
        monkeypatch.setattr(shard, "query", lambda bodies: sent.extend(bodies) or query(bodies))
        query, sent = OpenShard.query.__get__(shard), []
        large.search(self.queries[:1], 10)
        (body,) = sent
        assert (body["using"], body["params"]) == ("full", {"exact": True})
        first = body["prefetch"]
        assert (first["using"], first["limit"]) == ("p16_float16", 100)
        assert first["params"]["hnsw_ef"] >= 100  # a smaller value would shorten the shortlist

    @pytest.mark.parametrize("where", [TENTH, HUNDREDTH], ids=["10 %", "1 %"])
    @pytest.mark.parametrize("most", [0, table.FILTERED_EXHAUSTIVE], ids=["graph", "exhaustive"])
    def test_a_filtered_search_returns_k(self, large, monkeypatch, where, most):
        monkeypatch.setattr(table, "FILTERED_EXHAUSTIVE", most)
        found = large.search(self.queries, 60, where=where)
        assert {len(ids) for ids in found.ids} == {60}
        assert overlap(found, self.exhaustive(large, 60, where)) >= (0.9 if most == 0 else 1)

    def test_documents_that_the_graph_lacks_are_found(self, large):
        vectors = wide_vectors(3, seed=3)
        large.add({f"new{n}": Document("new") for n in range(3)}, vectors)
        assert [ids for (ids,) in large.search(vectors, 1).ids] == ["new0", "new1", "new2"]
        large.compact()
        assert [ids for (ids,) in large.search(vectors, 1).ids] == ["new0", "new1", "new2"]
        assert large.delete(["new0", "new1", "new2"]) == 3
        assert len(large) == N

    def test_an_exact_search_does_not_use_the_graph(self, large):
        unit = as_stored(wide_vectors(N, seed=1))
        scores = as_stored(self.queries) @ unit.T
        hits = large.search(self.queries, 10, exact=True)
        for query, ids in enumerate(hits.ids):
            best = np.argsort(-scores[query])[:10]
            assert ids == [f"d{row}" for row in best]

    def test_a_quantized_graph_keeps_the_overlap(self, large):
        before = self.exhaustive(large)
        index = QdrantEdgeEngine.open(f"{large.place}?quantization=turbo4")
        index.build_codes()
        settings = index.manifest.settings
        assert (settings["quantization"], settings["oversampling"]) == ("turbo4", 4.0)
        assert settings["overlap@10"] >= 0.99
        assert self.exhaustive(index) == before  # an exhaustive search is not quantized
        assert overlap(index.search(self.queries, 10), before) >= 0.97
        params = index._table._graph.params(POINT, settings, 10)
        assert params["quantization"] == {"rescore": True, "oversampling": 4.0}
        settings = {name: settings[name] for name in ("first_stage", "hnsw_ef")}
        params = index._table._graph.params(POINT, settings, 10)
        assert params["quantization"] == {"ignore": True}
        index.close()
