"""``nestvec shrink`` on a table of LanceDB: search by the record, catch up, finish, and undo."""

from datetime import timedelta

import numpy as np
import pytest
from lance_shrink_table import (
    DIM,
    check_prefixes,
    connect,
    contents,
    create_table,
    exact,
    expected,
    request,
    rows,
    state,
    unit,
    url,
    use_small_tables,
    vectors,
)
from lancedb.index import HnswSq, IvfFlat, IvfPq, IvfRq

from nestvec.errors import DataError
from nestvec.operate.shrink.lancedb.searching import open_shrunk_table, search_table
from nestvec.operate.shrink.table import (
    catch_up,
    finish_shrink,
    preview_shrink,
    shrink,
    undo_shrink,
)

QUERIES = vectors(20, seed=5)
COLUMN = "vec_16_float16"


@pytest.fixture
def small(monkeypatch):
    use_small_tables(monkeypatch)


def test_the_whole_story_leaves_the_table_as_it_was(tmp_path, small):
    table, values = create_table(tmp_path)
    before, old = state(table), contents(table)
    (index,) = table.list_indices()
    outcome = shrink(url(tmp_path), request())
    assert (outcome.state, outcome.former_bytes) == ("switched", index.size_bytes)
    assert outcome.overlap > 0.9
    assert outcome.nprobes > 1
    # The user's index and columns were not written again.
    still = next(each for each in table.list_indices() if each.name == index.name)
    assert (still.index_uuid, still.num_indexed_rows) == (index.index_uuid, len(values))
    check_prefixes(table)
    finished = finish_shrink(url(tmp_path))
    assert finished.freed_bytes == index.size_bytes
    assert [each.columns for each in table.list_indices()] == [[COLUMN]]
    found = search_table(url(tmp_path), QUERIES)
    shares = [
        len({*ids} & {*exact(values, q)}) / 10 for ids, q in zip(found.ids, QUERIES, strict=True)
    ]
    assert np.mean(shares) > 0.9
    assert undo_shrink(url(tmp_path)).state == "undone"
    assert state(table) == before
    assert contents(table) == old


def test_a_search_follows_the_record_and_agrees_with_numpy(tmp_path):
    _, values = create_table(tmp_path, index=False)
    options = {"metric": "cosine"}
    shrink(url(tmp_path), request(**options))
    found = search_table(url(tmp_path), QUERIES)
    assert found.ids == [expected(values, query) for query in QUERIES]
    for ids, scores, query in zip(found.ids, found.scores, QUERIES, strict=True):
        cosines = unit(values[[int(id_) for id_ in ids]]) @ unit(query)
        np.testing.assert_allclose(scores, cosines, atol=1e-5)
    german = [row for row in range(len(values)) if row % 10 == 0]
    filtered = search_table(url(tmp_path), QUERIES, where="lang = 'de'")
    assert filtered.ids == [expected(values, query, allowed=german) for query in QUERIES]


def test_before_the_switch_the_old_search_answers(tmp_path):
    table, values = create_table(tmp_path, index=False)
    with pytest.raises(
        DataError, match=r"overlap@10 is .* below --min-overlap 1\b.*Nothing was sw"
    ):
        shrink(url(tmp_path), request("2:float16@10>64:float32", min_overlap=1, metric="cosine"))
    table.create_index("vec", config=IvfFlat(distance_type="cosine", num_partitions=1))
    found = search_table(url(tmp_path), QUERIES)
    assert found.ids == [exact(values, query) for query in QUERIES]
    undo_shrink(url(tmp_path))
    assert table.schema.names == ["key", "lang", "vec"]


def test_added_rows_are_found_before_and_after_the_catch_up(tmp_path, small):
    table, _ = create_table(tmp_path)
    shrink(url(tmp_path), request())
    finish_shrink(url(tmp_path))
    added = vectors(50, seed=9)
    table.add(rows(range(90_000, 90_050), 3 * added))
    for query, row in zip(added, range(90_000, 90_050), strict=True):
        found = search_table(url(tmp_path), query, 1)
        assert (found.ids, found.scores[0][0]) == ([[str(row)]], pytest.approx(1, abs=1e-5))
    table.optimize()  # adds the rows to all indexes, also to that of the prefixes
    assert search_table(url(tmp_path), added[0], 1).ids == [["90000"]]
    assert search_table(url(tmp_path), added[0], 1, where="lang = 'en'").ids != [["90000"]]
    catch_up(url(tmp_path))
    check_prefixes(table)
    assert search_table(url(tmp_path), added[0], 1).ids == [["90000"]]


def test_an_open_table_follows_every_change(tmp_path):
    table, values = create_table(tmp_path)
    added = vectors(3, seed=9)
    with open_shrunk_table(url(tmp_path)) as opened:
        shrink(url(tmp_path), request())
        for row, query in enumerate(added, 80_000):
            table.add(rows([row], query[None]))
            assert opened.search(query, 1).ids == [[str(row)]]
        table.delete("key = 80001")
        assert opened.search(added[1], 1).ids != [["80001"]]
        undo_shrink(url(tmp_path))
        assert opened.search(added[2], 1).ids == [["80002"]]
        assert opened.search(values[4], 1).ids == [["4"]]


@pytest.mark.parametrize("compacted", [False, True])
def test_a_changed_vector_gets_another_prefix_by_the_catch_up(tmp_path, compacted):
    table, _ = create_table(tmp_path)
    shrink(url(tmp_path), request())
    changed = vectors(30, seed=11)
    merge = table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
    merge.execute(rows(range(500, 530), changed))
    table.update("key = 7", {"vec": changed[0].tolist()})
    if compacted:
        table.optimize()
    steps = []
    catch_up(url(tmp_path), on_step=steps.append)
    assert [each.detail for each in steps] == ["31 rows", "0 rows outdated"]
    check_prefixes(table)


