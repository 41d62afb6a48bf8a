"""Tables of codes that store a correction for each vector, and of leading bits of longer codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from code_corrections import CORRECTED, NESTED, PLAIN, PRECISION_OF_BITS
from markdown_tables import markdown, results

Row = Mapping[str, Any]
Key = tuple[str, int, int]
_LABELS = {
    "plain": "plain code",
    "renormalized": "factor: unit length of the decoded vector",
    "length": "factor: length of the residual",
    "least squares": "factor: smallest error of the residual",
    "unbiased": "factor: unbiased (RaBitQ)",
    "unbiased, full mean": "factor: unbiased, mean not weighted",
    "scale and shift": "scale and shift, two values",
    **{way.name: f"leading bits of {way.leading_of}-bit codes" for way in NESTED},
}
_STORED = {"free": ", not counted", "byte": ", 1 byte", "float16": ", float16"}
_UNCORRECTED = (PLAIN, *NESTED)
_CORRECTIONS = [way.name for way in CORRECTED]
_LARGEST = 64  # bytes


def corrected_codes() -> str:
    """List the overlap with exact search at equal bytes; in bold, the best codes alone."""
    lines = [("plain", "free"), *((way, "byte") for way in _CORRECTIONS)]
    return _table([*lines, ("unbiased", "float16"), ("unbiased", "free")])


def nested_codes() -> str:
    """List the overlap of codes of which only the leading bits are read."""
    return _table([(way.name, "free") for way in _UNCORRECTED])


def correction_gains() -> str:
    """List the gains over plain codes of equal bytes: mean, lowest and highest."""
    rows = results("corrected_codes")
    found = {(row["way"], row["storage"], *_key(row)): row for row in rows}
    lines = [["stored for each vector", "bytes", *PRECISION_OF_BITS.values()]]
    for way, storage in ((way, storage) for way in _CORRECTIONS for storage in _STORED):
        cells = []
        for bits in PRECISION_OF_BITS:
            pairs = [
                (row["overlap"], found["plain", "free", *_key(row)]["overlap"])
                for row in rows
                if (row["way"], row["storage"], row["bits"]) == (way, storage, bits)
                and row["bytes"] <= _LARGEST
                and ("plain", "free", *_key(row)) in found
            ]
            gains = [100 * (corrected - plain) for corrected, plain in pairs]
            cells.append(f"{mean(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f})")
        lines.append([_LABELS[way], _STORED[storage].removeprefix(", "), *cells])
    return markdown(lines)


def _key(row: Row) -> Key:
    return row["set"], row["bits"], row["bytes"]


def _table(lines: Iterable[tuple[str, str]]) -> str:
    """Write a table of the mean overlap over all sets whose vectors have dims enough for 1 bit."""
    rows = results("corrected_codes")
    sets: dict[int, list[str]] = {}
    for row in rows:
        if (row["way"], row["bits"]) == ("plain", 1):
            sets.setdefault(row["bytes"], []).append(row["set"])
    found = {(row["way"], row["storage"], *_key(row)): row for row in rows}
    labels, cells = [], []
    for bits, precision in PRECISION_OF_BITS.items():
        for way, storage in lines:
            keys = [[(way, storage, each, bits, size) for each in sets[size]] for size in sets]
            own = [_mean([found.get(key) for key in column]) for column in keys]
            if any(own):
                stored = _STORED[storage] if way in _CORRECTIONS else ""
                labels.append([precision, _LABELS[way] + stored])
                cells.append(own)
    best = [max(each[0] for each in column if each) for column in zip(*cells, strict=True)]
    texts = [[_text(*pair) for pair in zip(own, best, strict=True)] for own in cells]
    header = ["precision", "code", *(f"{size} B" for size in sets)]
    return markdown([header, *(a + b for a, b in zip(labels, texts, strict=True))])


def _mean(rows: Sequence[Row | None]) -> tuple[float, float] | None:
    """Return the mean overlap alone and rescored; None if a set has no such code."""
    if None in rows:
        return None
    names = ("overlap", "overlap_rescored")
    alone, rescored = (100 * mean(row[name] for row in rows if row) for name in names)
    return alone, rescored


def _text(cell: tuple[float, float] | None, best: float) -> str:
    if cell is None:
        return ""
    alone = f"{cell[0]:.1f}"
    return f"{f'**{alone}**' if cell[0] == best else alone} → {cell[1]:.1f}"
