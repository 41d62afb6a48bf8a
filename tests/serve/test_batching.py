"""The queue before the encoder: what is encoded together, what waits, what fails alone."""

import asyncio
import threading
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from fakes import NestedHashEncoder
from made_serving import NAME, HeldEncoder
from nestvec.serve.app import create_app
from nestvec.serve.batching import Batcher, BatchSize
from nestvec.serve.embedder import CachedVector, VectorCache
from nestvec.serve.inputs import Input
from nestvec.serve.served import Served
from nestvec.serve.settings import Limits, Settings


def inputs(*texts):
    return [Input("document", text, (), len(text)) for text in texts]


class Recording:
    """Encodes a text as its length; fails on some; notes what came together."""

    def __init__(self):
        self.batches = []

    def __call__(self, batch):
        self.batches.append([each.text for each in batch])
        if any("bad" in each.text for each in batch):
            raise RuntimeError("bad")
        return np.array([[len(each.text)] * 2 for each in batch], dtype=np.float32)


@contextmanager
def batcher(encode, **options):
    made = Batcher(encode, full_dim=2, **options)
    try:
        yield made
    finally:
        made.close()


def test_each_text_gets_its_own_vector_in_its_own_place():
    encode = Recording()
    texts = ["a" * n for n in (5, 1, 9, 3, 7)]

    async def asked(queue):
        return await asyncio.gather(queue.encode(inputs(*texts)), queue.encode(inputs("bb")))

    with batcher(encode, size=BatchSize(items=2, length=1000)) as queue:
        first, second = asyncio.run(asked(queue))
    assert first[:, 0].tolist() == [5, 1, 9, 3, 7]
    assert second[:, 0].tolist() == [2]


def test_a_request_without_inputs_is_answered_at_once():
    encode = Recording()
    with batcher(encode) as queue:
        vectors = asyncio.run(asyncio.wait_for(queue.encode([]), timeout=30))
    assert vectors.shape == (0, 2)
    assert encode.batches == []


def test_waiting_inputs_are_sorted_by_length_and_batched_by_padded_length():
    model, texts = HeldEncoder(), ["a" * n for n in (4, 1, 3, 2, 50)]

    async def asked():
        async with client_of(Served(NAME, model)) as client:
            first = asyncio.create_task(client.post("/v1/embeddings", json=body("first")))
            await asyncio.to_thread(model.begun.wait, 10)
            rest = asyncio.create_task(client.post("/v1/embeddings", json=body(texts)))
            await asyncio.sleep(0.05)
            model.go.set()
            return await first, await rest

    first, rest = asyncio.run(asked())
    assert (first.status_code, rest.status_code) == (200, 200)
    assert [[len(text) for text in batch] for batch in model.batches] == [[5], [1, 2, 3, 4, 50]]


def test_a_batch_is_not_wider_than_it_may_be():
    encode = Recording()

    async def asked(queue):
        await queue.encode(inputs("a" * 50, "a", "aa", "aaa", "aaaa"))

    with batcher(encode, size=BatchSize(items=3, length=60)) as queue:
        asyncio.run(asked(queue))
    lengths = [[len(text) for text in batch] for batch in encode.batches]
    assert lengths == [[1, 2, 3], [4], [50]]


def test_a_batch_that_fails_fails_its_own_requests_alone():
    async def asked(queue):
        requests = [queue.encode(inputs("bad", "a" * 40)), queue.encode(inputs("a" * 20))]
        return await asyncio.gather(*requests, return_exceptions=True)

    encode = Recording()
    with batcher(encode, size=BatchSize(items=1, length=100)) as queue:
        failed, fine = asyncio.run(asked(queue))
        assert isinstance(failed, RuntimeError)
        assert fine[:, 0].tolist() == [20]
        assert asyncio.run(queue.encode(inputs("later")))[:, 0].tolist() == [5]
    assert ["a" * 40] not in encode.batches  # nobody waits for what is left of a request


def body(input_):
    return {"model": NAME, "input": input_}


def client_of(served, **limits):
    app = create_app(served, Settings(limits=Limits(**limits)))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def test_a_full_queue_says_when_to_come_back_and_loses_nothing():
    model = HeldEncoder()

    async def asked():
        async with client_of(Served(NAME, model), queued_items=8) as client:
            requests = [
                asyncio.create_task(client.post("/v1/embeddings", json=body([f"{n} a", f"{n} b"])))
                for n in range(10)
            ]
            await asyncio.to_thread(model.begun.wait, 10)
            await asyncio.sleep(0.05)
            model.go.set()
            return await asyncio.gather(*requests)

    answers = asyncio.run(asked())
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] * 4 + [429] * 6
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.json()["error"]["code"] == "queue_full"
    encoded = sorted(text for batch in model.batches for text in batch)
    assert len(encoded) == 8


def test_a_request_larger_than_the_queue_is_accepted_when_nothing_waits():
    async def asked():
        async with client_of(Served(NAME, NestedHashEncoder()), queued_items=2) as client:
            return await client.post("/v1/embeddings", json=body(["a", "b", "c", "d"]))

    assert asyncio.run(asked()).status_code == 200


