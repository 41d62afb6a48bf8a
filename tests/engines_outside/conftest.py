"""Real servers for the tests of one engine, in a network namespace without other interfaces.

These tests run in the environment of their engine: see `make test-engines`. Without the packages of
the engine they fail.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from loopback import leave_network

from word_model import WORDS, save_word_model

leave_network()  # before any thread and any server starts


def program(name):
    """Return the path of a program of this environment."""
    path = Path(sys.executable).parent / name
    assert path.exists(), f"{path} is missing: run `make test-engines`"
    return str(path)


@contextmanager
def started(command, log, **environment):
    """Run a server in its own process group, and end the whole group."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_ports(count):
    """Return ports that are free, and whose gRPC ports (plus 10,000) are valid."""
    sockets = [socket.socket() for _ in range(count)]
    ports, number = [], 20_000
    for each in sockets:
        while True:
            number += 1
            try:
                each.bind(("127.0.0.1", number))
                break
            except OSError:
                continue
        ports.append(number)
    for each in sockets:
        each.close()
    return ports


def wait_until(ready, seconds, log):
    """Wait until a function returns true; fail with the end of the log of the server."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            pytest.fail(f"not ready after {seconds} s\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.3)


@pytest.fixture(scope="session")
def word_model(tmp_path_factory):
    """The folder of a static model of 32 dims."""
    return save_word_model(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory):
    """400 short documents as a JSONL file."""
    file = tmp_path_factory.mktemp("texts") / "corpus.jsonl"
    rng = np.random.default_rng(1)
    rows = ({"_id": f"d{n}", "text": " ".join(rng.choice(WORDS[1:], 8))} for n in range(400))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
