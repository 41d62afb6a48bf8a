"""Reading a few rows of stored vectors."""

import numpy as np

from nestvec.engines.embedded import stacked as scattered
from nestvec.engines.embedded.stacked import ScatteredRows, Stacked


def test_rows_are_prefetched_after_a_read_from_disk(monkeypatch):
    arrays = [np.arange(12.0).reshape(4, 3), np.arange(12.0, 18.0).reshape(2, 3)]
    counts = [0, 8, *[8] * 10]  # before and after each read
    blocks, asked = iter(counts), []
    monkeypatch.setattr(scattered, "_blocks_read", lambda: next(blocks))
    monkeypatch.setattr(
        scattered, "prefetch", lambda array, rows: asked.append((array[0, 0], rows.tolist()))
    )
    rows = ScatteredRows(Stacked.of(arrays))
    expected = np.concatenate(arrays)
    for chosen in ([1], [5, 0, 3], [2], [3], [4]):  # read from disk, 3 times prefetched, in memory
        np.testing.assert_array_equal(rows.take(np.array(chosen), 2), expected[chosen, :2])
    assert asked == [(0.0, [0, 3]), (12.0, [1]), (0.0, [2]), (0.0, [3])]
