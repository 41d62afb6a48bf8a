"""A short history of checks, so that a nightly run can report what changed.

The file has one JSON object per line, oldest first, and at most ``MOST`` lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from nestvec.data.records import read_objects
from nestvec.errors import DataError
from nestvec.files.atomic import replace_file
from nestvec.operate.check_report import CheckReport

MOST = 100


@dataclass(frozen=True)
class PastCheck:
    """The main numbers of a check.

    Attributes:
        checked_at: Time of the check, ISO 8601, UTC.
        place: The index or table.
        point: The operating point; "" if it is unknown.
        width: The setting of the approximate index and its value; "" for none.
        documents: Number of searched documents.
        queries: Number of queries.
        k: The largest number of results.
        overlap: Mean overlap at this k.
        p50_ms: Median latency in milliseconds.
        retention: Share of the relevance of exact answers; None without labels.
        passed: Whether the check passed.
        canary_cosine: The lowest cosine of a canary of the index; None if none was encoded.
    """

    checked_at: str
    place: str
    point: str
    width: str
    documents: int
    queries: int
    k: int
    overlap: float
    p50_ms: float
    retention: float | None
    passed: bool
    canary_cosine: float | None = None

    @classmethod
    def of(cls, report: CheckReport) -> Self:
        """Return the main numbers of a report."""
        return cls(
            report.checked_at,
            report.place,
            report.point,
            report.width,
            report.documents,
            report.queries,
            report.overlaps[-1].k,
            report.overlap,
            report.latency_ms["p50_ms"],
            None if report.retention is None else report.retention.share,
            report.passed,
            None if report.canaries is None else report.canaries.lowest,
        )

    def changes(self, before: PastCheck) -> list[str]:
        """Return what changed since an earlier check, in short texts."""
        found = []
        if self.documents != before.documents:
            found.append(f"documents {self.documents - before.documents:+,}")
        found.append(f"overlap {self.overlap - before.overlap:+.3f}")
        if self.retention is not None and before.retention is not None:
            found.append(f"retention {self.retention - before.retention:+.3f}")
        if self.canary_cosine is not None and before.canary_cosine is not None:
            found.append(f"canary cosine {self.canary_cosine - before.canary_cosine:+.4f}")
        found.append(f"p50 {self.p50_ms - before.p50_ms:+.1f} ms")
        for name in ("point", "width", "queries"):
            one, other = getattr(before, name), getattr(self, name)
            if one != other:
                found.append(f"{name} {one or 'none'} before, {other or 'none'} now")
        return found


def add_to_history(path: Path, report: CheckReport) -> PastCheck | None:
    """Append a check to a file, and return the latest check of the same place and k before it.

    Raises:
        DataError: If the file exists and is not a history, or cannot be written.
    """
    past = _read(path) if path.exists() else []
    new = PastCheck.of(report)
    with replace_file(path) as temporary:
        lines = (json.dumps(asdict(each)) for each in [*past, new][-MOST:])
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    same = [each for each in past if (each.place, each.k) == (new.place, new.k)]
    return same[-1] if same else None


def _read(path: Path) -> list[PastCheck]:
    found = []
    for line, row in read_objects(path):
        found.append(_past(path, line, row))
    return found


def _past(path: Path, line: int, row: Mapping[str, Any]) -> PastCheck:
    try:
        return PastCheck(**row)
    except TypeError as error:
        problem = "is not a history of checks. Name another file"
        raise DataError(path, problem, line=line) from error
