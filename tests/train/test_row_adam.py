"""The optimizer of rows: PyTorch's own sparse one, whatever the blocks and threads."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from nestvec.train import row_adam
from nestvec.train.row_adam import RowAdam, start_workers

VOCAB, TEXTS, DIM = 20, 9, 6


def shares_of(rng):
    """Shares of tokens in texts, the tokens down; most tokens stand nowhere."""
    shares = rng.random((VOCAB, TEXTS), dtype=np.float32)
    shares[rng.random(shares.shape) < 0.5] = 0
    shares[rng.choice(VOCAB, 13, replace=False)] = 0
    return csr_array(shares)


@pytest.mark.parametrize("block", [1, 4, 100])
def test_it_equals_pytorchs_sparse_adam(block, monkeypatch):
    monkeypatch.setattr(row_adam, "_BLOCK_ITEMS", block * DIM)
    monkeypatch.setattr(row_adam, "_LEAST_ROWS", 3)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((VOCAB, DIM), dtype=np.float32)
    ours = RowAdam(table.copy())
    theirs = torch.nn.Parameter(torch.from_numpy(table.copy()))
    optimizer = torch.optim.SparseAdam([theirs], lr=0.1)
    with start_workers() as workers:
        for step in range(8):
            shares = shares_of(rng)
            gradient = rng.standard_normal((TEXTS, DIM), dtype=np.float32)
            optimizer.param_groups[0]["lr"] = rate = 0.1 / (step + 1)
            before = ours.table.copy()
            ours.step(shares, gradient, rate, workers)

            rows = np.unique(shares.nonzero()[0])
            others = np.setdiff1d(np.arange(VOCAB), rows)
            np.testing.assert_array_equal(ours.table[others], before[others])
            theirs.grad = torch.sparse_coo_tensor(
                torch.from_numpy(rows)[None],
                torch.from_numpy(shares[rows] @ gradient),
                table.shape,
                check_invariants=True,
            )
            optimizer.step()
    np.testing.assert_allclose(ours.table, theirs.detach().numpy(), atol=1e-5)


def test_a_step_without_any_token_changes_nothing():
    table = np.ones((VOCAB, DIM), dtype=np.float32)
    with start_workers() as workers:
        nothing = csr_array((VOCAB, TEXTS), dtype=np.float32)
        RowAdam(table).step(nothing, np.ones((TEXTS, DIM), dtype=np.float32), 0.1, workers)
    np.testing.assert_array_equal(table, 1)
