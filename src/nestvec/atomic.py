"""Write files and folders so that a reader sees the old or the new, never half of one.

A crash or a full disk leaves what was there before, and at most one temporary name beside it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nestvec.errors import DataError


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; move it over ``path`` when the block ends without an error.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    temporary = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise DataError(path, _why(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder; put it in the place of ``path`` when the block ends well.

    Args:
        path: The folder to make or to replace.
        marker: A file that every folder of this kind holds. An existing folder without it is
            not ours, and is refused instead of replaced.

    Raises:
        DataError: If ``path`` holds something else, cannot be written, or the disk is full.
    """
    if path.exists() and not (path / marker).exists() and (path.is_file() or any(path.iterdir())):
        raise DataError(path, f"exists and has no {marker}, so it is not replaced: name a new one")
    temporary, old = _temporary_name(path), _temporary_name(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise DataError(path, _why(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():  # failed between the two renames
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"could not be written ({reason}); what was there before is untouched"
