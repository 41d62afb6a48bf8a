"""A small model to train, on one thread: steps are tiny, and waiting for a busy core is slow."""

import pytest
import torch
from sentence_transformers import SentenceTransformer


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model(bert_folder):
    torch.manual_seed(0)
    return SentenceTransformer(str(bert_folder), device="cpu")
