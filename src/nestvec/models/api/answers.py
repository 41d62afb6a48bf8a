"""Decode and check the answer of an API: count, order, width, values and model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from nestvec.errors import ModelError
from nestvec.models.api.dialect import RawAnswer
from nestvec.sources.openai_batch import decode_vector
from nestvec.types import Embeddings

_VERSION = re.compile(r"-v?[0-9][0-9.-]*|[@:].*")


def vectors_of(answer: RawAnswer, *, n_texts: int, full_dim: int | None) -> Embeddings:
    """Return the vectors of an answer in the order of the texts, float32 [n_texts, full_dim].

    Args:
        answer: The answer.
        n_texts: Number of texts in the request.
        full_dim: The expected width; None to accept any width.

    Raises:
        ModelError: If vectors are missing, or have a wrong width or values that are not finite.
    """
    if len(answer.vectors) != n_texts:
        raise ModelError(f"answered with {len(answer.vectors)} vectors for {n_texts} texts.")
    try:
        rows = [decode_vector(each) for each in answer.vectors]
    except ValueError as error:
        raise ModelError(f"answered with {error}.") from None
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1 or not widths[0]:
        raise ModelError(f"answered with vectors of different widths: {widths}.")
    if full_dim is not None and widths[0] != full_dim:
        raise ModelError(
            f"answered with vectors of {widths[0]} dims, but the full width is {full_dim} dims."
        )
    vectors = np.stack(rows)
    if not np.isfinite(vectors).all():
        raise ModelError("answered with NaN or infinite values.")
    if answer.indexes is None:
        return vectors
    return vectors[_order(answer.indexes)]


def check_model(answered: str, requested: str) -> None:
    """Check that an answer is from the requested model.

    Owners, versions after the name and suffixes after a colon may differ:
    ``text-embedding-ada-002-v2`` is an answer of ``text-embedding-ada-002``.

    Raises:
        ModelError: If the answer names another model.
    """
    if not answered:
        return
    given, wanted = _last_part(answered), _last_part(requested)
    version = given.removeprefix(wanted)
    if given != wanted and (version == given or not _VERSION.fullmatch(version)):
        raise ModelError(
            f"answered with the model {answered!r:.80}, not {requested!r:.80}. Load the model by "
            "the name that the server uses."
        )


def _last_part(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _order(indexes: Sequence[Any]) -> list[int]:
    """Return, for each text, the position of its vector in the answer."""
    numbers = [index for index in indexes if type(index) is int]
    if sorted(numbers) != list(range(len(indexes))):
        raise ModelError("answered with missing or repeated indexes.")
    order = [0] * len(numbers)
    for position, index in enumerate(numbers):
        order[index] = position
    return order
