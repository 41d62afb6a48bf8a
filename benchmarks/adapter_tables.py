"""Write the tables of docs/adapt.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markdown_tables import markdown, results

_DIMS = (192, 128, 64)
_CODED = ("128:int4", "256:binary", "128:binary")
_METHODS = (
    *("cut", "random", "pca", "svd", "whiten", "linear", "linear, sequential", "mlp"),
    *("linear, labels", "linear, labels, two heads", "mlp, labels", "chosen", "chosen, labels"),
)
_OF_CODES = ("cut", "random", "svd", "chosen", "chosen, labels")
_OF_TRANSFER = ("svd", "whiten", "linear", "linear, labels")
_SHOWN = {"cut": "truncation", "random": "random projection"}  # names of the results, as shown
_FLOATS = ("whole", *(f"{dim}:float32" for dim in _DIMS))


def adapters() -> str:
    """Write the retention of each method at full width and three dims, float32."""
    return _by_set("rows", _METHODS, _FLOATS)


def adapter_codes() -> str:
    """Write the retention of each method for codes."""
    return _by_set("rows", _OF_CODES, _CODED)


def adapter_transfer() -> str:
    """Write the retention of adapters that were fitted on another corpus."""
    return _by_set("transfer", _OF_TRANSFER, _FLOATS)


def adapter_samples() -> str:
    """Write the retention by the number of documents for fitting, without labels."""
    rows = [row for row in results("adapters")["samples"] if row["method"] == "chosen"]
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = [["documents", "per dim", "chosen", *sets]]
    for count in sorted({row["documents"] for row in rows}):
        found = {row["set"]: row for row in rows if row["documents"] == count}
        per_dim = count // _full(next(iter(found.values())))
        texts = [_cell(found.get(name), _FLOATS) for name in sets]
        lines.append([f"{count:,}", str(per_dim), _became(found.values()), *texts])
    return markdown(lines)


def _by_set(part: str, methods: Sequence[str], points: Sequence[str]) -> str:
    """Write a line for each encoder and method, with a column for each set."""
    rows = [row for row in results("adapters")[part] if row["method"] in methods]
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = [["encoder", "method", *sets]]
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        for method in methods:
            found = {
                row["set"]: row
                for row in rows
                if (row["encoder"], row["method"]) == (encoder, method)
            }
            if found:
                texts = [_cell(found.get(name), points) for name in sets]
                lines.append([encoder, _name(found.values()), *texts])
    return markdown(lines)


def _cell(row: Mapping[str, Any] | None, points: Sequence[str]) -> str:
    return "" if row is None else " / ".join(_kept(row, point) for point in points)


def _name(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the name of the method, with the chosen method in parentheses."""
    rows = list(rows)
    method: str = rows[0]["method"]
    return (
        f"{method} ({_became(rows)})" if method.startswith("chosen") else _SHOWN.get(method, method)
    )


def _became(rows: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(sorted({each for row in rows for each in row["became"]}))


def _full(row: Mapping[str, Any]) -> int:
    return max(int(point.partition(":")[0]) for point in row["points"])


def _kept(row: Mapping[str, Any], point: str) -> str:
    """Write the retention: bold if significantly better than truncation, italic if worse."""
    place = row["points"].index(f"{_full(row)}:float32" if point == "whole" else point)
    text, over = f"{100 * row['kept'][place]:.1f}", row["over_cutting"][place]
    if over["low"] > 0:
        return f"**{text}**"
    return f"*{text}*" if over["high"] < 0 else text
