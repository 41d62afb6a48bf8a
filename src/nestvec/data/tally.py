"""Count irregular values that a reader accepts, and log one warning for each kind of value."""

from __future__ import annotations

import logging
from pathlib import Path

_MAX_SHOWN = 80  # characters of an example
_logger = logging.getLogger(__name__)


class Tally:
    """Counts of irregular values in a table, with one example of each kind.

    A tally logs its warnings once, even if the file is read several times.
    """

    def __init__(self, *files: Path) -> None:
        """Start without counts. Warnings name the file, or the folder of several files."""
        self.path, self._logged = files[0] if len(files) == 1 else files[0].parent, False
        self._found: dict[str, tuple[int, object]] = {}

    def add(self, kind: str, example: object) -> None:
        """Count a value of a kind, such as "repeated labels, skipped"."""
        count, first = self._found.get(kind, (0, example))
        self._found[kind] = count + 1, first

    def log(self) -> None:
        """Log a warning for each kind, unless this tally has logged its warnings before."""
        found, self._found = self._found, {}
        if self._logged:
            return
        self._logged = True
        for kind, (count, example) in found.items():
            shown = repr(example)[:_MAX_SHOWN]
            _logger.warning("%s: %s: %d, such as %s", self.path, kind, count, shown)