def test_a_closing_queue_finishes_accepted_requests_and_accepts_no_more():
    model = HeldEncoder()

    def encode(batch):
        return model.encode([each.text for each in batch], kind="document")[:, :2]

    queue = Batcher(encode, full_dim=2)

    async def asked():
        taken = [asyncio.create_task(queue.encode(inputs(f"text {n}"))) for n in range(3)]
        await asyncio.to_thread(model.begun.wait, 10)
        closing = asyncio.create_task(asyncio.to_thread(queue.close))
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError, match="closed"):
            await queue.encode(inputs("too late"))
        model.go.set()
        await closing
        return await asyncio.gather(*taken)

    assert len(asyncio.run(asked())) == 3


def test_inputs_of_cancelled_requests_are_not_encoded():
    model = HeldEncoder()

    def encode(batch):
        return model.encode([each.text for each in batch], kind="document")[:, :2]

    async def asked(queue):
        first = asyncio.create_task(queue.encode(inputs("first")))
        await asyncio.to_thread(model.begun.wait, 10)
        given_up = asyncio.create_task(queue.encode(inputs("given up")))
        await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.sleep(0.01)
        model.go.set()
        await first

    with batcher(encode) as queue:
        asyncio.run(asked(queue))
    assert model.batches == [["first"]]


def test_a_small_request_does_not_wait_for_a_large_one():
    model = HeldEncoder()

    def encode(batch):
        return model.encode([each.text for each in batch], kind="document")[:, :2]

    order = []

    async def asked(queue):
        async def noted(name, texts):
            await queue.encode(inputs(*texts))
            order.append(name)

        large = asyncio.create_task(noted("large", [f"l{n}" for n in range(100)]))
        await asyncio.to_thread(model.begun.wait, 10)
        small = asyncio.create_task(noted("small", ["s"]))
        await asyncio.sleep(0.02)
        model.go.set()
        await asyncio.gather(large, small)

    with batcher(encode, size=BatchSize(items=4, length=1000)) as queue:
        asyncio.run(asked(queue))
    assert order == ["small", "large"]
    assert sorted(text for batch in model.batches for text in batch) == sorted(
        ["s", *(f"l{n}" for n in range(100))]
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_many_requests_on_several_threads_each_get_their_own(threads):
    def encode(batch):
        if any(each.text == "bad" for each in batch):
            raise RuntimeError("bad")
        return np.array([[float(each.text)] * 2 for each in batch], dtype=np.float32)

    async def asked(queue):
        requests = [[str(n * 100 + i) for i in range(n % 37 + 1)] for n in range(120)]
        tasks = [asyncio.create_task(queue.encode(inputs(*texts))) for texts in requests]
        spoilt = asyncio.create_task(queue.encode(inputs("bad")))
        for task in tasks[::10]:
            task.cancel()
        answers = await asyncio.gather(*tasks, spoilt, return_exceptions=True)
        return requests, answers

    # A batch of one: what is bad fails nobody else.
    with batcher(encode, threads=threads, size=BatchSize(items=1, length=10)) as queue:
        requests, (*answers, spoilt) = asyncio.run(asked(queue))
    assert isinstance(spoilt, RuntimeError)
    for number, (texts, answer) in enumerate(zip(requests, answers, strict=True)):
        if number % 10 == 0:
            assert isinstance(answer, asyncio.CancelledError)
        else:
            assert answer[:, 0].tolist() == [float(text) for text in texts]


def test_waiting_inputs_are_shared_among_the_threads():
    model = HeldEncoder()

    def encode(batch):
        return model.encode([each.text for each in batch], kind="document")[:, :2]

    async def asked(queue):
        first = [asyncio.create_task(queue.encode(inputs(f"first {n}"))) for n in range(2)]
        await asyncio.sleep(0.05)
        rest = asyncio.create_task(queue.encode(inputs(*(f"text {n}" for n in range(8)))))
        await asyncio.sleep(0.02)
        model.go.set()
        await asyncio.gather(*first, rest)

    with batcher(encode, threads=2) as queue:
        asyncio.run(asked(queue))
    assert sorted(map(len, model.batches)) == [1, 1, 4, 4]


def known(dim=4, tokens=1):
    return CachedVector(np.ones(dim, dtype=np.float32), tokens)


def test_the_least_used_vectors_go_first():
    cache = VectorCache(3 * (400 + 4 + 16))
    for text in "abc":
        cache.put("query", text, known())
    assert cache.get("query", "a") is not None
    cache.put("query", "d", known())
    assert [cache.get("query", text) is not None for text in "abcd"] == [True, False, True, True]
    assert len(cache) == 3
    assert cache.bytes <= 3 * 420


def test_the_cache_separates_kinds_and_skips_large_entries():
    cache = VectorCache(1000)
    cache.put("query", "a", known(tokens=1))
    assert cache.get("document", "a") is None
    cache.put("query", "b", known(dim=1000))
    assert cache.get("query", "b") is None
    assert (cache.hits, cache.misses, len(cache)) == (0, 2, 1)


def test_inputs_can_be_encoded_in_the_calling_thread_and_are_counted():
    threads, counted = [], []

    def encode(inputs):
        threads.append(threading.current_thread())
        return np.ones((len(inputs), 4), dtype=np.float32)

    batcher = Batcher(encode, full_dim=4, on_batch=lambda n, _: counted.append(n))
    vectors = batcher.encode_now([Input("query", "a", [1], 1), Input("query", "b", [2], 1)])
    batcher.close()
    assert vectors.shape == (2, 4)
    assert (threads, counted) == ([threading.current_thread()], [2])
