"""Show what an API model costs before texts are sent, and ask whether to send them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import typer

from nestvec.cli.console import fail, log, warn
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.cli.models import ModelChoice
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.similarity import SimilaritySet
    from nestvec.data.training import TrainingPairs
    from nestvec.types import Document, Encoder, Kind

    _Texts = RetrievalSet | SimilaritySet | TrainingPairs | Mapping[str, Document]

_DECLINED = 1  # exit code


def confirm_cost(model: Encoder, texts: Mapping[Kind, Iterable[str]], choice: ModelChoice) -> None:
    """Print the estimated cost of an API model, and ask for confirmation if it may cost something.

    No confirmation is requested for other models, if all texts are cached, if the price is 0, or if
    the price of a server that is not the vendor's is unknown. Without a terminal, ``--yes`` is
    required instead of the confirmation.

    Args:
        model: Any model.
        texts: The texts by kind.
        choice: The file of prices, and whether the user confirmed with ``--yes``.

    Raises:
        InvalidArgument: If ``--yes`` is required.
        DataError: If the file of prices cannot be used.
        ModelError: If the vendor's API needs a key and none is set.
    """
    from nestvec.models.api.costs import api_encoder, estimate_cost
    from nestvec.models.api.keys import find_key

    api = api_encoder(model)
    if api is None:
        if choice.prices is not None:
            warn(f"--prices has no effect: {model.info.name} is not an API model")
        return
    first, *others = (
        estimate_cost(model, each, kind=kind, prices=choice.prices) for kind, each in texts.items()
    )
    total = sum(others, start=first)
    log(str(total))
    may_cost = api.address.is_vendor if total.cost is None else total.cost > 0
    if choice.yes or not may_cost:
        return
    find_key(api.address)  # without a key there is nothing to confirm
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgument(
            f"{total.model} may charge for {total.texts:,} texts, and there is no terminal to ask. "
            "Add --yes to send the texts."
        )
    if not typer.confirm("Send the texts?", err=True):
        fail("no text was sent. Existing files are unchanged.", code=_DECLINED)


def texts_by_kind(data: _Texts) -> dict[Kind, Iterable[str]]:
    """Return all texts of a data set that a model encodes."""
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.similarity import LabeledTexts, ScoredPairs, Triplets
    from nestvec.data.training import TrainingPairs

    match data:
        case RetrievalSet():
            documents = [document.content for document in data.corpus.values()]
            return {"document": documents, "query": list(data.queries.values())}
        case ScoredPairs():
            return {"document": [*data.first, *data.second]}
        case Triplets():
            return {"document": [*data.anchors, *data.positives, *data.negatives]}
        case LabeledTexts():
            return {"document": [*data.train, *data.test]}
        case TrainingPairs():
            negatives = [text for each in data.negatives for text in each]
            return {"query": data.anchors, "document": [*data.positives, *negatives]}
    return {"document": [document.content for document in data.values()]}
