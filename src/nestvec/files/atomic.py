"""Replace files and folders atomically: readers see the old or the new content, never a mix.

After an error or on a full disk, the old content is unchanged and no temporary files remain. A
file is replaced by one rename, a folder by two. If the machine stops between the two renames, the
old and the new folder are complete but have temporary names (``.NAME.*.tmp``).
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nestvec.errors import DataError


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` if the block ends without an error.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    with replace_files(path) as (temporary,):
        yield temporary


@contextmanager
def replace_files(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yield a temporary path for each path; rename all if the block ends without an error.

    All files are complete on disk before the first is renamed. They are renamed in the given
    order, so pass the file that refers to the others last.

    Raises:
        DataError: If a folder cannot be written or the disk is full.
    """
    targets = [path.resolve() for path in paths]  # keep symbolic links, replace targets
    temporaries = tuple(map(_temporary_name, targets))
    try:
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        yield temporaries
        for temporary in temporaries:
            sync(temporary)
        for temporary, target in zip(temporaries, targets, strict=True):
            temporary.replace(target)
            sync(target.parent)
    except OSError as error:
        raise DataError(paths[-1], _write_failure(error)) from error
    finally:
        for temporary in temporaries:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def replace_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder; rename it to ``path`` if the block ends without an error.

    Args:
        path: The folder to create or to replace.
        marker: As in ``check_replaceable``.

    Raises:
        DataError: If ``path`` is not replaceable, cannot be written, or the disk is full.
    """
    check_replaceable(path, marker=marker)
    temporary = _temporary_name(path.resolve())
    try:
        temporary.mkdir(parents=True)
        yield temporary
        put_in_place(temporary, path, marker=marker)
    except OSError as error:
        raise DataError(path, _write_failure(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(folder: Path, path: Path, *, marker: str, backup: Path | None = None) -> None:
    """Move a complete folder to ``path`` and replace the folder that is there.

    Args:
        folder: The new folder, on the same file system as ``path``.
        path: The folder to create or to replace.
        marker: As in ``check_replaceable``.
        backup: New path of the replaced folder, in the same parent folder; must not exist. None
            deletes the replaced folder.

    Raises:
        DataError: If ``path`` is not replaceable or cannot be written.
    """
    check_replaceable(path, marker=marker)
    target = path.resolve()
    old = _temporary_name(target) if backup is None else backup
    try:
        for file in (folder, *folder.rglob("*")):
            sync(file)
        if target.exists():
            target.replace(old)
        folder.replace(target)
        sync(target.parent)
    except OSError as error:
        raise DataError(path, _write_failure(error)) from error
    finally:
        if old.exists() and not target.exists():  # the second rename failed
            old.replace(target)
        if backup is None:
            shutil.rmtree(old, ignore_errors=True)


def check_replaceable(path: Path, *, marker: str) -> None:
    """Check that ``replace_folder`` may replace a path.

    Args:
        path: Must not exist, be an empty folder, or contain ``marker``.
        marker: Name of a file that identifies this kind of folder, such as a manifest.

    Raises:
        DataError: If ``path`` is a file, or a folder with other content.
    """
    try:
        replaceable = not path.exists() or (path / marker).exists()
        if not replaceable and (path.is_file() or any(path.iterdir())):
            raise DataError(
                path, f"exists and has no {marker}, so it is not replaced. Choose a new path."
            )
    except OSError as error:
        raise DataError(path, _write_failure(error)) from error


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk.

    Raises:
        OSError: If the path cannot be opened, or the disk fails.
    """
    windows = os.name == "nt"
    if windows and path.is_dir():  # Windows cannot open folders
        return
    # fsync requires write access on Windows.
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_failure(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"could not be written ({reason}). The existing content is unchanged."
