"""Shadow reads: figures by hand, privacy, and a second index that is slow, full or failing."""

import json
import random
import threading
import time

import pytest

from fakes import NestedHashEncoder, fake_info
from made_serving import NAME
from nestvec.errors import DataError, InvalidArgument
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.operate.compared_rankings import compare_rankings
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.shadow import Shadow, ShadowSettings, load_shadow
from nestvec.serve.shadow_figures import ShadowReport
from nestvec.types import OperatingPoint
from serving_client import Client, error_of, running
from ten_documents import CORPUS, WORDS

QUERIES = [f"{word} own{number}" for number, word in enumerate(WORDS)]
CHEAP = OperatingPoint.parse("2:sign")
ALL = ShadowSettings(share=1)


class HeldIndex:
    """An index that answers when it is let, or fails."""

    def __init__(self, index, error=None):
        self._index, self._error = index, error
        self.go, self.begun, self.closed = (threading.Event() for _ in range(3))

    def __getattr__(self, name):
        return getattr(self._index, name)

    def explain(self, *query, **options):
        self.begun.set()
        if self._error is not None:
            raise self._error
        assert self.go.wait(30)
        return self._index.explain(*query, **options)

    def close(self):
        self.closed.set()
        self._index.close()


@pytest.fixture
def place(served):
    return served.index.place


@pytest.fixture
def shadowed(served, place):
    """Return a function that starts a client with a shadow; all shadows are closed at the end."""
    started = []

    def start(settings=ALL, index=None):
        shadow = load_shadow(place, served, settings) if index is None else index
        started.append(shadow)
        return Client(create_app(served, shadow=shadow)), shadow

    yield start
    for shadow in started:
        shadow.close()


def search(client, query, **options):
    found = client.post("/v1/search", {"query": query, "k": 5, **options})
    assert found.status_code == 200, found.text
    return [hit["id"] for hit in found.json()["hits"]]


