"""The random sample of documents that a curve was measured on, and what the sample means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

MOST_SEED = 2**63 - 1
SAMPLED_DOCUMENTS = "sampled documents"
"""The split of a data set whose queries are documents that are not searched."""


class Draw(NamedTuple):
    """The size and the seed of a sample that is to be drawn."""

    rows: int
    seed: int = 0


@dataclass(frozen=True)
class DocumentSample:
    """A uniform random sample of the rows of a table.

    Attributes:
        rows: Number of rows in the sample.
        total: Number of rows of the table.
        seed: Seed of the sample.
    """

    rows: int
    total: int
    seed: int

    @property
    def fraction(self) -> float:
        """The share of the rows that are in the sample."""
        return self.rows / self.total

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON data, with the fraction."""
        return {**asdict(self), "fraction": self.fraction}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DocumentSample:
        """Read the result of ``to_json``."""
        return cls(values["rows"], values["total"], values["seed"])

    def __str__(self) -> str:
        """Describe the size of the sample.

        >>> str(DocumentSample(100_000, 1_000_000, 0))
        'a sample of 100,000 of 1,000,000 documents (10 %)'
        """
        share = f"{100 * self.fraction:.3g} %"
        return f"a sample of {self.rows:,} of {self.total:,} documents ({share})"


def sample_of(dataset: Mapping[str, Any]) -> DocumentSample | None:
    """Return the sample in the description of a data set of a curve; None if all rows were used."""
    values = dataset.get("sample")
    return None if values is None else DocumentSample.from_json(values)


def full_corpus_text(dataset: Mapping[str, Any]) -> str:
    """Return what a sample means for the full corpus; "" if all documents were measured.

    >>> full_corpus_text({"sample": {"rows": 10, "total": 90, "seed": 0}})
    'In the full corpus of 90 documents, more documents compete for each rank, so retention can be \
lower than in the sample.'
    """
    sample = sample_of(dataset)
    if sample is None:
        return ""
    measured = "agreement" if dataset.get("evidence") == "agreement" else "retention"
    return (
        f"In the full corpus of {sample.total:,} documents, more documents compete for each rank, "
        f"so {measured} can be lower than in the sample."
    )


def sampled_queries_text(dataset: Mapping[str, Any]) -> str:
    """Return what documents as queries mean; "" for other queries."""
    if dataset.get("split") != SAMPLED_DOCUMENTS:
        return ""
    return (
        f"The {dataset['n_queries']:,} queries are sampled documents, which are not searched. Real "
        "queries differ from documents, so results for real queries can be lower."
    )
