"""Which file a batch is drawn from where files differ much in size.

Importing this loads PyTorch and Sentence Transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import torch
from sentence_transformers.base.sampler import MultiDatasetDefaultBatchSampler


class TemperedBatchSampler(MultiDatasetDefaultBatchSampler):  # type: ignore[misc]
    """Draws batches of each data set in proportion to its size to the power of 1 / temperature.

    At 1, every text is seen once an epoch; towards infinity, all data sets alike (Raffel et al.
    2020, section 3.5.2, where it is done for tasks). An epoch has as many batches as at 1: of large
    data sets a part is seen, another one in the next epoch, and small ones begin again.
    """

    def __init__(self, dataset: Any, *, temperature: float, **given: Any) -> None:
        """Take the temperature, and what the library hands to samplers of its own."""
        super().__init__(dataset, **given)
        self._shares = tempered([len(each) for each in self.batch_samplers], temperature)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        generator = torch.Generator().manual_seed((self.seed or 0) + self.epoch)
        sources = torch.tensor([i for i, share in enumerate(self._shares) for _ in range(share)])
        order = sources[torch.randperm(len(sources), generator=generator)].tolist()
        offsets = [0, *accumulate(len(each) for each in self.dataset.datasets)]
        batches = [self._endless(each) for each in self.batch_samplers]
        for source in order:
            yield [offsets[source] + row for row in next(batches[source])]

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return sum(self._shares)

    def _endless(self, sampler: Any) -> Iterator[list[int]]:
        while True:
            yield from sampler


def tempered(sizes: list[int], temperature: float) -> list[int]:
    """Share out the sum of sizes by their powers of 1 / temperature, at least 1 to each.

    >>> tempered([900, 90, 10], 1.0), tempered([900, 90, 10], 2.0)
    ([900, 90, 10], [706, 223, 74])
    """
    powers = [size ** (1 / temperature) for size in sizes]
    return [max(1, round(sum(sizes) * power / sum(powers))) for power in powers]
