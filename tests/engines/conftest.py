"""Fixtures: generated corpora, and the folder of a built index."""

import shutil

import faiss
import numpy as np
import pytest

from made_index import build
from nestvec.engines.embedded import state
from nestvec.types import Document, ModelInfo, OperatingPoint

FULL_DIM = 32


@pytest.fixture(autouse=True)
def one_thread():
    """Use one FAISS thread, as several threads are slower on small problems."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture(scope="module")
def small_calibration():
    """Use codes in an index that grows from its first document on, as with many documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "CALIBRATION_ROWS", 1)
        yield


@pytest.fixture(scope="session")
def model():
    return ModelInfo("models/ours", "f" * 64, FULL_DIM, (32, 16), "config.json", True)


@pytest.fixture(scope="session")
def corpus():
    """250 documents: ids unsorted and not only ASCII, and two with equal texts and vectors."""
    documents = {
        f"doc-{number}": Document(f"text {number}", f"title {number}", {"line": number})
        for number in range(244)
    }
    return documents | {
        "ü": Document("Grüße 👋", "日本"),
        "zz": Document("the same"),
        "aa": Document("the same"),
        "with 'quotes' \"\\": Document("it's"),
        "": Document("an empty id"),
        "empty": Document(""),
    }


@pytest.fixture(scope="session")
def built_folder(tmp_path_factory, model, corpus):
    path = tmp_path_factory.mktemp("built") / "index"
    point = OperatingPoint.parse("16:binary@40>32:int8@20>32:float16")
    build(path, model=model, corpus=corpus, embeddings=made_embeddings(corpus), point=point)
    return path


@pytest.fixture
def folder(tmp_path, built_folder):
    """A copy of the index, which a test may change."""
    return shutil.copytree(built_folder, tmp_path / "index")


def made_embeddings(corpus):
    values = np.random.default_rng(0).standard_normal((len(corpus), FULL_DIM)).astype(np.float32)
    rows = {id_: row for row, id_ in enumerate(corpus)}
    values[rows["aa"]] = values[rows["zz"]]
    values[rows["empty"]] = 0
    return values


@pytest.fixture
def embeddings(corpus):
    return made_embeddings(corpus)


@pytest.fixture
def queries():
    return np.random.default_rng(1).standard_normal((6, FULL_DIM)).astype(np.float32)
