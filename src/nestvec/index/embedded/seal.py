"""The seal of a database: a checksum of the whole file, as the last writer left it.

With an unbroken seal every row is as it was written, known at the speed of memory. Without one, as
after a kill, each row is checked.
"""

from __future__ import annotations

import json
from pathlib import Path

from nestvec.atomic import replace_file
from nestvec.index.embedded.checksums import file_digest
from nestvec.index.embedded.layout import DATABASE, SEAL


def write_seal(folder: Path) -> None:
    """Seal the database, which is closed, or has nothing in its log.

    Raises:
        DataError: If it cannot be written.
    """
    values = _values(folder)
    with replace_file(folder / SEAL) as path:
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Tell whether the database is, byte for byte, what was sealed."""
    log = folder / f"{DATABASE}-wal"
    if log.exists() and log.stat().st_size:
        return False
    try:
        return bool(json.loads((folder / SEAL).read_text(encoding="utf-8")) == _values(folder))
    except (OSError, ValueError):
        return False


def _values(folder: Path) -> dict[str, str | int]:
    file = folder / DATABASE
    return {"bytes": file.stat().st_size, "xxh3_128": file_digest(file)}
