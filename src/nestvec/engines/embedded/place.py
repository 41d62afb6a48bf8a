"""Create, build, replace and restore index folders.

A build writes to ``.NAME.unfinished`` next to its place, and is renamed when it is complete. The
index that it replaces can be kept as the backup ``NAME.unadapted``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.folder import (
    CODES,
    DATABASE,
    VECTORS,
    WriterLock,
    check_file_system,
    save_manifest,
)
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError, IndexLocked
from nestvec.files.atomic import check_replaceable, put_in_place, replace_file, sync
from nestvec.models.adapter import Adapter
from nestvec.models.adapter_file import ADAPTER, save_adapter

_SOURCE = "source.json"  # in an unfinished folder: the source of its documents


def create_folder(path: Path, manifest: Manifest, adapter: Adapter | None = None) -> None:
    """Create the folder of an empty index.

    Args:
        path: A new or empty folder.
        manifest: The model, the precision of stored vectors, and the operating point.
        adapter: The adapter that transforms the vectors, if there is one.

    Raises:
        DataError: If the folder is not empty, cannot be written, or is on a network file system.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(path, "is not empty. Choose a new folder.")
    check_file_system(path)
    created = [folder for folder in (path, *path.absolute().parents) if not folder.exists()]
    try:
        for folder in (path, path / VECTORS, path / CODES):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in created:
            sync(folder.parent)  # otherwise a power cut could remove the new folder
    except OSError as error:
        raise DataError(path, f"cannot be created ({error.strerror})") from error
    database = Database(path / DATABASE, write=True, create=True)
    try:
        with database.transaction():
            documents.create_tables(database)
        database.checkpoint()
    finally:
        database.close()
    if adapter is not None:
        save_adapter(adapter, path / ADAPTER)
    save_manifest(manifest, path)


def unfinished_folder(place: Path) -> Path:
    """Return the folder in which an index for a place is built."""
    target = place.resolve()
    return target.with_name(f".{target.name}.unfinished")


def backup_folder(place: Path) -> Path:
    """Return the folder of the backup of a replaced index."""
    target = place.resolve()
    return target.with_name(f"{target.name}.unadapted")


def start_build(
    folder: Path, manifest: Manifest, source: Mapping[str, str], adapter: Adapter | None
) -> None:
    """Create an unfinished folder, unless one of the same source exists and can be continued.

    Args:
        folder: The unfinished folder.
        manifest: The manifest of the new index.
        source: Identifies the source of the documents.
        adapter: The adapter that transforms the vectors, if there is one.

    Raises:
        IndexLocked: If another process builds in this folder.
        DataError: If the folder cannot be written.
    """
    described = {
        "fingerprint": manifest.model.fingerprint,
        "adapter": manifest.model.adapter,
        "point": str(manifest.point),
        "stored": manifest.stored,
        **source,
    }
    if (query_model := manifest.model.query_model) is not None:
        described["query_model"] = query_model.fingerprint
    try:
        if json.loads((folder / _SOURCE).read_text(encoding="utf-8")) == described:
            return
    except (OSError, ValueError):
        pass  # there is no unfinished build, or it is damaged
    remove_unfinished(folder)
    create_folder(folder, manifest, adapter)
    with replace_file(folder / _SOURCE) as file:
        file.write_text(json.dumps(described), encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Delete an unfinished folder.

    Raises:
        IndexLocked: If another process builds in this folder.
    """
    if folder.exists():
        WriterLock(folder).release()  # raises if another process has the lock
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def remove_if_empty(folder: Path) -> Iterator[None]:
    """Delete an unfinished folder after an error or an interrupt, if it contains no vectors."""
    try:
        yield
    except IndexLocked:  # another process builds in this folder
        raise
    except BaseException:
        if not any((folder / VECTORS).glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_place(place: Path, *, backup: Path | None) -> None:
    """Check that an index can be built at a place, before the build starts.

    Raises:
        DataError: If the place contains anything but an index, or the backup folder exists.
    """
    check_replaceable(place, marker=DATABASE)
    if backup is not None and backup.exists():
        raise DataError(backup, "the name of the backup is in use. Delete or rename this folder.")


def finish_build(folder: Path, place: Path, *, backup: Path | None) -> None:
    """Move a finished folder to its place."""
    (folder / _SOURCE).unlink()
    put_in_place(folder, place, marker=DATABASE, backup=backup)


def restore_folder(place: Path) -> None:
    """Replace an index by its backup.

    Raises:
        DataError: If there is no backup, or it cannot be restored.
    """
    backup = backup_folder(place)
    if not backup.exists():
        raise DataError(place, f"cannot be restored: its backup {backup.name} does not exist.")
    put_in_place(backup, place, marker=DATABASE)
