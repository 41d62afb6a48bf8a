"""The files of an index folder, and its writer's lock.

manifest.json                    model, stored precision, operating point, fitted codecs
documents.sqlite                 ids, texts, metadata, checksums and the last commit
documents.seal                   checksum of documents.sqlite when the last writer closed it
vectors/0-0.vectors              full vectors of generation 0, segment 0; append-only
codes/0-0-46961/128-binary.codes codes of generation 0, rows 0 to 46960; a cache
writer.lock, writer.json         the lock of the one writer, and its process
adapter.safetensors              the adapter that transformed the vectors, if there is one
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
_OCTAL = re.compile(r"\\([0-7]{3})")  # the escape of a space, a tab or a backslash in _MOUNTS
_NETWORK = {
    *("9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"),
    *("smb2", "smb3", "smbfs"),
    *("fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
}
_WAIT_S = 2.0  # a reader that checks for a writer acquires the lock for a moment


FROM_VECTORS = ("float16", "float32")
"""Precisions whose later stages read the stored vectors and have no codes."""
RESTORE = "Restore the index from a backup."
"""The remedy in error messages about damaged files."""


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        DataError: If there is no manifest, or its version is not supported.
        DamagedFile: If it differs from what was written.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(folder, f"is not an index folder (no {MANIFEST})") from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"cannot be read ({error!r}). Rebuild the index.") from error
    return Manifest.from_json(text, path)


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write or replace ``manifest.json``.

    Raises:
        DataError: If it cannot be written.
    """
    with replace_file(folder / MANIFEST) as path:
        path.write_text(json.dumps(manifest.to_json(), indent=1) + "\n", encoding="utf-8")


def segment_file(folder: Path, generation: int, number: int) -> Path:
    """Return the path of a segment of vectors."""
    return folder / VECTORS / f"{generation}-{number}.vectors"


def part_folder(folder: Path, generation: int, first_row: int, n_rows: int) -> Path:
    """Return the folder of the codes of a range of rows."""
    return folder / CODES / f"{generation}-{first_row}-{n_rows}"


def codes_name(dim: int, precision: Precision) -> str:
    """Return the file name of the codes of a (dim, precision)."""
    return f"{dim}-{precision}.codes"


def check_file_system(folder: Path) -> None:
    """Check that a folder is on a local file system (on Linux only).

    Raises:
        DataError: If it is on a network file system, which would damage SQLite's write-ahead log.
    """
    kind = _file_system(folder.resolve()) if sys.platform == "linux" else None
    if kind in _NETWORK:
        problem = f"is on a network file system ({kind}), which can damage an index."
        raise DataError(folder, f"{problem} Use a folder on a local disk.")


def _file_system(folder: Path) -> str | None:
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    found, longest = None, -1
    for line in lines:
        _, mount, kind, *_ = line.split(" ")
        mount = _OCTAL.sub(lambda found: chr(int(found[1], 8)), mount)
        inside = mount == "/" or str(folder) == mount or str(folder).startswith(mount + os.sep)
        if inside and len(mount) >= longest:
            found, longest = kind, len(mount)
    return found


class WriterLock:
    """The lock of the one process that changes an index."""

    def __init__(self, folder: Path) -> None:
        """Acquire the lock.

        Raises:
            IndexLocked: If another process, or another index object of this process, has the lock.
            DataError: If the folder cannot be written.
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
        with suppress(OSError):  # on a full disk, other processes cannot report the holder
            (folder / HOLDER).write_text(json.dumps(holder), encoding="utf-8")

    def release(self) -> None:
        """Release the lock."""
        with suppress(OSError):
            (self._folder / HOLDER).unlink()
        self._lock.release()


def writer_is_alive(folder: Path) -> bool:
    """Return whether a process has the writer's lock now."""
    if not (folder / HOLDER).exists() or not os.access(folder, os.W_OK):
        return False
    lock = FileLock(folder / LOCK, is_singleton=False, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # the lock file cannot be opened; without a known writer, the index is checked
        return False
    lock.release()
    return False  # the process that wrote HOLDER was killed


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return (
            f"process {holder['process']} on {holder['host']} since {holder['since']}. "
            "Close the index there, or wait."
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process. Close the index there, or wait."


def coded_keys(point: OperatingPoint) -> set[CodeKey]:
    """Return each (dim, precision) of a point that has code files."""
    first, *later = (stage.representation for stage in point.stages)
    return {first, *(key for key in later if key[1] not in FROM_VECTORS)}