def test_a_clean_up_of_old_versions_does_not_prevent_the_catch_up(tmp_path, small):
    table, _ = create_table(tmp_path)
    shrink(url(tmp_path), request())
    merge = table.merge_insert("key").when_matched_update_all()
    for first in (100, 200):
        merge.execute(rows(range(first, first + 40), vectors(40, seed=first)))
        if first == 100:
            catch_up(url(tmp_path))
    table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    steps = []
    outcome = catch_up(url(tmp_path), on_step=steps.append)
    assert steps[0].detail == f"{COLUMN} by {COLUMN}_r2"
    assert outcome.state == "switched"
    assert table.schema.names == ["key", "lang", "vec", f"{COLUMN}_r2"]
    check_prefixes(table, f"{COLUMN}_r2")
    undo_shrink(url(tmp_path))
    assert table.schema.names == ["key", "lang", "vec"]


def test_zero_vectors_and_missing_vectors(tmp_path):
    values = vectors(2_000)
    values[5] = 0
    values[6, :16] = 0
    table, _ = create_table(tmp_path, values=values, n=2_000)
    table.update("key = 8", values_sql={"vec": "NULL"})
    with pytest.raises(DataError, match=r"1 of 2,000 rows have no vector \(NULL\)"):
        shrink(url(tmp_path), request())
    outcome = shrink(url(tmp_path), request(skip_nulls=True))
    assert outcome.notes == ()
    assert search_table(url(tmp_path), values[6], 1).ids == [["6"]]  # its prefix has length 0
    assert "8" not in search_table(url(tmp_path), values[9], 2_000).ids[0]
    assert catch_up(url(tmp_path)).notes == ()


@pytest.mark.parametrize("metric", ["l2", "dot"])
def test_other_metrics_rank_unit_vectors_equally(tmp_path, metric):
    values = unit(vectors(2_000)).astype(np.float32)
    config = IvfFlat(distance_type=metric, num_partitions=8)
    create_table(tmp_path, n=2_000, values=values, config=config)
    shrink(url(tmp_path), request())
    query = unit(QUERIES[0]).astype(np.float32)
    found = search_table(url(tmp_path), query, 5)
    assert found.ids == [expected(values, query, 5)]
    products = values[[int(id_) for id_ in found.ids[0]]] @ query
    scores = products if metric == "dot" else 2 * products - 2
    np.testing.assert_allclose(found.scores[0], scores, atol=1e-5)


def test_float16_vectors_and_a_name_with_spaces(tmp_path):
    values = vectors(2_000).astype(np.float16)
    create_table(tmp_path, n=2_000, values=values, vector="my vec")
    place = url(tmp_path, "my%20vec")
    outcome = shrink(place, request("16:float32@100>64:float16", column="small one"))
    assert outcome.column_bytes == 2_000 * 16 * 4
    found = search_table(place, QUERIES)
    assert (
        np.mean([len({*a} & {*exact(values, q)}) for a, q in zip(found.ids, QUERIES, strict=True)])
        > 8
    )
    finish_shrink(place)
    undo_shrink(place)
    names = connect(tmp_path).open_table("docs").schema.names
    assert names == ["key", "lang", "my vec"]


@pytest.mark.parametrize(
    "config",
    [
        IvfPq(distance_type="cosine", num_partitions=9, num_sub_vectors=8),
        HnswSq(distance_type="cosine", num_partitions=2, m=12, ef_construction=90),
        IvfRq(distance_type="cosine", num_partitions=7),
    ],
)
def test_an_undo_rebuilds_the_index_with_its_parameters(tmp_path, config):
    table, _ = create_table(tmp_path, config=config)
    before, partitions = state(table), partitions_of(table)
    shrink(url(tmp_path), request())
    finish_shrink(url(tmp_path))
    assert table.list_indices() == []
    undo_shrink(url(tmp_path))
    assert state(table) == before
    assert partitions_of(table) == partitions == config.num_partitions


def partitions_of(table):
    search = table.search(np.ones(DIM, np.float32), vector_column_name="vec")
    search = search.distance_type("cosine").minimum_nprobes(999).maximum_nprobes(999).limit(1)
    words = search.analyze_plan().replace(",", " ").replace("]", " ").split()
    return max(int(each.split("=")[1]) for each in words if each.startswith("partitions_searched="))


def test_a_dry_run_changes_nothing_and_shows_what_a_shrink_runs(tmp_path, small):
    table, _ = create_table(tmp_path)
    version = table.version
    planned, _ = preview_shrink(url(tmp_path), request())
    assert table.version == version
    assert [each.sql.partition("(")[0].removeprefix("table.") for each in planned] == [
        *("add_columns", "refresh_column", "create_index", "replace_field_metadata", "drop_index")
    ]
    shrink(url(tmp_path), request())
    left, _ = preview_shrink(url(tmp_path), request())
    assert [each.when for each in left] == ["shrink", "finish"]


def test_one_stage_scores_are_those_of_the_prefix(tmp_path):
    _, values = create_table(tmp_path)
    shrink(url(tmp_path), request("16:float16"))
    found = search_table(url(tmp_path), QUERIES[0], 3)
    codes = unit(values[:, :16]).astype(np.float16).astype(np.float64)
    scores = codes @ unit(QUERIES[0][:16])
    best = np.argsort(-scores)[:3]
    assert found.ids == [[str(row) for row in best]]
    np.testing.assert_allclose(found.scores[0], scores[best], atol=1e-3)
