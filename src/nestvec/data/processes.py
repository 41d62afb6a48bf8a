"""Map a function over items in worker processes that end when this process is interrupted.

A terminal sends Ctrl-C to every process of a command. The workers ignore it, and the caller
terminates them, so that only the caller prints a message.

``concurrent.futures`` is not used because its workers share a pipe. If a worker is terminated
while it writes a result, the other workers wait forever. Here each worker has its own pipe.
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
    """Yield the result of each item, in order.

    Close the generator to end the processes if it is not read to its end.

    Args:
        function: A module-level function, because it is sent by name. Its errors are raised here.
        items: Arguments of the calls.
        workers: Number of processes.

    Raises:
        OSError: If no process can be started.
        ChildProcessError: If a process ended before it returned its result.
    """
    processes: list[BaseProcess] = []
    try:
        with block_interrupts():
            ends = [_start(function, processes) for _ in range(min(workers, len(items)))]
        yield from _in_order(_results(ends, items))
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _start(function: Callable[[_Item], _Result], processes: list[BaseProcess]) -> Connection:
    # Spawn, do not fork: the caller may have threads (NumPy's, PyTorch's).
    context = get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=_work, args=(function, child), daemon=True)
    process.start()
    processes.append(process)
    child.close()  # so that the parent's end closes when the process ends
    return parent


def _work(function: Callable[[_Item], _Result], connection: Connection) -> None:
    gc.disable()  # syntax trees have no cycles
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the caller has ended
        while True:
            item = connection.recv()
            connection.send(_try(function, item))


def _try(function: Callable[[_Item], _Result], item: _Item) -> tuple[_Result | None, Any]:
    try:
        return function(item), None
    except Exception as error:
        return None, error


def _results(ends: Sequence[Connection], items: Sequence[_Item]) -> Iterator[tuple[int, Any]]:
    """Yield each result with the number of its item, in order of arrival."""
    waiting = iter(enumerate(items))
    busy: dict[Connection, int] = {}

    def send_next(end: Connection) -> None:
        for number, item in waiting:
            end.send(item)
            busy[end] = number
            return

    for end in ends:
        send_next(end)
    while busy:
        ready: list[Any] = wait(list(busy))
        for end in ready:
            result, error = _receive(end)
            if error is not None:
                raise error
            number = busy.pop(end)
            send_next(end)
            yield number, result


def _receive(end: Connection) -> tuple[Any, Exception | None]:
    try:
        answer: tuple[Any, Exception | None] = end.recv()
    except EOFError:
        raise ChildProcessError("A worker process ended before it returned a result.") from None
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
def block_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until the block has ended.

    Processes that start inside the block inherit the delay and are not interrupted while starting.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
