"""An index of ten documents, and its model."""

import pytest

from fakes import NestedHashEncoder
from nestvec.index.building import build_index
from ten_documents import CORPUS


@pytest.fixture
def model():
    return NestedHashEncoder()


@pytest.fixture
def index(model, tmp_path):
    with build_index(model, CORPUS, "16:binary@8>64:int8", tmp_path / "index") as index:
        model.calls.clear()
        yield index
