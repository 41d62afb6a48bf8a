"""The tables of docs/adapt.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markdown_tables import markdown, results

_DIMS = (192, 128, 64)
_CODED = ("128:int4", "256:binary", "128:binary")


def adaptors() -> str:
    """List what each method keeps of each set at three dims, float32; whole width behind it."""
    rows = results("adaptors")["rows"]
    return _by_set(rows, lambda row: " / ".join(_kept(row, f"{dim}:float32") for dim in _DIMS))


def adaptor_codes() -> str:
    """List the same of codes."""
    rows = results("adaptors")["rows"]
    return _by_set(rows, lambda row: " / ".join(_kept(row, point) for point in _CODED))


def adaptor_transfer() -> str:
    """List what is kept where an adaptor was fitted on another corpus."""
    rows = [row for row in results("adaptors")["transfer"] if "chosen" not in row["method"]]
    return _by_set(rows, lambda row: " / ".join(_kept(row, f"{dim}:float32") for dim in _DIMS))


def adaptor_samples() -> str:
    """List what is kept by how many documents were fitted on, and what a choice became."""
    lines = [["method", "documents", "for each dim", *(f"{dim} dims" for dim in _DIMS)]]
    lines[0].append("full width")
    for row in results("adaptors")["samples"]:
        full = _full(row)
        name = row["method"]
        if name == "chosen":
            name += f" ({', '.join(sorted(set(row['became'])))})"
        cells = [_kept(row, f"{dim}:float32") for dim in (*_DIMS, full)]
        count = row["documents"]
        lines.append([name, f"{count:,}", f"{count / full:.0f}", *cells])
    return markdown(lines)


def _by_set(rows: Sequence[Mapping[str, Any]], cell: Any) -> str:
    """Write a line for each encoder and method, a column for each set."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    lines = [["encoder", "method", *names, "mean at full width"]]
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["encoder"], row["method"]), {})[row["set"]] = row
    for (encoder, method), cells in found.items():
        whole = [
            row["kept"][row["points"].index(f"{_full(row)}:float32")] for row in cells.values()
        ]
        texts = [cell(cells[name]) if name in cells else "" for name in names]
        lines.append([encoder, method, *texts, f"{100 * sum(whole) / len(whole):.1f}"])
    return markdown(lines)


def _full(row: Mapping[str, Any]) -> int:
    return max(int(point.partition(":")[0]) for point in row["points"])


def _kept(row: Mapping[str, Any], point: str) -> str:
    """Write the share, in bold where it is more than cutting's beyond its interval."""
    if point not in row["points"]:
        return "-"
    place = row["points"].index(point)
    text = f"{100 * row['kept'][place]:.1f}"
    return f"**{text}**" if row["over_cutting"][place]["low"] > 0 else text
