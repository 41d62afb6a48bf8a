"""The folders of indexes in Qdrant Edge, and their records.

nestvec.json           manifest, and the source of an unfinished build
adapter.safetensors    the adapter that transformed the vectors, if there is one
columns.json           the named vectors of prefixes
shard/                 Edge's files
writer.lock            the lock of the one process that has opened the index

An index ``docs`` is built in the folder ``.docs_unfinished`` next to its place. ``nestvec.json`` is
written last: a folder without it is no index.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl

from nestvec.engines.manifest import TOKENS_VERSION, Manifest
from nestvec.engines.qdrant import objects
from nestvec.engines.qdrant.columns import Layout
from nestvec.engines.qdrant.indexing import check_quantization
from nestvec.engines.qdrant.shards import (
    OpenShard,
    check_unlocked,
    closed_shard,
    create_shard,
    open_shard,
)
from nestvec.engines.qdrant.table import PointTable
from nestvec.engines.tables import DocumentTables, Record
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.files.atomic import check_replaceable, put_in_place, replace_files, replace_folder
from nestvec.models.adapter_file import ADAPTER

RECORD = "nestvec.json"
SCHEME = "qdrant-edge"
_MODIFIED = "Restore the folder from a backup, or rebuild the index."


class EdgeTables(DocumentTables):
    """The folder of one index, and the folders that are built next to it."""

    def __init__(self, path: Path, shown: str, quantization: str) -> None:
        """Name the folder of an index.

        Args:
            path: The folder.
            shown: The URL.
            quantization: The quantization that the URL requests; empty without one.
        """
        self._path, self.shown, self.name = path, shown, path.name
        self._quantization = quantization
        self._shards: list[OpenShard] = []

    @classmethod
    def connect(cls, url: str) -> Self:
        """Read the path of a URL: ``qdrant-edge://notes/index?quantization=int8``.

        No file is opened or locked.

        Raises:
            InvalidArgument: If the URL has no path, or has an unknown parameter.
            MissingExtra: If Qdrant Edge is not installed.
        """
        path, _, query = url.partition("://")[2].partition("?")
        if not Path(path).name or "#" in path:
            problem = f"{url} names no folder."
            raise InvalidArgument(f"{problem} Write {SCHEME}://PATH, without # in PATH.")
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := parameters.keys() - {"quantization"}:
            problem = f"the parameter {min(unknown)!r:.40} of the URL is unknown."
            raise InvalidArgument(f"{problem} Use quantization, or remove the parameter.")
        objects.library()
        chosen = parameters.get("quantization", "")
        return cls(Path(path), url, check_quantization(chosen) if parameters else "")

    def read(self, name: str) -> Record | None:
        """Return the record of an index; None if there is no index of this name."""
        folder = self._folder(name)
        file = folder / RECORD
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            manifest, source = json.dumps(values["manifest"]), dict(values["source"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DataError(file, f"cannot be read ({error.strerror}).") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedFile(file, f"cannot be read ({error!r}). {_MODIFIED}") from error
        adapter = None
        with suppress(FileNotFoundError):
            adapter = (folder / ADAPTER).read_bytes()
        return Record(
            Manifest.from_json(manifest, file, oldest=TOKENS_VERSION), name, adapter, source
        )

    def write(self, name: str, record: Record) -> None:
        """Write the record of an index; an existing record is replaced."""
        _write(self._folder(name), record)

    def create(self, name: str, record: Record) -> None:
        """Create the folder of an empty index; the folder appears when it is complete.

        Raises:
            DataError: If the folder has other content, or cannot be written.
        """
        manifest = record.manifest
        check_replaceable(self._path, marker=RECORD)
        layout = Layout(manifest.model.full_dim, manifest.stored)
        with replace_folder(self._folder(name), marker=RECORD) as folder:
            create_shard(folder, layout.config({}, {}))
            _write(folder, record)

    def open(self, record: Record) -> PointTable:
        """Open the shard of an index.

        Raises:
            IndexLocked: If another process has opened it, or the index that it will replace.
        """
        if record.table != self.name:  # found now, and not after all documents are encoded
            check_unlocked(self._path)
        shard = open_shard(self._folder(record.table))
        self._shards.append(shard)
        chosen = self._quantization
        return PointTable(shard, record.manifest, self.shown, chosen)

    def drop(self, name: str) -> None:
        """Delete the folder of an index; without an index, do nothing.

        Raises:
            IndexLocked: If another process has opened the index.
        """
        folder = self._folder(name)
        if not (folder / RECORD).exists():
            return
        with closed_shard(folder):
            (folder / RECORD).unlink()
            shutil.rmtree(folder, ignore_errors=True)

    def replace(self, name: str, by: str) -> None:
        """Move a folder to the place of another folder, which is deleted.

        Raises:
            IndexLocked: If another process has opened one of them.
        """
        new, former = self._folder(by), self._folder(name)
        with closed_shard(new):
            if former.exists():
                check_replaceable(former, marker=RECORD)
                with closed_shard(former):
                    put_in_place(new, former, marker=RECORD)
            else:
                put_in_place(new, former, marker=RECORD)

    def close(self) -> None:
        """Close the shards that this object opened."""
        shards, self._shards = self._shards, []
        for shard in shards:
            shard.release()

    def _folder(self, name: str) -> Path:
        return self._path if name == self.name else self._path.with_name(f".{name}")


def _write(folder: Path, record: Record) -> None:
    files = [folder / RECORD] if record.adapter is None else [folder / ADAPTER, folder / RECORD]
    with replace_files(*files) as temporaries:
        if record.adapter is not None:
            temporaries[0].write_bytes(record.adapter)
        values = {"manifest": record.manifest.to_json(), "source": dict(record.source)}
        temporaries[-1].write_text(json.dumps(values, indent=1), encoding="utf-8")
