"""Short searches run on as many threads as there are cores, and waiting ones are answered together.

``FakeSearch`` records the calls and can pause them; the engine's own searches are real.
"""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from kills import add, new_index
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.shared_searches import SHORT, SharedSearches
from nestvec.types import Hits
from together import batch

WAIT = 30  # seconds; a test that hangs fails after this time


def until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def queries(*numbers):
    return np.array(numbers, np.float32)[:, None]


class FakeSearch:
    """Returns each query's number as id and score. A negative number fails the call."""

    def __init__(self):
        self.calls, self.running, self.most = [], 0, 0
        self.go_on, self.lock = threading.Event(), threading.Lock()
        self.go_on.set()
        self.snapshot = SimpleNamespace(hits=lambda found: found)

    def search(self, embeddings, k, selection=None):
        numbers = embeddings[:, 0].tolist()
        with self.lock:
            self.calls.append(numbers)
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go_on.wait(WAIT)
        with self.lock:
            self.running -= 1
        if min(numbers) < 0:
            raise ZeroDivisionError
        return Hits([[str(each)] * k for each in numbers], [[each] * k for each in numbers])


@pytest.fixture
def pool():
    with ThreadPoolExecutor(40) as pool:
        yield pool


@pytest.fixture
def fake():
    return FakeSearch()


class Started:
    """Searches that were started one after another while no thread could search."""

    def __init__(self, shared, fake, pool):
        self.shared, self.fake, self.pool, self.futures = shared, fake, pool, []
        shared.search(fake, queries(999), 1)  # the first search does not wait
        fake.go_on.clear()
        self.busy = [
            pool.submit(shared.search, fake, queries(1000 + number), 1)
            for number in range(shared._free)
        ]
        until(lambda: fake.running == len(self.busy))

    def start(self, numbers, k=1, selection=None, search=None):
        waiting = len(self.shared._waiting)
        search = search or self.fake
        future = self.pool.submit(self.shared.search, search, queries(*numbers), k, selection)
        until(lambda: len(self.shared._waiting) == waiting + 1)
        self.futures.append(future)

    def go_on(self):
        self.fake.go_on.set()
        return [future.result(WAIT) for future in self.futures]

    @property
    def calls(self):
        return self.fake.calls[1 + len(self.busy) :]


class TestSharedSearches:
    def test_limits_threads(self, fake, pool):
        shared = SharedSearches(3)
        started = Started(shared, fake, pool)
        for number in range(30):
            started.start([number], k=1 + number)  # another k cannot join
        started.go_on()
        assert fake.most == 3
        assert shared._free == 3

    def test_answers_waiting_searches_together(self, fake, pool):
        started = Started(SharedSearches(1), fake, pool)
        for number in range(5):
            started.start([number, number + 0.5], k=2)
        hits = started.go_on()
        assert started.calls == [[0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]]
        assert [each.scores for each in hits] == [[[n, n], [n + 0.5] * 2] for n in range(5)]
        assert hits[1].ids == [["1.0", "1.0"], ["1.5", "1.5"]]

    def test_answers_a_limited_number_together_in_order(self, fake, pool):
        started = Started(SharedSearches(1), fake, pool)
        for number in range(20):
            started.start([number])
        assert [each.scores for each in started.go_on()] == [[[n]] for n in range(20)]
        assert started.calls == [list(range(16)), list(range(16, 20))]

    def test_others_do_not_join(self, fake, pool):
        other, selection = FakeSearch(), object()
        shared = SharedSearches(1)
        shared.search(other, queries(0), 1)
        started = Started(shared, fake, pool)
        started.start([0])
        started.start([1], k=2)
        started.start([2], selection=selection)
        started.start([3], search=other)
        started.start([4])
        started.start([5], selection=selection)
        started.go_on()
        assert started.calls == [[0, 4], [1], [2], [5]]
        assert other.calls == [[0], [3]]

    def test_long_search_does_not_wait(self, fake, pool):
        shared = SharedSearches(1)
        started = Started(shared, fake, pool)
        long = pool.submit(shared.search, fake, queries(*range(SHORT + 1)), 1)
        until(lambda: fake.running == 2)
        started.go_on()
        assert len(long.result(WAIT).ids) == SHORT + 1

    def test_first_search_of_a_point_does_not_wait(self, fake, pool):
        """It may compute codes for minutes, so it must not keep others from searching."""
        shared, new = SharedSearches(1), FakeSearch()
        shared.search(fake, queries(0), 1)
        new.go_on.clear()
        firsts = [pool.submit(shared.search, new, queries(number), 1) for number in range(3)]
        until(lambda: new.running == 3)
        assert shared.search(fake, queries(1), 1).scores == [[1]]
        new.go_on.set()
        assert [first.result(WAIT).scores for first in firsts] == [[[0]], [[1]], [[2]]]
        assert shared._free == 1

    @pytest.mark.parametrize("numbers", [(1, -1, 2), (-1, 1, 2)])
    def test_failure_of_one_fails_only_this_one(self, fake, pool, numbers):
        shared = SharedSearches(1)
        started = Started(shared, fake, pool)
        for number in numbers:
            started.start([number])
        fake.go_on.set()
        for number, future in zip(numbers, started.futures, strict=True):
            if number < 0:
                with pytest.raises(ZeroDivisionError):
                    future.result(WAIT)
            else:
                assert future.result(WAIT).scores == [[number]]
        assert shared._free == 1

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signal")
    @pytest.mark.parametrize("leads", [False, True])
    def test_interrupt_while_waiting_loses_no_turn(self, fake, leads):
        """The interrupt comes before or after the turn is passed to the waiting thread."""
        shared = SharedSearches(1)
        shared.search(fake, queries(0), 1)
        shared._free = 0  # another thread searches

        def interrupt(*_):
            assert len(shared._waiting) == 1
            if leads:
                shared._pass_on()
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                shared.search(fake, queries(1), 1)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert not shared._waiting
        if not leads:
            shared._pass_on()
        assert shared._free == 1


class TestSharedSearchesOfAnIndex:
    @pytest.fixture
    def index(self, tmp_path):
        index = EmbeddedEngine(new_index(tmp_path / "index"))
        add(index, batch(0))
        index.build_codes()
        yield index
        index.close()

    def test_many_threads_find_what_one_finds(self, index, pool):
        some = np.random.default_rng(0).standard_normal((200, 1, 32)).astype(np.float32)
        expected = [index.search(each, 5 + number % 2) for number, each in enumerate(some)]
        index._shared = SharedSearches(1)
        found = pool.map(lambda n: index.search(some[n], 5 + n % 2), range(len(some)))
        assert list(found) == expected

    def test_exact_search_does_not_wait(self, index, pool):
        index.search(np.ones((1, 32), np.float32), 5)
        index._shared._free = 0
        found = pool.submit(index.search, np.ones((1, 32), np.float32), 5, exact=True)
        assert len(found.result(WAIT).ids[0]) == 5
