"""Read the answer files of the Batch API of OpenAI (JSON Lines) as stored vectors.

Each line answers one request: ``custom_id`` is the id of a text, and ``response.body`` is an
answer of the embeddings API. Lines are in any order. Lines of failed requests have no vector.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nestvec.errors import DataError
from nestvec.files.mapped import new_embeddings
from nestvec.sources.stored import StoredEmbeddings
from nestvec.types import Embeddings

_FLOAT = np.dtype("<f4")  # of vectors in base64
_SHOWN = 120  # characters of an error
_logger = logging.getLogger(__name__)


class BatchAnswer(NamedTuple):
    """One line of an answer file.

    Attributes:
        id: The id of the text.
        vector: The vector as the API writes it; None if the request failed.
        model: The model that answered; "" if the line names none.
        error: Why the request failed; "" if it succeeded.
    """

    id: str
    vector: Any
    model: str = ""
    error: str = ""


def read_openai_batch(path: Path) -> StoredEmbeddings:
    """Read an answer file of the Batch API, or all ``.jsonl`` answer files of a folder.

    Failed requests are left out and named in one warning, unless another file answers them.

    Args:
        path: The file or folder.

    Returns:
        The vectors, float32 [n, dim], in the order of the lines.

    Raises:
        DataError: If a line is not an answer, an id appears twice, no request succeeded, or the
            vectors differ in width or model, or contain NaN.
    """
    rows, failed, shape = _scan(path)
    failed = {id_: error for id_, error in failed.items() if id_ not in rows}
    if failed:
        id_, error = next(iter(failed.items()))
        _logger.warning(
            "%s: %s of %s requests failed and have no vector, the first is %r (%s). Send them "
            "again.",
            *(path, len(failed), len(failed) + len(rows), id_, error),
        )
    if not rows:
        raise DataError(path, "contains no vector: no request succeeded.")
    values = new_embeddings(len(rows), shape.dim)
    for _, _, answer in _answers(path):
        if answer.vector is not None:
            values[rows[answer.id]] = decode_vector(answer.vector)
    return StoredEmbeddings(path, list(rows), values, shape.model)


def decode_vector(value: Any) -> Embeddings:
    """Return a vector from a list of numbers or from base64 of little-endian float32, [dim].

    Raises:
        ValueError: If the value is neither of them.
    """
    if isinstance(value, str):
        try:
            content = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"a vector that is not base64 ({error})") from None
        if len(content) % _FLOAT.itemsize:
            raise ValueError(f"a vector of {len(content)} bytes, not of float32")
        return np.frombuffer(content, dtype=_FLOAT).astype(np.float32)
    if isinstance(value, list) and all(type(number) in (int, float) for number in value):
        with np.errstate(over="ignore"):  # the caller reports infinite values
            return np.asarray(value, dtype=np.float64).astype(np.float32)
    raise ValueError("a vector that is neither a list of numbers nor base64")


class _Shape(NamedTuple):
    dim: int
    model: str


def _scan(path: Path) -> tuple[dict[str, int], dict[str, str], _Shape]:
    """Check all lines; return the row of each id, the failed ids, and width and model."""
    rows: dict[str, int] = {}
    failed: dict[str, str] = {}
    first: _Shape | None = None
    for file, line, answer in _answers(path):
        if answer.vector is None:
            failed[answer.id] = answer.error
            continue
        if answer.id in rows:
            raise DataError(file, f"id {answer.id!r} appears twice. Ids must be unique.", line=line)
        shape = _checked_shape(file, line, answer)
        first = first or shape
        if shape != first:
            problem = (
                f"{shape.dim} dims of {shape.model!r}, but {first.dim} dims of {first.model!r}"
            )
            raise DataError(file, f"has {problem} before. Use one model for all.", line=line)
        rows[answer.id] = len(rows)
    return rows, failed, first or _Shape(0, "")


def _checked_shape(file: Path, line: int, answer: BatchAnswer) -> _Shape:
    try:
        vector = decode_vector(answer.vector)
    except ValueError as error:
        raise DataError(file, f"id {answer.id!r} has {error}.", line=line) from None
    if not len(vector) or not np.isfinite(vector).all():
        problem = f"the vector of id {answer.id!r} is empty, or has NaN or infinite values"
        raise DataError(file, f"{problem}. Embed this text again.", line=line)
    return _Shape(len(vector), answer.model)


def _answers(path: Path) -> Iterator[tuple[Path, int, BatchAnswer]]:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    for file in files:
        try:
            with file.open(encoding="utf-8") as lines:
                for number, text in enumerate(lines, start=1):
                    if text.strip():
                        yield file, number, _parsed(file, number, text)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(file, f"cannot be read as UTF-8 ({error})") from error


def _parsed(file: Path, number: int, text: str) -> BatchAnswer:
    try:
        line = json.loads(text)
        id_, response, error = line["custom_id"], line.get("response"), line.get("error")
        if not isinstance(id_, str) or not id_:
            raise TypeError("custom_id")
        body = (response or {}).get("body") or {}
        if error or not response or response.get("status_code", 200) != 200:
            reason = json.dumps(error or body.get("error") or body)
            return BatchAnswer(id_, None, error=reason[:_SHOWN])
        (entry,) = body["data"]
        return BatchAnswer(id_, entry["embedding"], body.get("model") or "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"is not an answer to one text of the Batch API ({error!r:.80})"
        raise DataError(
            file, f"{problem}. Pass the output file of the batch.", line=number
        ) from None
