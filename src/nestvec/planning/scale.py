"""What a point takes and costs at another number of vectors: arithmetic on what was measured.

GB is 1e9 bytes. Memory is codes that must be resident; disk is vectors, codes and index files.
Texts and the machine around them are not counted. Build time is extrapolated linearly, and is no
measurement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.curve.point import CurvePoint
from nestvec.errors import DataError, InvalidArgument

_GB = 1e9


@dataclass(frozen=True)
class Prices:
    """What a machine's memory and disk cost.

    Attributes:
        currency: As it is written before an amount.
        ram_gb_month: Of one GB of memory for a month.
        disk_gb_month: Of one GB of disk for a month.
        replicas: How many copies are kept.
    """

    currency: str
    ram_gb_month: float
    disk_gb_month: float
    replicas: int = 1

    @classmethod
    def load(cls, path: Path | str) -> Prices:
        """Read a JSON file with these names.

        Raises:
            DataError: If the file cannot be read, a name is missing or unknown, or a value is
                outside its limit.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(path, f"cannot be read as JSON: {error}") from error
        names = list(cls.__dataclass_fields__)
        if not isinstance(values, dict) or set(values) - set(names):
            raise DataError(path, f"is not an object of {', '.join(names)}")
        values = {"replicas": 1, **values}
        if missing := [name for name in names if name not in values]:
            raise DataError(path, f"lacks {', '.join(missing)}")
        if not isinstance(values["currency"], str):
            raise DataError(path, f"currency {values['currency']!r} is not a text")
        for name in ("ram_gb_month", "disk_gb_month"):
            if not _is_number(values[name]) or not 0 <= values[name] < float("inf"):
                raise DataError(path, f"{name} {values[name]!r} is not a number >= 0")
        if not _is_number(values["replicas"]) or values["replicas"] not in range(1, _MOST):
            raise DataError(path, f"replicas {values['replicas']!r} is not a whole number >= 1")
        return cls(**values)


@dataclass(frozen=True)
class CostProjection:
    """A point at another number of vectors.

    Attributes:
        vectors: How many.
        replicas: How many copies of them; the bytes are of all.
        ram_gb: Memory.
        disk_gb: Disk for vectors, codes and index files.
        build_s: Seconds to encode one copy, extrapolated linearly.
        money_month: What memory and disk cost a month; None without prices.
    """

    vectors: int
    replicas: int
    ram_gb: float
    disk_gb: float
    build_s: float
    money_month: float | None


def project(
    row: CurvePoint,
    *,
    n_measured: int,
    vectors: int,
    prices: Prices | None = None,
    replicas: int | None = None,
) -> CostProjection:
    """Say what a point takes at a number of vectors.

    Args:
        row: The point, as measured.
        n_measured: Number of documents it was measured on.
        vectors: Number of vectors to store.
        prices: What memory and disk cost.
        replicas: How many copies; None for what the prices say, or one.

    Raises:
        InvalidArgument: If a count is below 1.
    """
    copies = replicas if replicas is not None else prices.replicas if prices else 1
    for name, count in (("vectors", vectors), ("replicas", copies), ("n_measured", n_measured)):
        if count < 1:
            raise InvalidArgument(f"{name} {count} < 1")
    ram_gb, disk_gb = (
        vectors * copies * each / _GB
        for each in (row.cost.ram_bytes_per_vector, row.cost.disk_bytes_per_vector)
    )
    money = None
    if prices is not None:
        money = ram_gb * prices.ram_gb_month + disk_gb * prices.disk_gb_month
    build_s = row.cost.build_s * vectors / n_measured
    return CostProjection(vectors, copies, ram_gb, disk_gb, build_s, money)


def scale_text(
    chosen: CostProjection, full: CostProjection, *, n_measured: int, currency: str = ""
) -> str:
    """Write what a point needs, compared with full precision."""
    copies = f" in {chosen.replicas} replicas" if chosen.replicas > 1 else ""
    text = (
        f"At {chosen.vectors:,} vectors{copies}: {_gigabytes(chosen)}; full precision "
        f"{_gigabytes(full)}; texts not counted"
    )
    if chosen.money_month is not None and full.money_month is not None:
        text += (
            f"; {currency} {chosen.money_month:,.2f} a month, full precision "
            f"{currency} {full.money_month:,.2f}"
        )
    return (
        f"{text}. Building takes about {_duration(chosen.build_s)}, extrapolated linearly from "
        f"{n_measured:,} documents, not measured."
    )


def _gigabytes(needed: CostProjection) -> str:
    return f"{_amount(needed.ram_gb)} GB in memory and {_amount(needed.disk_gb)} GB on disk"


_MOST = 10_000  # replicas


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(gigabytes: float) -> str:
    return f"{gigabytes:,.2f}" if gigabytes >= 0.1 else f"{gigabytes:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
