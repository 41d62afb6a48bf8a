"""Things that take long to make, made once, while whoever asks for another one does not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Thing = TypeVar("Thing")


class Once(Generic[Key, Thing]):
    """Things by key, each made by the thread that asks for it first; may be used by many."""

    def __init__(self, known: Mapping[Key, Thing]) -> None:
        """Take those that are made already."""
        self._lock = threading.Lock()
        self._things: dict[Key, Future[Thing]] = {}
        for key, thing in known.items():
            self._things[key] = Future()
            self._things[key].set_result(thing)

    @property
    def made(self) -> Mapping[Key, Thing]:
        """All that are made by now."""
        with self._lock:
            things = dict(self._things)
        return {key: future.result() for key, future in things.items() if future.done()}

    def get(self, key: Key, make: Callable[[], Thing]) -> Thing:
        """Return the thing of a key, made now if it is not yet, or waited for if it is being made.

        What ``make`` raises is raised to all who wait; the next one tries again.
        """
        with self._lock:
            future = self._things.get(key)
            if mine := future is None:
                future = self._things[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    del self._things[key]
                future.set_exception(error)
                raise
        return future.result()
