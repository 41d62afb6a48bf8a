"""Project memory, disk, build time and cost of a point to another number of vectors.

One GB is 1e9 bytes. Memory counts resident codes; disk counts vectors, codes and index files.
Texts and the memory of the process are not counted. Build time is extrapolated linearly.
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
    """Prices of memory and disk.

    Attributes:
        currency: Text before each amount, for example ``"USD"``.
        ram_gb_month: Price of one GB of memory for a month.
        disk_gb_month: Price of one GB of disk for a month.
        replicas: Number of copies of the index.
    """

    currency: str
    ram_gb_month: float
    disk_gb_month: float
    replicas: int = 1

    @classmethod
    def load(cls, path: Path | str) -> Prices:
        """Read a JSON object whose names are the attributes.

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
            raise DataError(path, f"is not a JSON object with only {', '.join(names)}")
        values = {"replicas": 1, **values}
        if missing := [name for name in names if name not in values]:
            raise DataError(path, f"is missing {', '.join(missing)}")
        if not isinstance(values["currency"], str):
            raise DataError(path, f"currency={values['currency']!r} is not a string")
        for name in ("ram_gb_month", "disk_gb_month"):
            if not _is_number(values[name]) or not 0 <= values[name] < float("inf"):
                raise DataError(path, f"{name}={values[name]!r} is not a number >= 0")
        if not _is_number(values["replicas"]) or values["replicas"] not in range(1, _MOST):
            raise DataError(
                path, f"replicas={values['replicas']!r} is not an integer from 1 to {_MOST - 1}"
            )
        return cls(**values)


@dataclass(frozen=True)
class CostProjection:
    """The requirements of a point at another number of vectors.

    Attributes:
        vectors: Number of vectors.
        replicas: Number of copies of the index.
        ram_gb: Memory of all copies in GB.
        disk_gb: Disk space of the vectors, codes and index files of all copies in GB.
        build_s: Time to build one copy in seconds, extrapolated linearly.
        money_month: Price of memory and disk for a month; None without prices.
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
    """Project the requirements of a point to a number of vectors.

    Args:
        row: The measured point.
        n_measured: Number of documents in the measured corpus.
        vectors: Number of vectors to store.
        prices: Prices of memory and disk, or None.
        replicas: Number of copies; None for ``prices.replicas``, or 1 without prices.

    Raises:
        InvalidArgument: If a count is below 1.
    """
    copies = replicas if replicas is not None else prices.replicas if prices else 1
    for name, count in (("vectors", vectors), ("replicas", copies), ("n_measured", n_measured)):
        if count < 1:
            raise InvalidArgument(f"{name}={count} is too small. Pass 1 or more.")
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
    """Return the requirements of a point as text, compared with full precision."""
    copies = f" in {chosen.replicas} replicas" if chosen.replicas > 1 else ""
    text = (
        f"{chosen.vectors:,} vectors{copies} need {_gigabytes(chosen)} (full precision: "
        f"{_gigabytes(full)}), not counting texts."
    )
    if chosen.money_month is not None and full.money_month is not None:
        text += (
            f" Memory and disk cost {currency} {chosen.money_month:,.2f} a month (full "
            f"precision: {currency} {full.money_month:,.2f})."
        )
    return (
        f"{text} Building the index takes about {_duration(chosen.build_s)}, extrapolated "
        f"linearly from {n_measured:,} documents."
    )


def _gigabytes(needed: CostProjection) -> str:
    return f"{_amount(needed.ram_gb)} GB in memory and {_amount(needed.disk_gb)} GB on disk"


_MOST = 10_000  # replicas, exclusive


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(gigabytes: float) -> str:
    return f"{gigabytes:,.2f}" if gigabytes >= 0.1 else f"{gigabytes:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
