"""Whether a folder lies where an index can be kept: shared memory and locks must work there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from nestvec.errors import DataError

_MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")  # how a space, a tab or a backslash is written there
_NETWORK = {
    *("9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"),
    *("smb2", "smb3", "smbfs"),
    *("fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
}


def check_file_system(folder: Path) -> None:
    """Refuse a network file system, as far as it can be told (on Linux).

    Raises:
        DataError: If the folder lies on one: SQLite's write-ahead log would be damaged there.
    """
    kind = _kind(folder.resolve()) if sys.platform == "linux" else None
    if kind in _NETWORK:
        raise DataError(
            folder,
            f"lies on a network file system ({kind}), where an index would be damaged: keep it "
            "on a local disk",
        )


def _kind(folder: Path) -> str | None:
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    found, longest = None, -1
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), place)
        inside = place == "/" or str(folder) == place or str(folder).startswith(place + os.sep)
        if inside and len(place) >= longest:
            found, longest = kind, len(place)
    return found
