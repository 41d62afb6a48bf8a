"""Where an index folder comes to be: made empty, built beside its place, replaced, kept, restored.

A build grows in ``.NAME.unfinished`` beside its place, and gets its name when it is complete. An
index that it replaces can be kept as ``NAME.unadapted``.
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

_SOURCE = "source.json"  # in an unfinished folder: what it is built from


def create_folder(path: Path, manifest: Manifest, adapter: Adapter | None = None) -> None:
    """Make the folder of an empty index.

    Args:
        path: A new or empty folder.
        manifest: Its model, how vectors are stored, and its operating point.
        adapter: What the vectors are transformed by, if anything.

    Raises:
        DataError: If the folder holds something, cannot be written, or is on a network.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(path, "is not empty: name a new folder")
    check_file_system(path)
    made = [folder for folder in (path, *path.absolute().parents) if not folder.exists()]
    try:
        for folder in (path, path / VECTORS, path / CODES):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in made:
            sync(folder.parent)  # else a power cut could take the index with the folder's name
    except OSError as error:
        raise DataError(path, f"cannot be made ({error.strerror})") from error
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
    """Return where an index for a place is built."""
    target = place.resolve()
    return target.with_name(f".{target.name}.unfinished")


def kept_folder(place: Path) -> Path:
    """Return where an index that was replaced is kept."""
    target = place.resolve()
    return target.with_name(f"{target.name}.unadapted")


def begin(
    folder: Path, manifest: Manifest, source: Mapping[str, str], adapter: Adapter | None
) -> None:
    """Make an unfinished folder, unless one of the same source is there to be continued.

    Args:
        folder: The unfinished folder.
        manifest: Of the index that is built.
        source: Names what the documents come from.
        adapter: What the vectors are transformed by, if anything.

    Raises:
        IndexLocked: If another process builds there.
        DataError: If it cannot be written.
    """
    described = {
        "fingerprint": manifest.model.fingerprint,
        "adapter": manifest.model.adapter,
        "point": str(manifest.point),
        "stored": manifest.stored,
        **source,
    }
    try:
        if json.loads((folder / _SOURCE).read_text(encoding="utf-8")) == described:
            return
    except (OSError, ValueError):
        pass  # nothing was begun, or it is damaged
    remove(folder)
    create_folder(folder, manifest, adapter)
    with replace_file(folder / _SOURCE) as file:
        file.write_text(json.dumps(described), encoding="utf-8")


def remove(folder: Path) -> None:
    """Delete an unfinished folder.

    Raises:
        IndexLocked: If another process builds there.
    """
    if folder.exists():
        WriterLock(folder).release()  # not under the feet of another process
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kept_if_begun(folder: Path) -> Iterator[None]:
    """Keep what an error or an interrupt leaves only where there is something to continue."""
    try:
        yield
    except IndexLocked:  # another process builds there
        raise
    except BaseException:
        if not any((folder / VECTORS).glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_place(place: Path, *, kept: Path | None) -> None:
    """Refuse a place that no index can take, before anything is built.

    Raises:
        DataError: If the place holds something that is no index, or its index could not be kept.
    """
    check_replaceable(place, marker=DATABASE)
    if kept is not None and kept.exists():
        raise DataError(kept, "is there already: delete or rename it, it would be lost")


def take_place(folder: Path, place: Path, *, kept: Path | None) -> None:
    """Put a finished folder in its place."""
    (folder / _SOURCE).unlink()
    put_in_place(folder, place, marker=DATABASE, backup=kept)


def restore_folder(place: Path) -> None:
    """Put a kept index back in the place of the one that replaced it.

    Raises:
        DataError: If none was kept, or it cannot be put back.
    """
    kept = kept_folder(place)
    if not kept.exists():
        raise DataError(place, f"cannot be put back: there is no {kept.name} beside it")
    put_in_place(kept, place, marker=DATABASE)
