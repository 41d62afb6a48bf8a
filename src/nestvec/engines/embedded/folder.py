"""Where everything lies in an index folder.

manifest.json                    model, stored precision, operating point, calibrated codecs
documents.sqlite                 ids, texts, metadata, checksums; what is committed
documents.seal                   checksum of that file, as the last writer left it
vectors/0-0.vectors              full vectors: generation, number; append-only
codes/0-0-46961/128-binary.codes codes of rows 0 to 46960, a cache; rows and ids beside them
writer.lock, writer.json         held by the one writer, and who that is
adapter.safetensors              the adapter that transformed its vectors, if there is one
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from nestvec.engines.manifest import Manifest
from nestvec.errors import DamagedFile, DataError, IndexLocked
from nestvec.files.atomic import replace_file
from nestvec.types import CodeKey, OperatingPoint, Precision

MANIFEST = "manifest.json"
DATABASE = "documents.sqlite"
SEAL = "documents.seal"
VECTORS = "vectors"
CODES = "codes"
LOCK = "writer.lock"
HOLDER = "writer.json"
_MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")  # how a space, a tab or a backslash is written there
_NETWORK = {
    *("9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"),
    *("smb2", "smb3", "smbfs"),
    *("fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
}
_WAIT_S = 2.0  # a reader holds it for as long as it looks whether there is a writer


FROM_VECTORS = ("float16", "float32")
"""Precisions whose later stages are read from the stored vectors: no codes of their own."""


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        DataError: If there is none, or it is of another version.
        DamagedFile: If it is not what was written.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(folder, f"is not an index folder (no {MANIFEST})") from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"cannot be read ({error!r}): rebuild the index") from error
    return Manifest.from_json(text, path)


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write ``manifest.json``, in the place of the one before.

    Raises:
        DataError: If it cannot be written.
    """
    with replace_file(folder / MANIFEST) as path:
        path.write_text(json.dumps(manifest.to_json(), indent=1) + "\n", encoding="utf-8")


def segment_file(folder: Path, generation: int, number: int) -> Path:
    """Return where a segment of vectors lies."""
    return folder / VECTORS / f"{generation}-{number}.vectors"


def part_folder(folder: Path, generation: int, first_row: int, n_rows: int) -> Path:
    """Return where the codes of a range of rows lie."""
    return folder / CODES / f"{generation}-{first_row}-{n_rows}"


def codes_name(dim: int, precision: Precision) -> str:
    """Return the name of the codes of one representation."""
    return f"{dim}-{precision}.codes"


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


class WriterLock:
    """Held by the process that changes an index."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            IndexLocked: If another process, or another index opened in this one, holds it.
            DataError: If nothing can be written there.
        """
        self._folder = folder
        self._lock = FileLock(folder / LOCK, is_singleton=False, thread_local=False)
        try:
            self._lock.acquire(timeout=_WAIT_S)
        except Timeout as error:
            raise IndexLocked(folder, f"is being changed by {_holder(folder)}") from error
        except OSError as error:
            raise DataError(folder, f"cannot be written ({error.strerror})") from error
        holder = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with suppress(OSError):  # on a full disk, nobody is told who holds it
            (folder / HOLDER).write_text(json.dumps(holder), encoding="utf-8")

    def release(self) -> None:
        """Let others write."""
        with suppress(OSError):
            (self._folder / HOLDER).unlink()
        self._lock.release()


def writer_is_alive(folder: Path) -> bool:
    """Tell whether somebody changes the index now."""
    if not (folder / HOLDER).exists() or not os.access(folder, os.W_OK):
        return False
    lock = FileLock(folder / LOCK, is_singleton=False, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # the lock's file may not be opened: then it cannot be told, and is checked
        return False
    lock.release()
    return False  # who wrote that note was killed


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return (
            f"process {holder['process']} on {holder['host']} since {holder['since']}: "
            "close it there first, or wait"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process: close it there first, or wait"


def with_codes(point: OperatingPoint) -> set[CodeKey]:
    """Return the representations of a point that have codes in files."""
    first, *later = (stage.representation for stage in point.stages)
    return {first, *(key for key in later if key[1] not in FROM_VECTORS)}
