"""Codecs that a compaction fits are stored, codes are not rebuilt, and drift is reset."""

import logging

from made_index import build
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.types import OperatingPoint


def test_codecs_fitted_by_a_compaction_are_loaded_at_the_next_opening(
    tmp_path, model, corpus, embeddings, caplog
):
    point = OperatingPoint.parse("16:int8@50>32:int8")
    build(tmp_path / "i", model=model, corpus=corpus, embeddings=embeddings, point=point)
    index = EmbeddedEngine(tmp_path / "i")
    before = index.manifest.codecs[(16, "int8")].calibration
    more = {f"far {id_}": document for id_, document in corpus.items()}
    index.add(more, embeddings[:, ::-1])  # of another distribution
    index.delete(list(corpus))
    assert index.stats().outside > 0
    index.compact()
    assert index.stats().outside is None
    hits = index.search(embeddings[:5], 5)
    index.close()
    with caplog.at_level(logging.WARNING):
        again = EmbeddedEngine(tmp_path / "i", verify=True)
        assert again.search(embeddings[:5], 5) == hits
        assert (again.manifest.codecs[(16, "int8")].calibration != before).any()
        again.close()
    assert caplog.records == []
