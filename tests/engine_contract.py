"""The tests that every engine must pass. A new engine is tested by defining an ``EngineSetup``.

    class TestMine(EngineContract):
        @pytest.fixture
        def setup(self):
            return MyAdapter()

Tests of features that an engine's ``Capabilities`` exclude are skipped. All other tests must pass.
The files of an engine, and the effects of kills, are tested elsewhere.
"""

from __future__ import annotations

import pytest

from engine_changes import Changes
from engine_searches import Searches
from engine_setup import CORPUS, MODEL, PLAIN, VECTORS, needs_point


class EngineContract(Searches, Changes):
    """The tests of the contract; a subclass defines the fixture ``setup``."""

    @pytest.fixture(params=["plain", "staged"])
    def point(self, setup, request):
        """A point of one stage, and a point whose first stage makes a shortlist."""
        return PLAIN if request.param == "plain" else setup.staged

    @pytest.fixture
    def open_index(self, setup, tmp_path):
        """A function that creates an index of the corpus, or of some documents, with a point."""
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
