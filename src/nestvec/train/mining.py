"""Find hard negatives among the positives of others, by the library's own search."""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING

from nestvec.data.training import TrainingPairs
from nestvec.errors import require

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# What is nearer to the anchor than this below its positive may well be an answer, too.
_RELATIVE_MARGIN = 0.05


def mine_negatives(
    model: SentenceTransformer, pairs: TrainingPairs, *, count: int, batch_size: int = 64
) -> TrainingPairs:
    """Give each pair without negatives the texts that the model takes for its answer most.

    Taken are positives of other pairs whose similarity is at least 5 % below the own positive's
    (de Souza P. Moreira et al. 2024). Pairs with fewer than ``count`` of those stay without.

    Args:
        model: What is to learn, before it has.
        pairs: Those that have negatives already keep them.
        count: How many for each pair, at least 1.
        batch_size: Texts encoded at a time.

    Raises:
        MissingExtra: If ``datasets`` is not installed.
    """
    datasets = require("datasets", extra="train")
    from sentence_transformers.util import mine_hard_negatives

    bare = [row for row, negatives in enumerate(pairs.negatives) if not negatives]
    if not bare:
        return pairs
    dataset = datasets.Dataset.from_dict(
        {
            "anchor": [pairs.anchors[row] for row in bare],
            "positive": [pairs.positives[row] for row in bare],
        }
    )
    with redirect_stderr(StringIO()):  # it draws bars whatever it is told
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
    found = {
        (row["anchor"], row["positive"]): [row[f"negative_{i + 1}"] for i in range(count)]
        for row in mined
    }
    negatives = [
        own or found.get((anchor, positive), [])
        for anchor, positive, own in zip(
            pairs.anchors, pairs.positives, pairs.negatives, strict=True
        )
    ]
    return TrainingPairs(pairs.anchors, pairs.positives, negatives)
