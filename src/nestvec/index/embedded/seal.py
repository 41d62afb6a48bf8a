"""The seal of a database: a checksum of the whole file, as the last writer left it.

With an unbroken seal every row is as it was written, known at the speed of memory. Without one, as
after a kill, each row is checked.
"""

from __future__ import annotations

import json
from pathlib import Path

from nestvec.files.atomic import replace_file
from nestvec.index.embedded.checksums import file_digest
from nestvec.index.embedded.database import not_open_here
from nestvec.index.embedded.layout import DATABASE, SEAL


def write_seal(folder: Path) -> None:
    """Seal the database, which has nothing in its log, if no connection here has it open.

    Raises:
        DataError: If it cannot be written.
    """
    values = _values(folder)
    if values is None:
        return
    with replace_file(folder / SEAL) as path:
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Tell whether the database is, byte for byte, what was sealed.

    While this process has it open, that cannot be told: False.
    """
    log = folder / f"{DATABASE}-wal"
    if log.exists() and log.stat().st_size:
        return False
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return isinstance(sealed, dict) and sealed == _values(folder)
    except (OSError, ValueError):
        return False


def _values(folder: Path) -> dict[str, str | int] | None:
    file = folder / DATABASE
    with not_open_here(file) as may_read:
        if not may_read:
            return None
        return {"bytes": file.stat().st_size, "xxh3_128": file_digest(file)}
