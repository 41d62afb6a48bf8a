"""Load documents into an index in LanceDB in a process that tests kill.

The process reports the number of each acknowledged batch, and continues where the index ends.
"""

import multiprocessing
import os
import time

from lance_corpus import VECTORS, made_document

from nestvec.errors import InvalidArgument

BATCH = 10


def ids_of(batch):
    return [f"b{batch:04}-{number}" for number in range(BATCH)]


def documents_of(batch):
    return {id_: made_document(batch * BATCH + n) for n, id_ in enumerate(ids_of(batch))}


def vectors_of(batch):
    return VECTORS[batch * BATCH : (batch + 1) * BATCH]


def _processes():
    context = multiprocessing.get_context("forkserver")
    # lancedb itself must not be loaded before a fork: it starts threads.
    context.set_forkserver_preload(["lance_corpus", "lance_namespace", "pyarrow"])
    return context


class Loader:
    """A process that adds or upserts batches of documents."""

    def __init__(self, place, first, last, *, replace=False):
        context = _processes()
        self._reports, sender = context.Pipe(duplex=False)
        # The server of forks has the environment of its own start.
        arguments = (place, first, last, replace, sender, dict(os.environ))
        self.process = context.Process(target=_load, args=arguments, daemon=True)
        self.process.start()
        sender.close()

    def wait_until_ready(self):
        assert self._reports.recv() == "ready"

    def kill_after(self, seconds):
        time.sleep(seconds)
        self.process.kill()

    def acknowledged(self):
        """Wait until the process ends, and return the batches that it has reported."""
        found = []
        try:
            while True:
                found.append(self._reports.recv())
        except EOFError:
            self.process.join()
            return [batch for batch in found if batch != "ready"]


def _load(place, first, last, replace, sender, environment):
    os.environ.update(environment)
    from nestvec.engines.lancedb import table
    from nestvec.engines.lancedb.engine import LanceEngine

    table.MOST_FRAGMENTS = 3  # so that merges of parts are interrupted, too
    engine = LanceEngine.open(place)
    present = set(engine.ids())
    sender.send("ready")
    for batch in range(first, last):
        if replace or not present.issuperset(ids_of(batch)):
            engine.add(documents_of(batch), vectors_of(batch), replace=replace)
        sender.send(batch)
    engine.close()


def race(place, rounds):
    """Let two processes add the same new id at the same time, each with an id of its own.

    Returns the rounds in which a process has added its documents, and those in which it was refused
    because an id exists.
    """
    context = _processes()
    barrier, results = context.Barrier(2), context.Queue()
    runners = [
        context.Process(
            target=_race, args=(place, number, rounds, barrier, results, dict(os.environ))
        )
        for number in range(2)
    ]
    for runner in runners:
        runner.start()
    found = [results.get(timeout=120) for _ in range(2 * rounds)]
    for runner in runners:
        runner.join()
    return tuple([number for number, was in found if was is wanted] for wanted in (True, False))


def _race(place, own, rounds, barrier, results, environment):
    os.environ.update(environment)
    from nestvec.engines.lancedb.engine import LanceEngine

    engine = LanceEngine.open(place)
    for number in range(rounds):
        documents = {
            f"same{number}": made_document(own),
            f"of{own}-{number}": made_document(2),
        }
        barrier.wait(timeout=60)
        try:
            engine.add(documents, VECTORS[:2])
        except InvalidArgument:
            results.put((number, False))
        else:
            results.put((number, True))
    engine.close()
