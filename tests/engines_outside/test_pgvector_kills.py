"""Kill PostgreSQL, and the process that loads documents, during a load.

``NESTVEC_KILLS`` is the number of kills of each: 3 by default, 25 for ``make test-kills``. The
server writes with fsync.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loading import check, create
from postgres import PostgresServer

from conftest import free_ports

KILLS = int(os.environ.get("NESTVEC_KILLS", "3"))
LOADER = Path(__file__).with_name("loading.py")
LAST = 100_000  # more batches than any run loads


@pytest.fixture
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port, fsync=True)
    try:
        yield running.start()
    finally:
        running.remove()


class Loader:
    """A process that loads batches, and the batches that it has acknowledged."""

    def __init__(self, url, folder):
        self._url, self._file = url, folder / "acknowledged"
        self._errors = folder / "errors"
        self._file.touch()
        self.process = None

    def start(self):
        first = len(self.acknowledged())
        with self._file.open("ab") as out, self._errors.open("ab") as errors:
            command = [sys.executable, str(LOADER), self._url, str(first), str(LAST)]
            self.process = subprocess.Popen(command, stdout=out, stderr=errors)

    def acknowledged(self):
        return {int(line) for line in self._file.read_text().split("\n")[:-1]}

    def wait_for(self, more):
        """Wait until the process has acknowledged this number of further batches."""
        wanted, end = len(self.acknowledged()) + more, time.monotonic() + 120
        while len(self.acknowledged()) < wanted:
            assert self.process.poll() is None, self._errors.read_text()[-1000:]
            assert time.monotonic() < end, "no batch is acknowledged any more"
            time.sleep(0.005)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def test_a_killed_server_loses_no_acknowledged_document(server, tmp_path):
    url = f"{server.url}?table=killed"
    create(url)
    loader, random_ = Loader(url, tmp_path), random.Random(0)
    loader.start()
    for _ in range(KILLS):
        loader.wait_for(random_.randint(1, 10))
        time.sleep(random_.random() * 0.02)
        server.kill()
        server.start()  # the process connects again and continues
    loader.wait_for(5)
    loader.kill()
    found = check(url, loader.acknowledged())
    assert found >= set(range(KILLS + 5))


def test_a_killed_process_loses_no_acknowledged_document(server, tmp_path):
    url = f"{server.url}?table=killed"
    create(url)
    loader, random_ = Loader(url, tmp_path), random.Random(1)
    for _ in range(KILLS):
        loader.start()
        loader.wait_for(random_.randint(1, 10))
        time.sleep(random_.random() * 0.02)
        loader.kill()
        check(url, loader.acknowledged())
