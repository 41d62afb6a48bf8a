"""Format numbers and metric names for output."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_METRIC_NAMES = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "rbo": "RBO"}
_COUNTS = {
    "unknown_documents": "unknown document ids in the relevance labels, ignored",
    "unknown_queries": "unknown query ids in the relevance labels, ignored",
    "queries_without_relevant": "queries without a relevant document, ignored",
    "queries_without_sampled_relevant": "queries whose relevant documents are not in the sample, "
    "not measured",
    "queries_without_labels": "queries without relevance labels in this split, ignored",
    "documents_without_group": "documents without the field of --group-by, each a group of its own",
    "queries_with_empty_filter": "queries whose filter matches no document, not measured",
    "filtered_relevant": "relevant documents that the filter of their query excludes, so that no "
    "search finds them",
    "queries_not_sampled": "queries beyond the limit, not measured",
    "empty_documents": "documents without text",
    "empty_queries": "queries without text",
    "duplicate_documents": "documents with the same text as an earlier document: equal texts "
    "compete for the same ranks, so scores are lower than without the duplicates",
    "self_matches": "queries that are documents of the corpus, each of which ignores its own "
    "document (--keep-self ranks it)",
    "self_matches_kept": "queries that are documents of the corpus and find themselves",
    "bm25_queries_without_match": "queries without a word of the corpus, which score 0 with BM25",
    "zero_documents": "documents encoded as zero vectors, which score 0",
    "zero_queries": "queries encoded as zero vectors, which score 0",
    "extrapolated_latencies": "points whose latency is extrapolated from a part of the codes",
    "cut_documents": "documents truncated at the maximum length of the model",
    "cut_queries": "queries truncated at the maximum length of the model",
}


_COUNTS_OF_ONE = {
    "unknown_documents": "unknown document id in the relevance labels, ignored",
    "unknown_queries": "unknown query id in the relevance labels, ignored",
    "documents_without_group": "document without the field of --group-by, a group of its own",
    "filtered_relevant": "relevant document that the filter of its query excludes, so that no "
    "search finds it",
    "self_matches": "query that is a document of the corpus, and ignores its own document "
    "(--keep-self ranks it)",
    "self_matches_kept": "query that is a document of the corpus and finds itself",
    "bm25_queries_without_match": "query without a word of the corpus, which scores 0 with BM25",
    "zero_documents": "document encoded as a zero vector, which scores 0",
    "zero_queries": "query encoded as a zero vector, which scores 0",
}
"""The texts that differ by more than their first noun if the count is 1."""


def count_texts(counts: Mapping[str, int]) -> list[str]:
    """Describe the counts of a measurement that are not 0.

    >>> count_texts({"zero_queries": 0, "empty_documents": 1200})
    ['1,200 documents without text']
    >>> count_texts({"empty_documents": 1, "zero_queries": 1})
    ['1 document without text', '1 query encoded as a zero vector, which scores 0']
    """
    return [f"{count:,} {_count_text(name, count)}" for name, count in counts.items() if count]


def _count_text(name: str, count: int) -> str:
    text = _COUNTS.get(name, name.replace("_", " "))
    if count != 1:
        return text
    singular = re.sub("^queries ", "query ", re.sub("^documents ", "document ", text))
    return _COUNTS_OF_ONE.get(name, singular)


def metric_name(metric: str) -> str:
    """Format the name of a metric.

    >>> metric_name("ndcg@10"), metric_name("recall@100"), metric_name("rrf:ndcg@10")
    ('nDCG@10', 'recall@100', 'rrf:nDCG@10')
    """
    prefix, colon, plain = metric.rpartition(":")
    name, at, k = plain.partition("@")
    return f"{prefix}{colon}{_METRIC_NAMES.get(name, name)}{at}{k}"


def percent(share: float) -> str:
    """Format a share as a percentage with one decimal.

    >>> percent(0.98449)
    '98.4 %'
    """
    return f"{share:.1%}".replace("%", " %")


def percent_at_least(share: float) -> str:
    """Format a lower bound as a percentage with one decimal, rounded down.

    >>> percent_at_least(0.98449), percent_at_least(0.97999)
    ('98.4 %', '97.9 %')
    """
    return percent(math.floor(round(share * 1000, 6)) / 1000)


def score_text(score: float) -> str:
    """Format a mean metric with three decimals, without the leading zero.

    >>> score_text(0.5471), score_text(1)
    ('.547', '1.000')
    """
    return f"{score:.3f}".removeprefix("0")


def bytes_text(count: float) -> str:
    """Format a number of bytes, with one decimal below 100.

    >>> bytes_text(2048), bytes_text(12.5), bytes_text(1097.9)
    ('2,048 B', '12.5 B', '1,098 B')
    """
    digits = 1 if count < 100 else 0
    return f"{count:,.{digits}f}".removesuffix(".0") + " B"


def size_text(count: int) -> str:
    """Format a size in B, kB, MB or GB.

    >>> size_text(980), size_text(24_043_520), size_text(1_500_000_000)
    ('980 B', '24.0 MB', '1.5 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"


def count_text(count: int, noun: str) -> str:
    """Format a count with a noun, in the plural unless the count is 1.

    >>> count_text(1, "document"), count_text(46_961, "document"), count_text(2, "query")
    ('1 document', '46,961 documents', '2 queries')
    """
    plural = f"{noun[:-1]}ies" if re.search("[^aeiou]y$", noun) else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def milliseconds_text(milliseconds: float) -> str:
    """Format a time with at least two significant digits.

    >>> milliseconds_text(0.1772), milliseconds_text(12.34), milliseconds_text(1234.5)
    ('0.18 ms', '12.3 ms', '1,234 ms')
    """
    digits = 2 if milliseconds < 1 else 1 if milliseconds < 100 else 0
    return f"{milliseconds:,.{digits}f} ms"
