"""Simulate a power cut: synced data remains, and any part of other data may remain.

While a test runs, calls of ``os.fsync`` and commits of SQLite are recorded. The content of a file
is durable from its last sync on, and its name from the last sync of its folder. Commits of SQLite
with ``synchronous=FULL`` are assumed to be durable. Every file has a hard link in another folder,
so that a removed file can be restored.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nestvec.engines.embedded.database import Database

_PAGE = 4096
_SYNCED_BY_SQLITE = ("commit", "vacuum", "pragma wal_checkpoint", "pragma journal_mode")


class Power:
    """Records the syncs in a folder, and writes the files that a power cut may leave."""

    def __init__(self, folder: Path, links: Path, cut: Callable[[], None]) -> None:
        """Prepare to watch an empty folder.

        Args:
            folder: The folder, watched with its subfolders.
            links: Another folder on the same disk, for hard links.
            cut: Called whenever the power may be cut: before and after each sync.
        """
        self.folder, self._links, self._cut = folder, links, cut
        self._contents: dict[int, bytes] = {}  # durable content of each file, by inode
        self._names: dict[int, dict[str, int]] = {}  # durable names of each folder, by inode
        self._folders: set[int] = set()
        self._cutting = False

    def watch(self, patch: Any) -> None:
        """Record syncs from now on, until the patch is undone."""
        sync, execute, close = os.fsync, Database.execute, Database.close

        def recorded_sync(descriptor: int) -> None:
            self._cut_here()
            sync(descriptor)
            if not self._cutting:
                self._record(Path(f"/proc/self/fd/{descriptor}").readlink())
                self._cut_here()

        def recorded_execute(database: Database, statement: str, values: Any = ()) -> list[Any]:
            rows = execute(database, statement, values)
            if statement.startswith(_SYNCED_BY_SQLITE) and not self._cutting:
                self._record_sqlite(database.path)
                self._cut_here()
            return rows

        def recorded_close(database: Database) -> None:
            close(database)
            if not self._cutting:
                self._record_sqlite(database.path)
                self._cut_here()

        patch.setattr(os, "fsync", recorded_sync)
        patch.setattr(Database, "execute", recorded_execute)
        patch.setattr(Database, "close", recorded_close)

    def write_remains(self, target: Path, choose: random.Random | None = None) -> None:
        """Write the files that a power cut may leave now.

        Args:
            target: A folder that does not exist yet.
            choose: Chooses the data that remains of all data that is not durable; None for no data.
        """
        self._link(self.folder)
        self._write(self.folder.stat().st_ino, self.folder, target, choose)

    def _write(self, of: int, now: Path | None, target: Path, choose: random.Random | None) -> None:
        target.mkdir()
        durable = self._names.get(of, {})
        current = _names(now) if now is not None and now.exists() else {}
        for name in sorted({*durable, *current}):
            options = [each.get(name) for each in (durable, current)]
            inode = options[0] if choose is None else choose.choice(options)
            if inode is None:
                continue
            if inode in self._folders:
                inside = now / name if now is not None and current.get(name) == inode else None
                self._write(inode, inside, target / name, choose)
            else:
                (target / name).write_bytes(self._content(inode, choose))

    def _content(self, inode: int, choose: random.Random | None) -> bytes:
        durable = self._contents.get(inode, b"")
        if choose is None:
            return durable
        now = (self._links / str(inode)).read_bytes()
        longest = max(len(durable), len(now))
        size = choose.choice((len(durable), len(now), choose.randint(0, longest)))
        pages = range(0, longest, _PAGE)
        size = max(size, min(len(durable), len(now)))  # the engine truncates no durable data
        mixed = (choose.choice((durable, now))[at : at + _PAGE].ljust(_PAGE, b"\0") for at in pages)
        return b"".join(mixed)[:size]

    def _cut_here(self) -> None:
        """Cut the power here, unless the code runs within a cut."""
        if not self._cutting:
            self._cutting = True
            try:
                self._cut()
            finally:
                self._cutting = False

    def _record(self, path: Path) -> None:
        self._link(self.folder)
        if path.is_dir():
            self._names[path.stat().st_ino] = _names(path)
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def _record_sqlite(self, database: Path) -> None:
        """Record that the database, its log and their names are durable."""
        self._link(self.folder)
        names = self._names.setdefault(database.parent.stat().st_ino, {})
        now = _names(database.parent)
        for name in (database.name, f"{database.name}-wal"):
            names.pop(name, None)
            if name in now:
                names[name] = now[name]
                self._contents[now[name]] = (self._links / str(now[name])).read_bytes()

    def _link(self, folder: Path) -> None:
        """Add a hard link of every file, so that its inode is not used for another file."""
        self._folders.add(folder.stat().st_ino)
        for path in folder.iterdir():
            if path.is_dir():
                self._link(path)
            elif not (link := self._links / str(path.stat().st_ino)).exists():
                link.hardlink_to(path)


def _names(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}
