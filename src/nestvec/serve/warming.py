"""Build the codes for the sliders of the page when the page is first opened.

The first search with a width and a precision waits until its codes are built: tens of milliseconds
per ten thousand documents. For small indexes, all codes are built in advance. For larger indexes,
this would use too much memory and processor time.
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
    """Builds codes once, in its own thread."""

    def __init__(self, served: Served, settings: Settings) -> None:
        """Store the served index; ``start`` begins the work."""
        self._served, self._settings = served, settings
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it was started before."""
        with self._lock:
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._build, name="nestvec-warming")
                self._thread.start()

    def close(self) -> None:
        """Stop after the current point."""
        with self._lock:
            self._ending.set()
        self.join()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def points(self) -> Sequence[OperatingPoint]:
        """Return the points to build, or no points if their codes exceed the limit."""
        index, settings = self._served.index, self._settings
        if index is None or not settings.allow_any_point or not index.capabilities.any_point:
            return ()
        each = [(dim, name) for dim in self._served.searched_dims for name in _PRECISIONS]
        size = len(index) * sum(code_bytes(*one) for one in each)
        if size > settings.limits.warm_bytes:
            return ()
        return [OperatingPoint.single(*one) for one in sorted(each, key=lambda one: one[0])]

    def _build(self) -> None:
        try:
            self._build_all()
        except Exception as error:  # a search with this point fails again and reports the error
            _logger.warning("codes for the page were not built: %s", type(error).__name__)

    def _build_all(self) -> None:
        points, index = self.points(), self._served.index
        if not points or index is None:
            return
        query = np.ones((1, self._served.info.full_dim), dtype=np.float32)
        with one_thread():
            for point in points:
                start = time.perf_counter()
                index.search(query, 1, point=point)
                # Pause for as long as the search took, to leave processor time to requests.
                if self._ending.wait(time.perf_counter() - start):
                    return
