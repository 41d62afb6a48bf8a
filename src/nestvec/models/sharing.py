"""Decide whether two models share a space, so that one may encode queries for the other.

Nothing in the weights shows this. It is known for families in the table of known models, for the
recorded model of stored vectors, and otherwise only to the user.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.models.adapter_file import check_unadapted
from nestvec.models.known import Rows, find_known
from nestvec.models.known_row import last_part
from nestvec.models.paired import PairedEncoder, stores_documents
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.spaces import one_family, share_space
from nestvec.sources.manifest import read_manifest
from nestvec.sources.model_name import read_model_name
from nestvec.sources.places import shown_place
from nestvec.types import Encoder, Kind, ModelInfo

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairOptions:
    """What the user sets for a pair of models.

    Attributes:
        query_model: Name of the model of queries.
        same_space: Whether the user states that both models share a space.
        prompts: Prefixes of texts, by kind; each belongs to the model of its kind.
        models: Rows that take precedence over the table of known models.
    """

    query_model: str | Path | None
    same_space: bool = False
    prompts: Mapping[Kind, str] = field(default_factory=dict)
    models: Rows | None = None


def load_pair(
    load_documents: Callable[..., Encoder], load: Callable[..., Encoder], options: PairOptions
) -> Encoder:
    """Load a model of documents and a model of queries, each with its own prompt.

    Args:
        load_documents: Loads the model of documents with the given prompts.
        load: Loads a model by name with the given prompts.
        options: What the user sets for the pair.

    Raises:
        InvalidArgument: If no model of queries is named.
        NestvecError: As in ``pair_models``, and if a model cannot be loaded.
    """
    check_query_options(options.query_model, same_space=options.same_space)
    prompts = options.prompts
    documents = load_documents(prompts={k: each for k, each in prompts.items() if k != "query"})
    of_queries = {k: each for k, each in prompts.items() if k == "query"}
    queries = load(options.query_model, prompts=of_queries)
    return pair_models(documents, queries, same_space=options.same_space, models=options.models)


def pair_models(
    documents: Encoder, queries: Encoder, *, same_space: bool = False, models: Rows | None = None
) -> Encoder:
    """Use one model for documents and another model for queries.

    Args:
        documents: The model of documents, or their stored vectors.
        queries: The model of queries.
        same_space: Whether the user states that both models share a space.
        models: Rows that take precedence over the table of known models.

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
        _check_stored(documents, queries.info, same_space=same_space, models=models)
    elif not (same_space or share_space(documents.info, queries.info, models)):
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


def _unknown_space(documents: str, queries: str) -> str:
    return (
        f"{queries} and {documents} are not known to share a space, so their vectors cannot be "
        "compared. If their makers state that they share one, pass --same-space (in Python: "
        "same_space=True)."
    )


def _check_stored(
    documents: Encoder, queries: ModelInfo, *, same_space: bool, models: Rows | None
) -> None:
    """Compare the model of queries with the recorded model of stored vectors."""
    path, shown = Path(documents.info.name), shown_place(documents.info.name)
    check_unadapted(path)  # queries would need the adapter, too
    if isinstance(documents, PrecomputedVectors) and documents.ids("query"):
        _logger.warning(
            "the stored queries of %s are not used, because %s encodes the queries.",
            *(shown, queries.name),
        )
    recorded = _recorded_model(documents, path, models)
    if recorded is None:
        if not same_space:
            _logger.warning(
                "%s does not record the model of its vectors, so nestvec cannot check that %s "
                "encodes queries for them. Pass --same-space if you are sure.",
                *(shown, queries.name),
            )
        return
    if isinstance(recorded, ModelInfo) and recorded.adapter:
        raise ModelMismatch(
            f"{shown} contains vectors of {recorded.name} with an adapter, which a query model "
            "does not have. Store vectors of the queries with the same adapter: nestvec embed "
            "MODEL QUERIES --kind query --adapter FILE."
        )
    if not (same_space or _agrees(recorded, queries, models)):
        name = recorded if isinstance(recorded, str) else recorded.name
        raise ModelMismatch(_unknown_space(f"{name}, the model of {path},", queries.name))


def _agrees(recorded: ModelInfo | str, queries: ModelInfo, models: Rows | None) -> bool:
    if isinstance(recorded, ModelInfo):
        same = recorded.fingerprint == queries.fingerprint
        return same or share_space(recorded, queries, models)
    same = last_part(recorded) == last_part(queries.name)
    return same or one_family(recorded, queries.name, models)


def _recorded_model(documents: Encoder, path: Path, models: Rows | None) -> ModelInfo | str | None:
    """Return the model of stored documents; None if it is not recorded."""
    stated = documents.model_name if isinstance(documents, PrecomputedVectors) else ""
    for place in (path / "corpus", path):
        manifest = read_manifest(place)
        if manifest is not None and stated in ("", manifest.model.name):
            return manifest.model
    name = stated or read_model_name(path)
    return name or (path.name if find_known(path.name, models) is not None else None)
