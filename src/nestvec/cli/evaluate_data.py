"""The data that ``nestvec evaluate`` measures: labeled queries, a log, texts, or vectors alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.similarity import SimilaritySet
    from nestvec.types import Encoder


@dataclass(frozen=True)
class DataChoice:
    """The arguments that name the data.

    Attributes:
        dataset: The data set; None to measure stored vectors alone.
        labeled: Options of data sets with labels: ``split``, ``subset`` and ``revision``.
        queries: A query log.
        source: The part of a document that becomes a query.
        strict: Whether labels of unknown ids are an error.
        seed: Seed for choosing queries.
    """

    dataset: Path | None
    labeled: dict[str, str | None]
    queries: Path | None
    source: str | None
    strict: bool
    seed: int


def load_data(
    choice: DataChoice, load_model: Callable[[], Encoder]
) -> tuple[Encoder, RetrievalSet | SimilaritySet]:
    """Load the model and the data; the model is loaded after the data if possible.

    Raises:
        InvalidArgument: If options contradict each other.
        NestvecError: If the model or the data cannot be loaded.
    """
    _check(choice)
    if choice.dataset is None:
        return _load_vectors_alone(choice, load_model)
    data = _load(choice.dataset, choice, load_model)
    return load_model(), data


def _check(choice: DataChoice) -> None:
    if choice.queries is not None and choice.source is not None:
        raise InvalidArgument("--queries and --make-queries exclude each other. Pass one of them.")
    if choice.source is not None and choice.dataset is None:
        raise InvalidArgument("--make-queries requires texts. Pass the corpus as DATASET.")
    file = choice.dataset is None or choice.dataset.is_file()
    unlabeled = choice.queries is not None or choice.source is not None or file
    named = [name for name, value in choice.labeled.items() if value]
    options = ["strict"] if choice.strict else named
    if unlabeled and options:
        option = {"revision": "--dataset-revision"}.get(options[0], f"--{options[0]}")
        raise InvalidArgument(f"{option} requires a folder with relevance labels. Omit the option.")


def _load(
    dataset: Path, choice: DataChoice, load_model: Callable[[], Encoder]
) -> RetrievalSet | SimilaritySet:
    from nestvec.data.corpus import load_corpus
    from nestvec.data.made_queries import make_queries
    from nestvec.data.retrieval import load_dataset, load_query_log
    from nestvec.data.similarity import load_similarity
    from nestvec.models.paired import ids_without_texts

    if choice.queries is not None:
        return load_query_log(dataset, choice.queries, seed=choice.seed)
    if choice.source is not None:
        source: Any = choice.source  # make_queries checks the value
        name = dataset.resolve().name
        return make_queries(load_corpus(dataset), source=source, seed=choice.seed, name=name)
    if dataset.is_file():
        return load_similarity(dataset)
    ids = ids_without_texts(dataset, load_model)
    return load_dataset(dataset, strict=choice.strict, document_ids=ids, **choice.labeled)


def _load_vectors_alone(
    choice: DataChoice, load_model: Callable[[], Encoder]
) -> tuple[Encoder, RetrievalSet]:
    """Load stored vectors, and a query log if there is one."""
    from nestvec.data.retrieval import load_log_of_ids
    from nestvec.measure.sampled import measured, stored_documents

    model = load_model()
    documents = stored_documents(model)
    if choice.queries is None or documents is None:
        found = measured(model, None, seed=choice.seed)
        return found.model, found.data
    ids, name = documents.ids("document"), model.info.name
    return model, load_log_of_ids(name, ids, choice.queries, seed=choice.seed)
