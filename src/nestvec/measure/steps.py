"""Tell how many steps of a measurement are done."""

from __future__ import annotations

from nestvec.types import OnProgress


class Steps:
    """Counts steps and tells of each."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        """Begin at none of ``total``."""
        self._done, self._total, self._on_progress = 0, total, on_progress

    def __call__(self) -> None:
        """Count one more."""
        self._done += 1
        self._on_progress(self._done, self._total)
