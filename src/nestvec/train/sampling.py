"""Divide training rows into batches, and choose the data set of each batch.

Importing this module loads PyTorch and Sentence Transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import torch
from sentence_transformers.base.sampler import DefaultBatchSampler, MultiDatasetDefaultBatchSampler

from nestvec.train.batches import count_batches, split_epoch, tempered_sizes


class CompleteBatchSampler(DefaultBatchSampler):  # type: ignore[misc]
    """Uses each row once an epoch, in an order that depends on the seed and the epoch only.

    Batches may contain equal texts. The library's sampler without duplicates leaves out most rows
    if few texts are different; the nested losses mask equal texts instead.
    """

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.sampler), generator=generator).numpy()
        for rows in split_epoch(order, self.batch_size):
            yield rows.tolist()

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return count_batches(len(self.sampler), self.batch_size)


class TemperatureBatchSampler(MultiDatasetDefaultBatchSampler):  # type: ignore[misc]
    """Samples batches of each data set in proportion to its size to the power of 1 / temperature.

    At temperature 1, every row is used once an epoch; the higher the temperature, the more equally
    data sets are sampled (Raffel et al. 2020, section 3.5.2). The number of batches in an epoch is
    about that at temperature 1: of a large data set, each epoch uses another part, and a small data
    set is repeated.
    """

    def __init__(self, dataset: Any, *, temperature: float, **kwargs: Any) -> None:
        """Store the temperature; ``kwargs`` are the library's arguments for samplers."""
        super().__init__(dataset, **kwargs)
        self._shares = tempered_sizes([len(each) for each in self.batch_samplers], temperature)

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
