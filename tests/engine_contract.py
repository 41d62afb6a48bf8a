"""What every engine does, as tests: a new one passes them all by giving an ``Adapter``.

    class TestMine(EngineContract):
        @pytest.fixture
        def adapter(self):
            return MyAdapter()

An engine may leave out what its ``Capabilities`` say; those tests are skipped and say so. All other
tests must pass. How an engine stores its files, and what happens when it is killed, is
tested elsewhere.
"""

from __future__ import annotations

import pytest

from engine_adapter import CORPUS, MODEL, PLAIN, VECTORS, needs_point
from engine_changes import Changes
from engine_searches import Searches


class EngineContract(Searches, Changes):
    """Give ``adapter`` as a fixture of the subclass."""

    @pytest.fixture
    def open_index(self, adapter, tmp_path):
        """Makes an index of the corpus, or of some of it, at a point."""
        opened = []

        def make(point=PLAIN, ids=tuple(CORPUS)):
            needs_point(adapter, point)
            index = adapter.create(tmp_path / f"index-{len(opened)}", MODEL, point)
            opened.append(index)
            if ids:
                rows = [int(id_[1:]) for id_ in ids]
                index.add({id_: CORPUS[id_] for id_ in ids}, VECTORS[rows])
                adapter.settle(index)
            return index

        yield make
        for index in opened:
            index.close()
