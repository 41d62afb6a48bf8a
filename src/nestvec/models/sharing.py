"""Decide whether two models share a space, so that one may encode queries for the other.

Nothing in the weights shows this. It is known for families in the table of known models, for the
recorded model of stored vectors, and otherwise only to the user.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from nestvec.errors import DataError, InvalidArgument, ModelMismatch
from nestvec.models.adapter_file import check_unadapted
from nestvec.models.known import find_known
from nestvec.models.paired import PairedEncoder, stores_documents
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.sources.manifest import read_manifest
from nestvec.types import Encoder, ModelInfo

_logger = logging.getLogger(__name__)


def pair_models(documents: Encoder, queries: Encoder, *, same_space: bool = False) -> Encoder:
    """Use one model for documents and another model for queries.

    Args:
        documents: The model of documents, or their stored vectors.
        queries: The model of queries.
        same_space: Whether the user states that both models share a space.

    Returns:
        The pair; ``documents`` if both are the same model.

    Raises:
        ModelMismatch: If it is not known that the models share a space, or they differ in width.
        InvalidArgument: If a model cannot be paired.
        DataError: If a file that records the model of stored vectors is damaged.
    """
    pair = PairedEncoder(documents, queries)
    if documents.info.fingerprint == queries.info.fingerprint:
        return documents
    if stores_documents(documents):
        _check_stored(documents, queries.info, same_space=same_space)
    elif not (same_space or share_space(documents.info, queries.info)):
        raise ModelMismatch(_unknown_space(documents.info.name, queries.info.name))
    return pair


def check_query_options(query_model: object, *, same_space: bool) -> None:
    """Check that a statement about spaces names a model.

    Raises:
        InvalidArgument: If ``same_space`` is set without a query model.
    """
    if same_space and query_model is None:
        problem = "same_space (--same-space) has no effect without query_model (--query-model)."
        raise InvalidArgument(f"{problem} Name a query model, or omit the option.")


def share_space(one: ModelInfo, other: ModelInfo) -> bool:
    """Return whether two models are known to share a space: equal weights, or one family."""
    if one.weights and one.weights == other.weights:
        return True
    return _one_family(one.name, other.name)


def _one_family(one: str, other: str) -> bool:
    spaces = [getattr(find_known(_without_dialect(name)), "space", "") for name in (one, other)]
    return bool(spaces[0]) and spaces[0] == spaces[1]


def _without_dialect(name: str) -> str:
    """Return the name of an API model without its dialect, such as the last part of ``a:b``."""
    return name.rpartition(":")[2]


def _unknown_space(documents: str, queries: str) -> str:
    return (
        f"{queries} and {documents} are not known to share a space, so their vectors cannot be "
        "compared. If their makers state that they share one, pass --same-space (in Python: "
        "same_space=True)."
    )


def _check_stored(documents: Encoder, queries: ModelInfo, *, same_space: bool) -> None:
    """Compare the model of queries with the recorded model of stored vectors."""
    folder = Path(documents.info.name)
    check_unadapted(folder)  # queries would need the adapter, too
    if isinstance(documents, PrecomputedVectors) and documents.ids("query"):
        _logger.warning(
            "the stored queries of %s are not used, because %s encodes the queries.",
            *(folder, queries.name),
        )
    recorded = _recorded_model(folder, documents.info.name)
    if recorded is None:
        if not same_space:
            _logger.warning(
                "%s does not record the model of its vectors, so nestvec cannot check that %s "
                "encodes queries for them. Pass --same-space if you are sure.",
                *(folder, queries.name),
            )
    elif not (same_space or _agrees(recorded, queries)):
        name = recorded if isinstance(recorded, str) else recorded.name
        raise ModelMismatch(_unknown_space(f"{name}, the model of {folder},", queries.name))


def _agrees(recorded: ModelInfo | str, queries: ModelInfo) -> bool:
    if isinstance(recorded, ModelInfo):
        same = recorded.fingerprint == queries.fingerprint
        return same or share_space(recorded, queries)
    known = find_known(recorded)
    same = known is not None and known is find_known(queries.name)
    same = same or Path(recorded).name.lower() == Path(queries.name).name.lower()
    return same or _one_family(recorded, queries.name)


def _recorded_model(folder: Path, name: str) -> ModelInfo | str | None:
    """Return the model of the documents in a folder of vectors; None if it is not recorded."""
    for place in (folder / "corpus", folder):
        if (manifest := read_manifest(place)) is not None:
            return manifest.model
    path = folder / "vectors.json"
    if not path.is_file():
        return name if find_known(name) is not None else None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(path, f"is damaged ({error!r}). Write the vectors again.") from error
