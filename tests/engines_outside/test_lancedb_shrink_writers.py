"""``nestvec shrink`` on a Lance table that other processes write to and search."""

import pytest
from lance_shrink_table import (
    check_prefixes,
    check_rows,
    create_table,
    request,
    state,
    url,
    use_small_tables,
    vectors,
    writing,
)

from nestvec.errors import DataError, IndexLocked
from nestvec.operate.shrink.lancedb import session
from nestvec.operate.shrink.lancedb.searching import search_table
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.table import catch_up, finish_shrink, shrink, undo_shrink

N = 3_000


def test_no_row_of_two_writers_is_lost_or_doubled(tmp_path, monkeypatch):
    use_small_tables(monkeypatch)
    table, _ = create_table(tmp_path, N)
    before = state(table)
    with writing(tmp_path, 1) as one, writing(tmp_path, 2) as two:
        outcome = shrink(url(tmp_path), request())
        assert outcome.state == "switched"
        assert outcome.overlap > 0.9
        for _ in range(3):
            catch_up(url(tmp_path))
            assert search_table(url(tmp_path), vectors(5, seed=3), 10).ids[0] != []
    check_rows(table, [one, two], N)
    for report in (one, two):
        assert report["changes"] > 5
        assert report["searches"] == report["changes"]
    # All rows of the writers are found, also those that are not filled yet.
    for key, number in [*one["rows"].items()][:20]:
        assert search_table(url(tmp_path), vectors(1, seed=number)[0], 1).ids == [[key]]
    catch_up(url(tmp_path))
    check_prefixes(table)
    finish_shrink(url(tmp_path))
    with writing(tmp_path, 3) as three:
        undo_shrink(url(tmp_path))
    check_rows(table, [one, two, three], N)
    assert state(table) == before


def test_retries_are_bounded_if_others_always_commit_first(tmp_path, monkeypatch):
    create_table(tmp_path, 1_000)
    monkeypatch.setattr(session, "ATTEMPT_S", 0.1)
    calls = []

    def conflicting(_table):
        calls.append(1)
        raise RuntimeError("lance error: Retryable commit conflict for version 8: preempted")

    with (
        LanceSession.open(url(tmp_path), lock=False) as opened,
        pytest.raises(
            DataError, match=r"other programs update or delete rows of docs too often.*Pause"
        ),
    ):
        opened.change(conflicting)
    assert len(calls) == session.ATTEMPTS


def test_two_shrinks_of_a_table_exclude_each_other(tmp_path, monkeypatch):
    create_table(tmp_path, 1_000)
    monkeypatch.setattr(session, "LOCK_WAIT_S", 0.1)
    with (
        LanceSession.open(url(tmp_path), lock=True),
        pytest.raises(IndexLocked, match="another process shrinks table docs"),
    ):
        shrink(url(tmp_path), request())
