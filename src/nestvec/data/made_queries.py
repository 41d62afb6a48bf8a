"""Generate queries from a corpus without queries or relevance labels.

The title or first sentence of a document becomes a query and is removed from the document. The
document is the only relevant document of the query. Generated queries differ from queries of
users; ``benchmarks/proxies.py`` measures how well they predict results on relevance labels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np

from nestvec.data.query_log import MAX_QUERIES
from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document
from nestvec.wording import count_texts

QuerySource = Literal["title", "first-sentence"]

_MIN_QUERY, _MAX_QUERY, _MIN_REST = 5, 300, 40  # in characters: not all scripts separate words
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n")


class _Generated(NamedTuple):
    query: str
    rest: Document


def make_queries(
    corpus: Mapping[str, Document],
    *,
    source: QuerySource = "title",
    n: int = MAX_QUERIES,
    seed: int = 0,
    name: str = "corpus",
) -> RetrievalSet:
    """Generate queries from the titles or first sentences of documents.

    All documents stay in the corpus. A document loses the text that became a query.

    Args:
        corpus: Documents by id.
        source: Part of a document that becomes a query.
        n: Most queries to generate.
        seed: Seed for choosing documents if more than ``n`` are possible.
        name: Name of the set.

    Returns:
        The set, with the evidence "made queries" and the counts ``documents_without_query`` (the
        title or sentence does not have 5 to 300 characters), ``documents_too_short`` (the rest
        has less than 40 characters), ``ambiguous_queries`` (several documents have the query) and
        ``queries_not_sampled`` (queries beyond ``n``).

    Raises:
        InvalidArgument: If ``n`` is below 1 or ``source`` is unknown.
        DataError: If no document yields a query.
    """
    _check_arguments(n, source)
    candidates = dict(_split_all(corpus, source))
    occurrences = Counter(_key(candidate.query) for candidate in candidates.values())
    long_enough = {
        id_: made for id_, made in candidates.items() if len(made.rest.text) >= _MIN_REST
    }
    unambiguous = [id_ for id_, made in long_enough.items() if occurrences[_key(made.query)] == 1]
    counts = {
        "documents_without_query": len(corpus) - len(candidates),
        "documents_too_short": len(candidates) - len(long_enough),
        "ambiguous_queries": len(long_enough) - len(unambiguous),
        "queries_not_sampled": max(len(unambiguous) - n, 0),
    }
    if not unambiguous:
        found = "; ".join(count_texts(counts))
        other = next(each for each in get_args(QuerySource) if each != source)
        advice = f"Try {other}, or pass a query log."
        raise DataError(name, f"no {source} is usable as a query ({found}). {advice}")
    chosen = np.random.default_rng(seed).permutation(len(unambiguous))[:n]
    ids = [unambiguous[place] for place in sorted(chosen.tolist())]
    selected = {id_: candidates[id_] for id_ in ids}
    return RetrievalSet(
        name=name,
        split=source,
        corpus={**corpus, **{id_: each.rest for id_, each in selected.items()}},
        queries={f"{source}:{id_}": each.query for id_, each in selected.items()},
        qrels={f"{source}:{id_}": {id_: 1} for id_ in selected},
        counts=counts,
        evidence="made queries",
    )


def _check_arguments(n: int, source: str) -> None:
    if n < 1:
        raise InvalidArgument(f"n={n} is below 1. Choose a value of at least 1.")
    if source not in get_args(QuerySource):
        known = ", ".join(get_args(QuerySource))
        raise InvalidArgument(f"Unknown source {source!r}. Choose one of {known}.")


def _split_all(
    corpus: Mapping[str, Document], source: QuerySource
) -> Iterator[tuple[str, _Generated]]:
    split = _split_title if source == "title" else _split_first_sentence
    for document_id, document in corpus.items():
        generated = split(document)
        if _MIN_QUERY <= len(generated.query) <= _MAX_QUERY:
            yield document_id, generated


def _split_title(document: Document) -> _Generated:
    title, text = document.title.strip(), document.text.strip()
    if text[: len(title)].casefold() == title.casefold():  # some exports repeat it
        text = text[len(title) :].lstrip()
    return _Generated(title, replace(document, title="", text=text))


def _split_first_sentence(document: Document) -> _Generated:
    sentence, *rest = _SENTENCE_END.split(document.text.strip(), maxsplit=1)
    return _Generated(sentence.strip(), replace(document, text="".join(rest).strip()))


def _key(query: str) -> str:
    return " ".join(query.casefold().split())
