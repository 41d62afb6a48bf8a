"""Kill ``nestvec shrink`` and its server at any time: the same command then completes.

``NESTVEC_KILLS`` is the number of kills of each: 3 by default, 25 for ``make test-kills``.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from postgres import PostgresServer
from shrink_table import catalog, check_column, connect, create_table, search, vectors, writing

from conftest import free_ports

KILLS = int(os.environ.get("NESTVEC_KILLS", "3"))
PROCESS = Path(__file__).with_name("shrink_process.py")
STORY = ("shrink", "finish", "undo")
LONGEST_S = 120


@pytest.fixture(scope="module")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port, fsync=True)
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture
def database(server):
    with connect(server.url) as connection:
        create_table(connection, 2_000)
    return f"{server.url}?table=docs"


def start(url, step, *column, die_at=0):
    command = [sys.executable, str(PROCESS), url, step, *column]
    environment = os.environ | {"NESTVEC_DIE_AT": str(die_at)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def complete(url, step, *column):
    """Run a step to its end, as the user does who repeats the command."""
    process = start(url, step, *column)
    out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, out) == (0, "done\n"), err[-2_000:]


def begin_again(server, url):
    """Undo a shrink that was complete before it was killed, so that the next kill interrupts one.

    Return whether the shrink was interrupted.
    """
    with connect(server.url) as connection:
        if connection.execute("SELECT to_regclass('nestvec.shrinks')").fetchone() == (None,):
            return True
        (state,) = connection.execute("SELECT state FROM nestvec.shrinks").fetchone()
    if state == "switched":
        complete(url, "undo")
    return state != "switched"


def check_story(server, url, before, *column):
    """Complete the whole story from any state, and check the table after each step."""
    complete(url, "shrink", *column)
    with connect(server.url) as connection:
        if column:
            check_column(connection, "16:float16")
        state = connection.execute("SELECT state FROM nestvec.shrinks").fetchone()
        assert state == ("switched",)
        invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        assert connection.execute(invalid).fetchone() == (0,)
        assert search(connection, vectors(1)[0])[0] != []
    complete(url, "finish")
    complete(url, "undo")
    with connect(server.url) as connection:
        after = [row for row in catalog(connection) if row[:2] != ("function", "docs_search")]
    assert after == before


@pytest.mark.parametrize("column", [(), ("small",)])
def test_a_command_killed_at_a_random_statement_continues(server, database, column):
    choose = random.Random(len(column))
    with connect(server.url) as connection:
        before = catalog(connection)
    with writing(server.url):
        for step in STORY:
            for _ in range(KILLS):
                process = start(database, step, *column, die_at=choose.randint(12, 60))
                process.communicate(timeout=LONGEST_S)
            if step == "shrink":
                complete(database, step, *column)
            else:
                complete(database, step)
    with connect(server.url) as connection:
        after = [row for row in catalog(connection) if row[:2] != ("function", "docs_search")]
    assert after == before
    check_story(server, database, before, *column)


@pytest.mark.parametrize("column", [(), ("small",)])
def test_a_killed_command_is_undone(server, database, column):
    choose = random.Random(10 + len(column))
    with connect(server.url) as connection:
        before = catalog(connection)
    for _ in range(KILLS):
        process = start(database, "shrink", *column, die_at=choose.randint(25, 120))
        process.communicate(timeout=LONGEST_S)
        with connect(server.url) as connection:
            (recorded,) = connection.execute("SELECT to_regclass('nestvec.shrinks')").fetchone()
        if recorded is not None:
            complete(database, "undo")
        with connect(server.url) as connection:
            after = [row for row in catalog(connection) if row[:2] != ("function", "docs_search")]
        assert after == before


def test_a_command_killed_at_a_random_time_continues(server, database):
    choose = random.Random(2)
    with connect(server.url) as connection:
        before = catalog(connection)
    interrupted = 0
    with writing(server.url):
        for _ in range(KILLS):
            process = start(database, "shrink", "small")
            time.sleep(choose.uniform(0.4, 3.0))
            process.kill()
            process.communicate()
            interrupted += begin_again(server, database)
        complete(database, "shrink", "small")
    assert interrupted > 0
    check_story(server, database, before, "small")


def test_a_killed_server_loses_nothing(server, database):
    choose = random.Random(3)
    with connect(server.url) as connection:
        before = catalog(connection)
    for _ in range(KILLS):
        process = start(database, "shrink", "small")
        time.sleep(choose.uniform(0.4, 3.0))
        server.kill()
        _, err = process.communicate(timeout=LONGEST_S)
        server.start()
        if process.returncode:
            assert "DataError" in err.strip().splitlines()[-1]
        begin_again(server, database)
    check_story(server, database, before, "small")
