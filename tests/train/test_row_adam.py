"""RowAdam equals PyTorch's SparseAdam for any block size and number of threads."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from nestvec.train import row_adam
from nestvec.train.row_adam import RowAdam, start_workers

VOCAB, TEXTS, DIM = 20, 9, 6


def shares_of(rng):
    """Shares of tokens in texts, [vocab, n_texts]; most tokens do not occur."""
    shares = rng.random((VOCAB, TEXTS), dtype=np.float32)
    shares[rng.random(shares.shape) < 0.5] = 0
    shares[rng.choice(VOCAB, 13, replace=False)] = 0
    return csr_array(shares)


@pytest.mark.parametrize("block", [1, 4, 100])
def test_it_equals_pytorchs_sparse_adam(block, monkeypatch):
    monkeypatch.setattr(row_adam, "_BLOCK_ITEMS", block * DIM)
    monkeypatch.setattr(row_adam, "_MIN_ROWS", 3)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((VOCAB, DIM), dtype=np.float32)
    actual = RowAdam(table.copy())
    reference = torch.nn.Parameter(torch.from_numpy(table.copy()))
    optimizer = torch.optim.SparseAdam([reference], lr=0.1)
    with start_workers() as workers:
        for step in range(8):
            shares = shares_of(rng)
            gradient = rng.standard_normal((TEXTS, DIM), dtype=np.float32)
            optimizer.param_groups[0]["lr"] = rate = 0.1 / (step + 1)
            before = actual.table.copy()
            actual.step(shares, gradient, rate, workers)

            rows = np.unique(shares.nonzero()[0])
            others = np.setdiff1d(np.arange(VOCAB), rows)
            np.testing.assert_array_equal(actual.table[others], before[others])
            reference.grad = torch.sparse_coo_tensor(
                torch.from_numpy(rows)[None],
                torch.from_numpy(shares[rows] @ gradient),
                table.shape,
                check_invariants=True,
            )
            optimizer.step()
    np.testing.assert_allclose(actual.table, reference.detach().numpy(), atol=1e-5)


def test_a_step_without_tokens_has_no_effect():
    table = np.ones((VOCAB, DIM), dtype=np.float32)
    with start_workers() as workers:
        nothing = csr_array((VOCAB, TEXTS), dtype=np.float32)
        RowAdam(table).step(nothing, np.ones((TEXTS, DIM), dtype=np.float32), 0.1, workers)
    np.testing.assert_array_equal(table, 1)
