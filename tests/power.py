"""What a power cut may leave of a folder: what was synced, and of the rest anything or nothing.

While a session runs, ``os.fsync`` and SQLite's commits are noted. A file's content is sure from
its last sync on, a name from the last sync of its folder. SQLite is taken at its word: what it has
committed with ``synchronous=FULL`` is on disk. Every file gets a second name in another folder, so
that one that was removed can come back.
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
    """Watches a folder, and makes what a cut would leave of it."""

    def __init__(self, folder: Path, kept: Path, cut: Callable[[], None]) -> None:
        """Watch a folder that is empty.

        Args:
            folder: Watched with all below it.
            kept: Another folder of the same disk.
            cut: Called whenever the power may be cut: before each sync and after it.
        """
        self.folder, self._kept, self._cut = folder, kept, cut
        self._contents: dict[int, bytes] = {}  # what is sure of each file
        self._names: dict[int, dict[str, int]] = {}  # and of each folder
        self._folders: set[int] = set()
        self._looking = False

    def watch(self, patch: Any) -> None:
        """Note syncs from now on, until the patch is undone."""
        sync, execute, close = os.fsync, Database.execute, Database.close

        def noted_sync(descriptor: int) -> None:
            self._look()
            sync(descriptor)
            if not self._looking:
                self._note(Path(f"/proc/self/fd/{descriptor}").readlink())
                self._look()

        def noted_execute(database: Database, statement: str, values: Any = ()) -> list[Any]:
            rows = execute(database, statement, values)
            if statement.startswith(_SYNCED_BY_SQLITE) and not self._looking:
                self._note_sqlite(database.path)
                self._look()
            return rows

        def noted_close(database: Database) -> None:
            close(database)
            if not self._looking:
                self._note_sqlite(database.path)
                self._look()

        patch.setattr(os, "fsync", noted_sync)
        patch.setattr(Database, "execute", noted_execute)
        patch.setattr(Database, "close", noted_close)

    def left(self, target: Path, choose: random.Random | None = None) -> None:
        """Write what a cut now would leave.

        Args:
            target: A folder that is not there yet.
            choose: Chooses what of all that is not sure is there; None leaves nothing of it.
        """
        self._keep(self.folder)
        self._leave(self.folder.stat().st_ino, self.folder, target, choose)

    def _leave(self, of: int, now: Path | None, target: Path, choose: random.Random | None) -> None:
        target.mkdir()
        sure = self._names.get(of, {})
        there = _names(now) if now is not None and now.exists() else {}
        for name in sorted({*sure, *there}):
            options = [each.get(name) for each in (sure, there)]
            inode = options[0] if choose is None else choose.choice(options)
            if inode is None:
                continue
            if inode in self._folders:
                inside = now / name if now is not None and there.get(name) == inode else None
                self._leave(inode, inside, target / name, choose)
            else:
                (target / name).write_bytes(self._content(inode, choose))

    def _content(self, inode: int, choose: random.Random | None) -> bytes:
        sure = self._contents.get(inode, b"")
        if choose is None:
            return sure
        now = (self._kept / str(inode)).read_bytes()
        size = choose.choice((len(sure), len(now), choose.randint(0, max(len(sure), len(now)))))
        pages = range(0, max(len(sure), len(now)), _PAGE)
        size = max(size, min(len(sure), len(now)))  # nothing of ours is cut below what it was
        mixed = (choose.choice((sure, now))[at : at + _PAGE].ljust(_PAGE, b"\0") for at in pages)
        return b"".join(mixed)[:size]

    def _look(self) -> None:
        """Cut the power here, unless this is what looks at a cut."""
        if not self._looking:
            self._looking = True
            try:
                self._cut()
            finally:
                self._looking = False

    def _note(self, path: Path) -> None:
        self._keep(self.folder)
        if path.is_dir():
            self._names[path.stat().st_ino] = _names(path)
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def _note_sqlite(self, database: Path) -> None:
        """Note that database and log are on disk, and their names with them."""
        self._keep(self.folder)
        names = self._names.setdefault(database.parent.stat().st_ino, {})
        now = _names(database.parent)
        for name in (database.name, f"{database.name}-wal"):
            names.pop(name, None)
            if name in now:
                names[name] = now[name]
                self._contents[now[name]] = (self._kept / str(now[name])).read_bytes()

    def _keep(self, folder: Path) -> None:
        """Have a second name of every file, so that its number is not given to another one."""
        self._folders.add(folder.stat().st_ino)
        for path in folder.iterdir():
            if path.is_dir():
                self._keep(path)
            elif not (link := self._kept / str(path.stat().st_ino)).exists():
                link.hardlink_to(path)


def _names(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}
