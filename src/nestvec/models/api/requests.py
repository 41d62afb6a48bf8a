"""Send several requests at a time, and return each answer when it arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import chain, islice
from typing import TypeVar

CONCURRENCY = 4
"""Number of requests at a time."""
_Answer = TypeVar("_Answer")
_Send = Callable[[list[int], threading.Event], _Answer]


def send_all(groups: Iterator[list[int]], send: _Send[_Answer]) -> Iterator[_Answer]:
    """Yield the answer of each request when it arrives, in any order.

    After an error or Ctrl-C, no further request is sent. Answers that are under way are still
    yielded, because they are paid for; then the error is raised.

    Args:
        groups: The rows of the texts of each request; read when a request can be sent.
        send: Sends a request; it ends early when its event is set.

    Raises:
        BaseException: The first error of ``send``, or KeyboardInterrupt.
    """
    stop = threading.Event()
    first, second = next(groups, None), next(groups, None)
    if first is None:
        return
    if second is None:
        yield send(first, stop)
        return
    groups = chain((first, second), groups)
    failure: BaseException | None = None
    running: set[Future[_Answer]] = set()
    with ThreadPoolExecutor(CONCURRENCY, "nestvec-api") as threads:
        try:
            while True:
                free = 0 if stop.is_set() else CONCURRENCY - len(running)
                running |= {threads.submit(send, rows, stop) for rows in islice(groups, free)}
                if not running:
                    break
                done, failure = _wait(running, failure)
                running -= done
                yield from (each.result() for each in done if each.exception() is None)
                if failure is not None:
                    stop.set()
        finally:
            stop.set()  # the caller may stop to read
    if failure is not None:
        raise failure


def _wait(
    running: set[Future[_Answer]], failure: BaseException | None
) -> tuple[set[Future[_Answer]], BaseException | None]:
    """Wait for answers; return them, and the first failure so far.

    The first Ctrl-C is a failure like the others. A second one is raised.
    """
    try:
        done = wait(running, return_when=FIRST_COMPLETED).done
    except KeyboardInterrupt as error:
        if failure is not None:
            raise
        return set(), error
    failures = (found for each in done if (found := each.exception()) is not None)
    return done, failure or next(failures, None)
