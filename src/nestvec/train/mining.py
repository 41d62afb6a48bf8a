"""Mine hard negatives with Sentence Transformers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING

from nestvec.data.training import TrainingPairs
from nestvec.errors import require

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_logger = logging.getLogger(__name__)
# Texts whose similarity is closer to the positive's may be relevant themselves.
_RELATIVE_MARGIN = 0.05


def mine_negatives(
    model: SentenceTransformer,
    pairs: TrainingPairs,
    *,
    count: int,
    name: str,
    batch_size: int = 64,
) -> TrainingPairs:
    """Add hard negatives to each pair that has none.

    Hard negatives are the positives of other pairs that the model scores highest for the anchor,
    excluding any scored within 5 % of the pair's own positive (de Souza P. Moreira et al. 2024). A
    pair with fewer than ``count`` such texts gets no negatives.

    Args:
        model: The model before training. Anchors are encoded as queries, with the model's prompt.
        pairs: The pairs. Existing negatives are not changed.
        count: Number of negatives for each pair, at least 1.
        name: Name of the pairs, for a warning of pairs without negatives.
        batch_size: Texts to encode at a time.

    Raises:
        MissingExtra: If ``datasets`` is not installed.
    """
    bare = [row for row, negatives in enumerate(pairs.negatives) if not negatives]
    if not bare:
        return pairs
    columns = {
        "anchor": [pairs.anchors[row] for row in bare],
        "positive": [pairs.positives[row] for row in bare],
    }
    found = _mine(model, columns, count=count, batch_size=batch_size)
    negatives = [
        own or found.get((anchor, positive), [])
        for anchor, positive, own in zip(
            pairs.anchors, pairs.positives, pairs.negatives, strict=True
        )
    ]
    without = sum(not each for each in negatives)
    if without:
        message = "%s: %d hard negatives each found for %d of %d pairs, and none for the others"
        _logger.warning(message, name, count, len(bare) - without, len(bare))
    return TrainingPairs(pairs.anchors, pairs.positives, negatives)


def _mine(
    model: SentenceTransformer, columns: Mapping[str, list[str]], *, count: int, batch_size: int
) -> dict[tuple[str, str], list[str]]:
    """Return the hard negatives of each pair of anchor and positive that has enough of them."""
    datasets = require("datasets", extra="train")
    from sentence_transformers.util import mine_hard_negatives

    dataset = datasets.Dataset.from_dict(columns)
    with redirect_stderr(StringIO()):  # the library's progress bars cannot be disabled
        mined = mine_hard_negatives(
            dataset,
            model,
            anchor_column_name="anchor",
            positive_column_name="positive",
            num_negatives=count,
            relative_margin=_RELATIVE_MARGIN,
            output_format="n-tuple",
            batch_size=batch_size,
            verbose=False,
        )
    return {
        (row["anchor"], row["positive"]): [row[f"negative_{i + 1}"] for i in range(count)]
        for row in mined
    }