def wait_for(shadow, n):
    """Wait until n searches were compared or have failed."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        report = shadow.report()
        if report.shadowed + report.failed >= n:
            return report
        time.sleep(0.005)
    raise AssertionError(shadow.report())


def test_equal_indexes_have_equal_results(shadowed, served):
    client, shadow = shadowed()
    for query in QUERIES:
        assert search(client, query) == served.index.search([query], 5).ids[0]
    report = wait_for(shadow, 10)
    assert (report.requests, report.shadowed, report.dropped, report.failed) == (10, 10, 0, 0)
    assert (report.overlap, report.identical, report.worst) == (1, 1, ())
    assert 0 < report.old_ms["p50"] <= report.old_ms["p95"]
    assert 0 < report.new_ms["p50"] <= report.new_ms["p95"]


def test_figures_are_those_of_both_searches(shadowed, served):
    client, shadow = shadowed(ShadowSettings(share=1, point=CHEAP))
    old = [search(client, query) for query in QUERIES]
    report = wait_for(shadow, 10)
    new = [served.index.search([query], 5, point=CHEAP).ids[0] for query in QUERIES]
    changes = compare_rankings(old, new, 5)
    overlaps = sorted(each.overlap for each in changes)
    assert report.overlap == pytest.approx(sum(overlaps) / 10)
    assert report.overlap < 1
    assert report.identical == sum(each.identical for each in changes) / 10
    assert [each.overlap for each in report.worst] == [each for each in overlaps if each < 1]


def test_the_answer_is_that_of_the_first_index(shadowed, served):
    alone = [search(Client(create_app(served)), query) for query in QUERIES]
    client, _ = shadowed(ShadowSettings(share=1, point=CHEAP))
    assert [search(client, query) for query in QUERIES] == alone


def test_a_share_is_drawn_for_each_request(shadowed):
    client, shadow = shadowed(ShadowSettings(share=0.3, seed=7))
    for query in QUERIES * 2:
        search(client, query)
    draw = random.Random(7)
    expected = sum(draw.random() < 0.3 for _ in range(20))
    assert 0 < expected < 20
    report = wait_for(shadow, expected)
    assert (report.requests, report.shadowed) == (20, expected)


def test_vectors_and_filters_are_passed_on(shadowed, served):
    client, shadow = shadowed(ShadowSettings(share=1, texts=True, point=CHEAP))
    vector = served.model.encode(["read own0"], kind="query")[0].tolist()
    body = {"embedding": vector, "k": 3, "where": "n >= 4"}
    assert client.post("/v1/search", body).status_code == 200
    report = wait_for(shadow, 1)
    (entry,) = report.worst
    expected = served.index.search([vector], 3, where="n >= 4", point=CHEAP).ids[0]
    assert (list(entry.new), entry.where, entry.text) == (expected, "n >= 4", None)


def test_a_slow_shadow_delays_no_answer_and_drops_searches(served, place, shadowed):
    held = HeldIndex(Index.open(place, served.model))
    client, shadow = shadowed(index=Shadow(served.index, held, ShadowSettings(share=1, queued=2)))
    search(client, QUERIES[0])
    assert held.begun.wait(10)
    start = time.monotonic()
    for query in QUERIES[1:]:
        search(client, query)
    assert time.monotonic() - start < 5
    assert (shadow.report().dropped, shadow.report().shadowed) == (7, 0)  # 1 runs, 2 wait
    held.go.set()
    report = wait_for(shadow, 3)
    assert (report.requests, report.shadowed, report.dropped) == (10, 3, 7)


def test_closing_the_server_waits_for_no_shadow_search(served, place):
    held = HeldIndex(Index.open(place, served.model))
    shadow = Shadow(served.index, held, ALL)
    with running(create_app(served, shadow=shadow)) as address:
        import httpx

        for query in QUERIES[:3]:
            answer = httpx.post(f"{address}/v1/search", json={"query": query})
            assert answer.status_code == 200
        assert held.begun.wait(10)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert not held.closed.is_set()
    held.go.set()
    assert held.closed.wait(10)  # by the thread, when its search has ended
    assert shadow.report().shadowed == 0


def test_an_idle_shadow_is_closed_at_once(served, place):
    held = HeldIndex(Index.open(place, served.model))
    shadow = Shadow(served.index, held, ALL)
    shadow.close()
    assert held.closed.is_set()


def test_a_failing_shadow_fails_no_answer(served, place, shadowed, caplog):
    held = HeldIndex(Index.open(place, served.model), DataError("secret place", "is gone"))
    client, shadow = shadowed(index=Shadow(served.index, held, ALL))
    for query in QUERIES[:4]:
        assert search(client, query) == served.index.search([query], 5).ids[0]
    report = wait_for(shadow, 4)
    assert (report.failed, report.shadowed, report.failures) == (4, 0, {"DataError": 4})
    assert (report.overlap, report.old_ms) == (None, {})
    records = [each for each in caplog.records if each.name == "nestvec.serve.shadow"]
    messages = [each.getMessage() for each in records]
    assert messages == ["shadow search failed: DataError"]  # once, without its text
    metrics = client.get("/metrics").text
    assert "nestvec_shadow_failed 4.0" in metrics
    assert "nestvec_shadow_overlap NaN" in metrics


def test_texts_and_ids_are_kept_only_on_request(shadowed):
    for texts in (False, True):
        client, shadow = shadowed(ShadowSettings(share=1, point=CHEAP, texts=texts))
        for query in QUERIES:
            search(client, f"{query} private", where="n >= 0")
        wait_for(shadow, 10)
        answer = client.get("/v1/shadow")
        assert answer.json()["worst"]
        shown = [word in answer.text for word in ("private", "n >= 0", '"d1"')]
        assert shown == [texts] * 3
        assert "private" not in client.get("/metrics").text


def test_the_route_and_the_metrics_have_the_same_figures(shadowed, place):
    client, shadow = shadowed(ShadowSettings(share=1, point=CHEAP))
    for query in QUERIES:
        search(client, query)
    report = wait_for(shadow, 10)
    answer = client.get("/v1/shadow").json()
    head = {name: answer.pop(name) for name in ("object", "place", "point", "share")}
    assert head == {"object": "shadow", "place": place, "point": "2:sign", "share": 1}
    assert ShadowReport.from_json(answer) == report
    metrics = dict(
        line.split(" ") for line in client.get("/metrics").text.splitlines() if line[0] != "#"
    )
    assert float(metrics["nestvec_shadow_requests"]) == 10
    assert float(metrics["nestvec_shadow_overlap"]) == pytest.approx(report.overlap)
    p95 = float(metrics["nestvec_shadow_new_p95_seconds"])
    assert p95 == pytest.approx(report.new_ms["p95"] / 1000)


def test_a_report_with_texts_survives_json(shadowed):
    client, shadow = shadowed(ShadowSettings(share=1, point=CHEAP, texts=True))
    for query in QUERIES:
        search(client, query)
    report = wait_for(shadow, 10)
    assert report.worst[0].text
    assert ShadowReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_searches_with_a_point_of_their_own_are_skipped(shadowed):
    client, shadow = shadowed()
    search(client, QUERIES[0], model=f"{NAME}:fast")
    search(client, QUERIES[0], point="32:int4")
    search(client, QUERIES[0], point=str(shadow.point))  # the default
    report = wait_for(shadow, 1)
    assert (report.requests, report.skipped, report.shadowed) == (3, 2, 1)


def test_an_index_of_another_model_encodes_texts_itself(served, tmp_path):
    other = NestedHashEncoder(fake_info(fingerprint="e" * 64))
    build_index(other, CORPUS, "64:float32", tmp_path / "other").close()
    index = Index.open(tmp_path / "other", other)
    shadow = Shadow(served.index, index, ALL)
    client = Client(create_app(served, shadow=shadow))
    before = len(other.calls)
    search(client, QUERIES[0])
    vector = served.model.encode([QUERIES[0]], kind="query")[0].tolist()
    client.post("/v1/search", {"embedding": vector})
    report = wait_for(shadow, 1)
    assert (report.requests, report.skipped, report.shadowed) == (2, 1, 1)
    assert other.calls[before:] == [("query", [QUERIES[0]])]
    shadow.close()


def test_documents_that_the_second_index_lacks_are_counted_apart(served, tmp_path):
    fewer = {id_: document for id_, document in CORPUS.items() if id_ not in ("d3", "d7")}
    point = str(served.index.point)
    build_index(served.model, fewer, point, tmp_path / "fewer").close()
    shadow = load_shadow(tmp_path / "fewer", served, ALL)
    client = Client(create_app(served, shadow=shadow))
    found = [search(client, query, k=1) for query in QUERIES]
    report = wait_for(shadow, 10)
    assert report.missing == sum(ids[0] in ("d3", "d7") for ids in found) > 0
    assert report.overlap == 1
    shadow.close()


def test_without_a_second_index_there_are_no_figures(client):
    answer = client.get("/v1/shadow")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "no_shadow")
    assert "nestvec_shadow" not in client.get("/metrics").text


def test_wrong_settings_are_refused(served, place, tmp_path):
    for share in (0, 1.5):
        with pytest.raises(InvalidArgument, match="shadow share"):
            ShadowSettings(share=share)
    with pytest.raises(InvalidArgument, match="queued=0"):
        ShadowSettings(queued=0)
    with pytest.raises(InvalidArgument, match="Serve an index"):
        load_shadow(place, Served("alone", NestedHashEncoder()), ALL)
    with pytest.raises(DataError):
        load_shadow(tmp_path / "nowhere", served, ALL)
    with pytest.raises(InvalidArgument, match="full_dim=64"):
        load_shadow(place, served, ShadowSettings(point=OperatingPoint.parse("128:int8")))
