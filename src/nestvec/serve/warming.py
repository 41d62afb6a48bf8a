"""Make the codes that the page's sliders reach, once somebody opens the page.

A search that is the first to name a width and a precision waits until its codes are made: tens of
milliseconds for each ten thousand documents. On an index that is small enough they are made before
they are asked for; on a larger one, that would take memory and processors from everybody else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import numpy as np

from nestvec.codec.quantizer import code_bytes
from nestvec.codec.threads import one_thread
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from nestvec.types import OperatingPoint, Precision

_PRECISIONS: tuple[Precision, ...] = ("binary", "int2", "int4", "int8", "float16")
_logger = logging.getLogger(__name__)


class Warming:
    """Makes codes in a thread of its own, once."""

    def __init__(self, served: Served, settings: Settings) -> None:
        """Know what is served; nothing begins before ``start``."""
        self._served, self._settings = served, settings
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if nobody has yet and there is something to make."""
        with self._lock:
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._make, name="nestvec-warming")
                self._thread.start()

    def close(self) -> None:
        """End after what is being made."""
        with self._lock:
            self._ending.set()
        self.join()

    def join(self) -> None:
        """Wait until nothing is being made any more."""
        if self._thread is not None:
            self._thread.join()

    def points(self) -> Sequence[OperatingPoint]:
        """List what there is to make: all of it, or nothing where it would be too much."""
        index, settings = self._served.index, self._settings
        if index is None or not settings.allow_any_point:
            return ()
        each = [(dim, name) for dim in self._served.searched_dims for name in _PRECISIONS]
        size = len(index) * sum(code_bytes(*one) for one in each)
        if size > settings.limits.warm_bytes:
            return ()
        return [OperatingPoint.single(*one) for one in sorted(each, key=lambda one: one[0])]

    def _make(self) -> None:
        try:
            self._make_all()
        except Exception as error:  # it fails again, and is told, when it is asked for
            _logger.warning("codes for the page were not made: %s", type(error).__name__)

    def _make_all(self) -> None:
        points, index = self.points(), self._served.index
        if not points or index is None:
            return
        query = np.ones((1, self._served.info.full_dim), dtype=np.float32)
        with one_thread():
            for point in points:
                start = time.perf_counter()
                index.search(query, 1, point=point)
                # That took the processors: as long again they are left to others.
                if self._ending.wait(time.perf_counter() - start):
                    return
