"""The tables of docs/adapt.md."""

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


def adaptors() -> str:
    """List what each method keeps of each set at three dims, float32; whole width behind it."""
    return _by_set("rows", _METHODS, [f"{dim}:float32" for dim in _DIMS])


def adaptor_codes() -> str:
    """List the same of codes."""
    return _by_set("rows", _OF_CODES, _CODED)


def adaptor_transfer() -> str:
    """List what is kept where an adaptor was fitted on another corpus."""
    return _by_set("transfer", _OF_TRANSFER, [f"{dim}:float32" for dim in _DIMS])


def adaptor_samples() -> str:
    """List what is kept by how many documents were fitted on, and what a choice became."""
    lines = [["method", "documents", "for each dim", *(f"{dim} dims" for dim in _DIMS)]]
    lines[0].append("full width")
    for row in results("adaptors")["samples"]:
        full, count = _full(row), row["documents"]
        cells = [_kept(row, f"{dim}:float32") for dim in (*_DIMS, full)]
        lines.append([_name([row]), f"{count:,}", f"{count / full:.0f}", *cells])
    return markdown(lines)


def _by_set(part: str, methods: Sequence[str], points: Sequence[str]) -> str:
    """Write a line for each encoder and method, a column for each set."""
    rows = [row for row in results("adaptors")[part] if row["method"] in methods]
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = [["encoder", "method", *sets, "mean at full width"]]
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        for method in methods:
            found = {
                row["set"]: row
                for row in rows
                if (row["encoder"], row["method"]) == (encoder, method)
            }
            if found:
                texts = [_cell(found.get(name), points) for name in sets]
                lines.append([encoder, _name(found.values()), *texts, _mean_whole(found.values())])
    return markdown(lines)


def _cell(row: Mapping[str, Any] | None, points: Sequence[str]) -> str:
    return "" if row is None else " / ".join(_kept(row, point) for point in points)


def _mean_whole(rows: Iterable[Mapping[str, Any]]) -> str:
    whole = [row["kept"][row["points"].index(f"{_full(row)}:float32")] for row in rows]
    return f"{100 * sum(whole) / len(whole):.1f}"


def _name(rows: Iterable[Mapping[str, Any]]) -> str:
    """Name the method, and what a choice became."""
    rows = list(rows)
    method: str = rows[0]["method"]
    if not method.startswith("chosen"):
        return method
    became = sorted({each for row in rows for each in row["became"]})
    return f"{method} ({'; '.join(became)})"


def _full(row: Mapping[str, Any]) -> int:
    return max(int(point.partition(":")[0]) for point in row["points"])


def _kept(row: Mapping[str, Any], point: str) -> str:
    """Write the share, in bold where it is more than cutting's beyond its interval."""
    if point not in row["points"]:
        return "-"
    place = row["points"].index(point)
    text = f"{100 * row['kept'][place]:.1f}"
    return f"**{text}**" if row["over_cutting"][place]["low"] > 0 else text
