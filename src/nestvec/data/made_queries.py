"""Queries made from a corpus that nobody has asked anything of yet.

A document's title, or its first sentence, becomes a query that only this document answers, and is
held out of the document. Such queries are not what people type:
``benchmarks/proxies.py`` shows how well they predict what labels say.
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

QuerySource = Literal["title", "first-sentence"]

_MIN_QUERY, _MAX_QUERY, _MIN_REST = 5, 300, 40  # characters: not all scripts part words
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n")


class _Made(NamedTuple):
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
    """Turn titles or first sentences of some documents into queries for the rest of them.

    All documents stay in the corpus; those that gave a query are encoded without it.

    Args:
        corpus: Documents by id.
        source: What becomes a query.
        n: How many at most.
        seed: Decides which documents, where more could give one.
        name: Of the set.

    Returns:
        The set, with the evidence "made queries". Its counts: ``documents_without_query`` (no
        title, or none of 5 to 300 characters; so for sentences), ``documents_too_short`` (less
        than 40 characters would be left), ``ambiguous_queries`` (several documents would give it).

    Raises:
        InvalidArgument: If ``n`` is less than 1, or there is no such source.
        DataError: If no document gives a query.
    """
    if n < 1:
        raise InvalidArgument(f"n {n} < 1")
    if source not in get_args(QuerySource):
        raise InvalidArgument(f"source {source!r} is not one of {', '.join(get_args(QuerySource))}")
    parted = dict(_part_all(corpus, source))
    givers = Counter(_key(made.query) for made in parted.values())
    long_enough = {id_: made for id_, made in parted.items() if len(made.rest.text) >= _MIN_REST}
    clear = [id_ for id_, made in long_enough.items() if givers[_key(made.query)] == 1]
    counts = {
        "documents_without_query": len(corpus) - len(parted),
        "documents_too_short": len(parted) - len(long_enough),
        "ambiguous_queries": len(long_enough) - len(clear),
    }
    if not clear:
        found = ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in counts.items())
        other = next(each for each in get_args(QuerySource) if each != source)
        ways = f"try {other}, or give a query log"
        raise DataError(name, f"no {source} makes a query ({found}): {ways}")
    chosen = np.random.default_rng(seed).permutation(len(clear))[:n]
    asked = {clear[place]: parted[clear[place]] for place in sorted(chosen.tolist())}
    return RetrievalSet(
        name=name,
        split=source,
        corpus={**corpus, **{id_: made.rest for id_, made in asked.items()}},
        queries={f"{source}:{id_}": made.query for id_, made in asked.items()},
        qrels={f"{source}:{id_}": {id_: 1} for id_ in asked},
        counts=counts,
        evidence="made queries",
    )


def _part_all(corpus: Mapping[str, Document], source: QuerySource) -> Iterator[tuple[str, _Made]]:
    part = _part_title if source == "title" else _part_first_sentence
    for document_id, document in corpus.items():
        made = part(document)
        if _MIN_QUERY <= len(made.query) <= _MAX_QUERY:
            yield document_id, made


def _part_title(document: Document) -> _Made:
    title, text = document.title.strip(), document.text.strip()
    if text[: len(title)].casefold() == title.casefold():  # many exports repeat it there
        text = text[len(title) :].lstrip()
    return _Made(title, replace(document, title="", text=text))


def _part_first_sentence(document: Document) -> _Made:
    sentence, *rest = _SENTENCE_END.split(document.text.strip(), maxsplit=1)
    return _Made(sentence.strip(), replace(document, text="".join(rest).strip()))


def _key(query: str) -> str:
    return " ".join(query.casefold().split())
