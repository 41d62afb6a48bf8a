"""The queue of the encoder: its limit and the delay after which to retry."""

from contextlib import ExitStack

import pytest

from nestvec.serve import batching as module
from nestvec.serve.batching import Waiting
from nestvec.serve.errors import ApiError


def test_an_eighth_is_kept_for_small_requests():
    waiting = Waiting(800)
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(waiting.admitted(100))
        with pytest.raises(ApiError):
            stack.enter_context(waiting.admitted(17))
        for _ in range(100):
            stack.enter_context(waiting.admitted(1))
        assert waiting.n == 800
        with pytest.raises(ApiError):
            stack.enter_context(waiting.admitted(1))
    assert waiting.n == 0


def test_failed_requests_do_not_count_as_waiting():
    waiting = Waiting(10)
    with pytest.raises(ZeroDivisionError), waiting.admitted(5):
        _ = 1 / 0
    assert waiting.n == 0


@pytest.mark.parametrize(("done_in_a_second", "seconds"), [(1000, 1), (50, 10), (1, 60)])
def test_the_delay_is_what_the_latest_rate_makes_of_half_the_queue(
    monkeypatch, done_in_a_second, seconds
):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    waiting = Waiting(1000)
    with waiting.admitted(done_in_a_second):
        now[0] = 1.0
    with waiting.admitted(1000), pytest.raises(ApiError) as refusal, waiting.admitted(1):
        pass
    assert refusal.value.headers == {"retry-after": str(seconds)}
