"""Write files and folders so that a reader sees the old or the new, never half of one.

An error or a full disk leaves what was there before and nothing else. A file is replaced in one
step; a folder in two renames, so a machine that dies between them leaves the old and the new one
complete, under temporary names (``.NAME.*.tmp``) beside the missing one.
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
    """Yield a temporary path; move it over ``path`` when the block ends without an error.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    with replace_files(path) as (temporary,):
        yield temporary


@contextmanager
def replace_files(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yield a temporary path for each path; move all of them when the block ends without an error.

    All files are complete on disk before the first one takes its name. They take their names in the
    given order, so the file that refers to the others comes last.

    Raises:
        DataError: If a folder cannot be written or the disk is full.
    """
    targets = [path.resolve() for path in paths]  # a link stays, and what it points at is replaced
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
        raise DataError(paths[-1], _why(error)) from error
    finally:
        for temporary in temporaries:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def replace_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder; put it in the place of ``path`` when the block ends well.

    Args:
        path: The folder to make or to replace.
        marker: As in ``check_replaceable``.

    Raises:
        DataError: If ``path`` holds something else, cannot be written, or the disk is full.
    """
    check_replaceable(path, marker=marker)
    temporary = _temporary_name(path.resolve())
    try:
        temporary.mkdir(parents=True)
        yield temporary
        put_in_place(temporary, path, marker=marker)
    except OSError as error:
        raise DataError(path, _why(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(made: Path, path: Path, *, marker: str, kept: Path | None = None) -> None:
    """Move a folder that is complete to ``path``, where an older one may stand.

    Args:
        made: On the same file system.
        path: As ``replace_folder`` takes it.
        marker: As in ``check_replaceable``.
        kept: Where the older one goes, beside it, where nothing is; None removes it.

    Raises:
        DataError: If ``path`` holds something else, or cannot be written.
    """
    check_replaceable(path, marker=marker)
    target = path.resolve()
    old = _temporary_name(target) if kept is None else kept
    try:
        for file in (made, *made.rglob("*")):
            sync(file)
        if target.exists():
            target.replace(old)
        made.replace(target)
        sync(target.parent)
    except OSError as error:
        raise DataError(path, _why(error)) from error
    finally:
        if old.exists() and not target.exists():  # failed between the two renames
            old.replace(target)
        if kept is None:
            shutil.rmtree(old, ignore_errors=True)


def check_replaceable(path: Path, *, marker: str) -> None:
    """Refuse a path that holds something else than ``replace_folder`` may replace.

    Args:
        path: A new folder, an empty one, or one of the same kind.
        marker: A file that every folder of this kind holds, and no other.

    Raises:
        DataError: If it is a file or another folder.
    """
    try:
        ours = not path.exists() or (path / marker).exists()
        if not ours and (path.is_file() or any(path.iterdir())):
            raise DataError(
                path, f"exists and has no {marker}, so it is not replaced: name a new one"
            )
    except OSError as error:
        raise DataError(path, _why(error)) from error


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk.

    Raises:
        OSError: If it cannot be opened, or the disk fails.
    """
    windows = os.name == "nt"
    if windows and path.is_dir():  # cannot be opened there
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)  # fsync writes, there
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"could not be written ({reason}); what was there before is untouched"
