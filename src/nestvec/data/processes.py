"""Map a function over items in processes of their own, which end when this one is interrupted.

A terminal sends Ctrl-C to every process of a command. The workers ignore it and are ended from
here, so that only the caller speaks. Where no process can be started is for the caller to handle.

``concurrent.futures`` cannot be ended in the middle: a worker that dies as it writes its result
leaves the rest of the pool to wait for the other half. Here each worker has a pipe of its own.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_processes(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int
) -> Generator[_Result, None, None]:
    """Yield the result of each item, in their order.

    Close the generator if it is not read to its end: that ends the processes.

    Args:
        function: A module's own, as it is sent by name. What it raises is raised here.
        items: What to call it with.
        workers: Number of processes.

    Raises:
        OSError: If no process can be started; ChildProcessError if one ended before its work.
    """
    processes: list[BaseProcess] = []
    try:
        with interrupts_held():
            ends = [_start(function, processes) for _ in range(min(workers, len(items)))]
        yield from _in_order(_results(ends, items))
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _start(function: Callable[[_Item], _Result], processes: list[BaseProcess]) -> Connection:
    # Spawned, not forked: the caller may have threads (NumPy's, PyTorch's).
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, theirs), daemon=True)
    process.start()
    processes.append(process)
    theirs.close()  # so that ours ends when the process does
    return ours


def _work(function: Callable[[_Item], _Result], connection: Connection) -> None:
    gc.disable()  # it would search each syntax tree for cycles in vain
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the caller is gone
        while True:
            item = connection.recv()
            connection.send(_try(function, item))


def _try(function: Callable[[_Item], _Result], item: _Item) -> tuple[_Result | None, Any]:
    try:
        return function(item), None
    except Exception as error:
        return None, error


def _results(ends: Sequence[Connection], items: Sequence[_Item]) -> Iterator[tuple[int, Any]]:
    """Yield each result with its item's number, in the order in which they arrive."""
    waiting = iter(enumerate(items))
    busy: dict[Connection, int] = {}

    def give_next(end: Connection) -> None:
        for number, item in waiting:
            end.send(item)
            busy[end] = number
            return

    for end in ends:
        give_next(end)
    while busy:
        ready: list[Any] = wait(list(busy))
        for end in ready:
            result, error = _receive(end)
            if error is not None:
                raise error
            number = busy.pop(end)
            give_next(end)
            yield number, result


def _receive(end: Connection) -> tuple[Any, Exception | None]:
    try:
        answer: tuple[Any, Exception | None] = end.recv()
    except EOFError:
        raise ChildProcessError("a process ended before its work") from None
    return answer


def _in_order(numbered: Iterator[tuple[int, Any]]) -> Iterator[Any]:
    early: dict[int, Any] = {}
    wanted = 0
    for number, result in numbered:
        early[number] = result
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1


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
