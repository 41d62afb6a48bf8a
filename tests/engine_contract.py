"""What every engine does, as tests: a new one passes them all by giving an ``EngineSetup``.

    class TestMine(EngineContract):
        @pytest.fixture
        def setup(self):
            return MyAdapter()

An engine may leave out what its ``Capabilities`` say; those tests are skipped and say so. All other
tests must pass. How an engine stores its files, and what happens when it is killed, is
tested elsewhere.
"""

from __future__ import annotations

import pytest

from engine_changes import Changes
from engine_searches import Searches
from engine_setup import CORPUS, MODEL, PLAIN, VECTORS, needs_point


class EngineContract(Searches, Changes):
    """Give ``setup`` as a fixture of the subclass."""

    @pytest.fixture
    def open_index(self, setup, tmp_path):
        """Makes an index of the corpus, or of some of it, at a point."""
        opened = []

        def make(point=PLAIN, ids=tuple(CORPUS)):
            needs_point(setup, point)
            index = setup.create(tmp_path / f"index-{len(opened)}", MODEL, point)
            opened.append(index)
            if ids:
                rows = [int(id_[1:]) for id_ in ids]
                index.add({id_: CORPUS[id_] for id_ in ids}, VECTORS[rows])
                setup.settle(index)
            return index

        yield make
        for index in opened:
            index.close()
