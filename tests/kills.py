"""Kill a process that changes an index, and check the index; used by tests and by the soak test.

The process reports each change before it starts and after it has returned. After the kill, all
changes that returned must be in the index, and the last one that started may be. A document, its
metadata and its vector are generated from one number, so that they can be checked.
"""

from __future__ import annotations

import linecache
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import nestvec.engines.embedded as package
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.manifest import Manifest
from nestvec.types import Document, ModelInfo, OperatingPoint

FULL_DIM = 32
MODEL = ModelInfo("models/ours", "f" * 64, FULL_DIM, (32, 16), "config.json", True)
POINTS = ("16:binary@64>32:float16", "16:int8@64>32:float16", "8:int4@64>16:int8@32>32:float16")
PACKAGE = str(Path(package.__file__).parent)
MAX_DOCUMENTS = 150  # in an index, before some are deleted

Contents = dict[str, int]
"""The number from which each document is generated, by id."""


@dataclass(frozen=True)
class Change:
    """A call that changes an index, or closes and opens it.

    Attributes:
        what: The name of the method, or ``reopen``.
        put: Documents that the call adds or replaces.
        removed: Ids that the call deletes.
        point: The operating point for ``use``.
    """

    what: str
    put: Mapping[str, int] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    point: str = ""

    def after(self, contents: Contents) -> Contents:
        """Return the contents after the change."""
        return {id_: n for id_, n in contents.items() if id_ not in self.removed} | self.put


def document(number: int) -> Document:
    return Document(f"text {number} 👋", f"title {number}", {"number": number, "odd": number % 2})


def vectors(numbers: Iterator[int] | Mapping[Any, int]) -> np.ndarray:
    each = numbers.values() if isinstance(numbers, Mapping) else numbers
    made = [np.random.default_rng(n).standard_normal(FULL_DIM) for n in each]
    return np.array(made, dtype=np.float32).reshape(-1, FULL_DIM)


def new_index(folder: Path, point: str = POINTS[0]) -> Path:
    create_folder(folder, Manifest(MODEL, "float16", OperatingPoint.parse(point)))
    return folder


def add(index: EmbeddedEngine, contents: Mapping[str, int], **options: Any) -> None:
    """Add documents to an index by their numbers."""
    index.add({id_: document(n) for id_, n in contents.items()}, vectors(contents), **options)


def perform(index: EmbeddedEngine, change: Change) -> EmbeddedEngine:
    """Make a change, and return the index, which is another object after ``reopen``."""
    if change.what in ("add", "upsert"):
        add(index, change.put, replace=change.what == "upsert")
    elif change.what == "delete":
        index.delete(change.removed)
    elif change.what == "use":
        index.use(OperatingPoint.parse(change.point))
    elif change.what == "reopen":
        index.close()
        return EmbeddedEngine(index.path)
    else:
        getattr(index, change.what)()
    return index


def some_change(choose: random.Random, contents: Contents) -> Change:
    """Choose a change that is valid for an index with these contents."""
    kinds = ["add", "add", "upsert", "upsert", "delete", "delete", "build_codes", "compact", "use"]
    what = "delete" if len(contents) > MAX_DOCUMENTS else choose.choice([*kinds, "reopen"])
    there = choose.sample(sorted(contents), min(len(contents), choose.randint(0, 60)))
    new = [f"{choose.getrandbits(32):08x}ü" for _ in range(choose.randint(1, 30))]
    if what == "delete":
        return Change(what, removed=(*there, "never was"))
    if what in ("add", "upsert"):
        ids = new if what == "add" else [*there[:20], *new]
        return Change(what, {id_: choose.getrandbits(32) for id_ in ids})
    return Change(what, point=choose.choice(POINTS))


def contents_of(index: EmbeddedEngine) -> Contents:
    """Check the documents and vectors of an index, and return its contents."""
    found = index.get(list(index.ids()))
    contents = {id_: int(each.metadata["number"]) for id_, each in found.items()}
    assert found == {id_: document(n) for id_, n in contents.items()}
    assert len(index) == len(contents)
    for exact in (True, False):
        if contents:
            hits = index.search(vectors(contents), 1, exact=exact)
            assert [ids[0] for ids in hits.ids] == list(contents)
    return contents


def checked_contents(folder: Path) -> Contents:
    """Open and verify an index, and return its contents."""
    index = EmbeddedEngine(folder, verify=True)
    try:
        return contents_of(index)
    finally:
        index.close()


def processes_of() -> Any:
    """Return a context that starts processes in milliseconds, with all modules imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faiss", "scipy", "nestvec.engines.embedded.engine"])
    return context


class Killer:
    """Runs processes that change one index, and kills them."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Create an empty index."""
        self.folder = new_index(folder)
        self.contents: Contents = {}
        self.changes = 0
        self._choose = random.Random(seed)
        self._context = processes_of()

    def kill_by_time(self, at_most_s: float = 0.3) -> None:
        """Kill a process from outside, at a random time."""
        self._run(self._choose.uniform(0, at_most_s), 0)

    def kill_by_line(self, at_most: int = 6_000) -> None:
        """Let a process kill itself at a random line of the engine's code."""
        self._run(60.0, self._choose.randint(1, at_most))

    def _run(self, seconds: float, lines: int) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        arguments = (self.folder, self.contents, self._choose.getrandbits(32), lines, sender)
        process = self._context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        sender.close()
        reports = list(_received(receiver, seconds))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the process ended by itself"
        reports += _received(receiver, 1.0)
        self._check(reports)

    def _check(self, reports: list[Change | None]) -> None:
        """Compare the contents with the reports: each change, then None when it returned."""
        before = after = self.contents
        for change in reports:
            if change is not None:
                after = change.after(before)
            else:
                before, self.changes = after, self.changes + 1
        found = checked_contents(self.folder)
        assert found in (before, after), (
            f"{reports[-2:]}: {len(found)} documents, not {len(before)} or {len(after)}"
        )
        self.contents = found


def _received(connection: Connection, seconds: float) -> Iterator[Change | None]:
    """Yield the reports of a process for a time, which starts with the first report."""
    end = time.monotonic() + 60
    begun = False
    while connection.poll(max(0.0, end - time.monotonic())):
        try:
            yield connection.recv()
        except EOFError:
            return
        if not begun:
            begun, end = True, time.monotonic() + seconds


def _work(folder: Path, contents: Contents, seed: int, lines: int, sender: Connection) -> None:
    """Change an index until the process is killed."""
    choose = random.Random(seed)
    index = EmbeddedEngine(folder)
    if lines:
        at_line(lines, lambda: os.kill(os.getpid(), signal.SIGKILL))
    while True:
        change = some_change(choose, contents)
        sender.send(change)
        index = perform(index, change)
        contents = change.after(contents)
        sender.send(None)


def at_line(number: int, act: Any) -> None:
    """Call a function before the n-th line of the engine's code that runs from now on.

    Lines that begin with ``with`` are not counted. They run again at the end of their block, where
    Python handles no signal before a lock is released.
    """
    left = number

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not line.lstrip().startswith("with "):
            left -= 1
            if left == 0:
                sys.settrace(None)
                act()
        return trace

    sys.settrace(trace)
