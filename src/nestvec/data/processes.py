"""Map a function over items in processes of their own, which end when this one is interrupted.

A terminal sends Ctrl-C to every process of a command. The workers ignore it and are ended from
here, so that only the caller speaks. Where no process can be started is for the caller to handle.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_processes(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int
) -> Generator[_Result, None, None]:
    """Yield the result of each item, in their order.

    Close the generator if it is not read to its end: that ends the processes.

    Args:
        function: A module's own, as it is sent by name.
        items: What to call it with.
        workers: Number of processes.

    Raises:
        OSError: If no process can be started.
        BrokenProcessPool: If one ended before its work.
    """
    others = active_children()
    # Spawned, not forked: the caller may have threads (NumPy's, PyTorch's).
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
        with interrupts_held():
            futures = [pool.submit(function, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            # Leaving the block would wait for work that has begun. Nothing is cancelled: the
            # pool cannot bear that in the moment when it finds its processes gone.
            for process in active_children():
                if process not in others:
                    process.terminate()
            raise


def _begin() -> None:
    gc.disable()  # it would search each syntax tree for cycles in vain
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended.

    Processes that are started in here inherit this, so that none is interrupted half begun.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
