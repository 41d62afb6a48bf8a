"""Listen and answer until told to end; what was taken by then is finished."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from nestvec.errors import InvalidArgument

_KEEP_ALIVE_S = 75
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Take the port.

    Raises:
        InvalidArgument: If it is taken, or there is no such address here.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":  # elsewhere this would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise InvalidArgument(_why(error, host, port)) from error
    return listening


def _why(error: OSError | OverflowError, host: str, port: int) -> str:
    if isinstance(error, OverflowError):
        return f"--port {port} is not within 0 and 65535"
    if error.errno == errno.EADDRINUSE:
        problem = f"port {port} of {host} is taken: end what listens there, or name another"
        return f"{problem} with --port"
    return f"cannot listen on {host}, port {port} ({error.strerror})"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT and SIGTERM, and do not raise them again afterwards: that was all."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(app: FastAPI, listening: socket.socket, *, patience_s: float) -> None:
    """Answer requests until SIGINT or SIGTERM.

    Args:
        app: What answers.
        listening: Where requests come in.
        patience_s: How long requests that were taken may still run at the end.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(patience_s)),
    )
    _Server(config).run(sockets=[listening])
