"""Estimate tokens, and group texts into requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

_BYTES_PER_TOKEN = 4


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: UTF-8 bytes / 4, rounded up, and at least 1.

    >>> estimate_tokens("What is nested?"), estimate_tokens("日本")
    (4, 2)
    """
    n_bytes = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    return max(1, -(-n_bytes // _BYTES_PER_TOKEN))


def group_rows(
    texts: Iterable[tuple[int, str]], *, most_texts: Callable[[], int], most_tokens: int
) -> Iterator[list[int]]:
    """Yield the rows of the texts of each request, in order.

    A text of more than ``most_tokens`` tokens is sent alone.

    Args:
        texts: Rows and texts.
        most_texts: Returns the maximum number of texts of a request, which may decrease.
        most_tokens: Maximum number of estimated tokens of a request.
    """
    rows: list[int] = []
    total = 0
    for row, text in texts:
        tokens = estimate_tokens(text)
        if rows and (len(rows) >= most_texts() or total + tokens > most_tokens):
            yield rows
            rows, total = [], 0
        rows.append(row)
        total += tokens
    if rows:
        yield rows
