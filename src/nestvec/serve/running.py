"""Run a server until SIGINT or SIGTERM, and then finish the accepted requests."""

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
    """Open a listening socket.

    Raises:
        InvalidArgument: If the port is in use or the address does not exist on this machine.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":  # on Windows, this option would allow two servers on one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise InvalidArgument(_why(error, host, port)) from error
    return listening


def _why(error: OSError | OverflowError, host: str, port: int) -> str:
    if isinstance(error, OverflowError):
        return f"--port {port} is out of range. Choose a value from 0 to 65535."
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use. Choose another port with --port."
    return f"cannot listen on {host}, port {port} ({error.strerror})"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM. Unlike uvicorn, do not raise the signal again at the end."""
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
    """Serve requests until SIGINT or SIGTERM.

    Args:
        app: The application.
        listening: The listening socket.
        patience_s: Maximum time in seconds for accepted requests to finish at the end.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # no route uses the address of the client
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(patience_s)),
    )
    _Server(config).run(sockets=[listening])
