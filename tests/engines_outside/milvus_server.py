"""A real Milvus server (standalone, 2.3.5) from a PyPI package. It must run in a network namespace.

The package can start one server in a process, so the server is started by a process of its own:
``python milvus_server.py FOLDER``. Shorter intervals than the defaults make the tests faster.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

START_S, ATTEMPTS = 60, 3
SETTINGS = {
    "  timeTickInterval: 200": "  timeTickInterval: 50",
    "  checkInterval: 1000": "  checkChannelInterval: 200\n  checkSegmentInterval: 200\n"
    "  checkIndexInterval: 500\n  leaderViewUpdateInterval: 1\n  updateNextTargetInterval: 1",
    "  distPullInterval: 500": "  distPullInterval: 200",
}


class MilvusServer:
    """A server with an empty database, on a free port of the namespace."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="nestvec-milvus-"))
        self.log = self.folder / "server.log"
        self.process, self.port = None, None

    @property
    def url(self):
        return f"milvus://127.0.0.1:{self.port}"

    def start(self):
        """Start the server; Milvus 2.3.5 sometimes crashes at its start, so up to three times."""
        for _ in range(ATTEMPTS):
            command = [sys.executable, __file__, str(self.folder / "data")]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            line = self.process.stdout.readline()  # "" if the server ended
            if line.strip().isdigit():
                self.port = int(line)
                return self
            self.kill()
        raise AssertionError(self.log.read_text(errors="replace")[-3000:])

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        self.kill()

    def kill(self):
        """End the server at once, as a crash does."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        self.process.stdout.close()
        self.process = None

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def main(folder):
    """Run a server in the foreground, and print its port when it is ready."""
    from milvus import MilvusServer as Package
    from milvus import MilvusServerConfig

    class Config(MilvusServerConfig):
        def try_bind_port(self, port):  # also just after a server was killed
            bound = socket.socket()
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind(("127.0.0.1", port))
                bound.listen()
            except OSError:
                bound.close()
                return None
            return bound

    config = Config(data_dir=folder)
    for default, faster in SETTINGS.items():
        assert default in config.template_text, default
        config.template_text = config.template_text.replace(default, faster)
    server = Package(config, wait_for_started=False)
    server.start()
    end = time.monotonic() + START_S
    while not ready(config.get("proxy_port")):
        if server.server_proc.poll() is not None or time.monotonic() > end:
            server.stop()
            sys.exit(1)
        time.sleep(0.2)
    sys.stdout.write(f"{config.get('proxy_port')}\n")
    sys.stdout.flush()
    sys.stdin.read()  # until the process of the tests ends
    server.stop()


def ready(port):
    """Return whether a server answers a request that needs all of its parts."""
    from pymilvus import MilvusClient, MilvusException

    try:
        client = MilvusClient(f"http://127.0.0.1:{port}", timeout=2)
        client.list_collections(timeout=2)
        client.close()
    except MilvusException:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
