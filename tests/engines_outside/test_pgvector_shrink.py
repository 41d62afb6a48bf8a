"""``nestvec shrink`` on a table that is in use: every step, finish, and undo at every time."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from pgvector import Vector
from postgres import running_server
from shrink_table import (
    catalog,
    check_column,
    connect,
    create_table,
    exact,
    search,
    vectors,
    writing,
)

from ended_commands import run_in
from nestvec.errors import DataError
from nestvec.operate.shrink.postgresql import backward, session
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.operate.shrink.table import finish_shrink, preview_shrink, shrink, undo_shrink
from nestvec.types import OperatingPoint

PAGE = Path(__file__).parents[2] / "docs" / "shrink.md"
TWO_STAGES = "16:float16@200>64:float32"


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def database(server):
    with connect(server.url) as connection:
        create_table(connection)
        yield connection


@pytest.fixture
def url(server, database):
    return f"{server.url}?table=docs"


def request(point, **options):
    return ShrinkRequest(OperatingPoint.parse(point), **options)


def scans(database, index):
    database.execute("SELECT pg_stat_force_next_flush()")
    query = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s"
    return database.execute(query, [index]).fetchone()[0]


def test_a_table_in_use_is_shrunk_finished_and_restored(server, database, url):
    before = catalog(database)
    with writing(server.url) as writer:
        outcome = shrink(url, request(TWO_STAGES))
        assert (outcome.state, outcome.function) == ("switched", "public.docs_search")
        assert outcome.overlap > 0.9  # the writer adds vectors whose last dims are as large
        assert outcome.ef_search < 1_000  # rows that change meanwhile are no loss of the index
        assert 0 < outcome.index_bytes < outcome.former_bytes
        finished = finish_shrink(url)
        assert finished.freed_bytes > 0
        assert ("index", "docs_embedding") not in {row[:2] for row in catalog(database)}
        undo_shrink(url)
    assert writer.searches > 10
    after = [row for row in catalog(database) if row[:2] != ("function", "docs_search")]
    assert after == before
    undo_shrink(url, drop_function=True)
    assert catalog(database) == before


@pytest.mark.parametrize("point", ["16:float16", "32:sign"])
def test_a_column_is_equal_to_its_expression_after_concurrent_writes(server, database, url, point):
    before = catalog(database)
    with writing(server.url):
        outcome = shrink(url, request(point, column="small"))
        assert outcome.column_bytes > 0
        finish_shrink(url)
    check_column(database, point)
    undo_shrink(url, drop_function=True)
    assert catalog(database) == before


@pytest.mark.parametrize("column", [None, "small"])
def test_searches_use_the_new_index_and_agree_with_numpy(database, url, column):
    create_table(database, 8_000)
    shrink(url, request(TWO_STAGES, column=column))
    before = scans(database, "docs_embedding_16_float16")
    shares = []
    for query in vectors(20, seed=5):
        ids, distances = search(database, query)
        assert distances == sorted(distances)
        shares.append(len({*ids} & {*exact(database, query)}) / 10)
    assert np.mean(shares) > 0.95
    assert scans(database, "docs_embedding_16_float16") == before + 20


def test_the_progress_of_the_backfill_and_of_the_index_is_reported(database, url, monkeypatch):
    monkeypatch.setattr(session, "_POLL_S", 0.02)
    seen = {}

    class Seen:
        def begin(self, name, unit="steps"):
            self.reports = seen.setdefault((name, unit), [])

        def __call__(self, done, total):
            self.reports.append((done, total))

    shrink(url, request(TWO_STAGES, column="small"), on_progress=Seen())
    rows, pages = seen["fill the column", "rows"], seen["build the index", "pages"]
    assert rows[-1] == (3_000, 3_000)
    assert pages
    assert all(0 <= done <= total for done, total in (*rows, *pages))
    assert seen["compare with exact answers", "scans"][-1] == (200, 200)


def test_distances_are_those_of_the_metric(database, url):
    shrink(url, request(TWO_STAGES))
    query = vectors(1, seed=6)[0]
    for id_, distance in zip(*search(database, query, 5), strict=True):
        values = [Vector(query), id_]
        sql = "SELECT embedding <=> %s FROM docs WHERE key = %s"
        assert distance == pytest.approx(database.execute(sql, values).fetchone()[0], abs=1e-12)


def test_one_stage_distances_are_those_of_the_prefix(database, url):
    shrink(url, request("16:float16"))
    query = vectors(1, seed=6)[0]
    (key, *_), (distance, *_) = search(database, query, 1)
    sql = "SELECT embedding FROM docs WHERE key = %s"
    vector = database.execute(sql, [key]).fetchone()[0].to_numpy()[:16].astype(np.float64)
    cosine = vector @ query[:16] / np.linalg.norm(vector) / np.linalg.norm(query[:16])
    assert distance == pytest.approx(1 - cosine, abs=2e-3)  # rounded to float16


def test_a_dry_run_changes_nothing_and_shows_what_a_shrink_runs(database, url):
    before = catalog(database)
    wanted = request(TWO_STAGES, column="small")
    planned, _ = preview_shrink(url, wanted)
    assert catalog(database) == before
    assert database.execute("SELECT to_regnamespace('nestvec')").fetchone() == (None,)
    shrink(url, wanted)
    query = "SELECT record -> 'statements' FROM nestvec.shrinks"
    ((done,),) = database.execute(query).fetchall()
    *_, switched = done
    shown = [each.sql for each in planned if each.when == "shrink"]
    left = [each for each in shown if each not in done]
    assert [each.split()[0] for each in left] == ["UPDATE", "ANALYZE", "CREATE"]
    assert left[-1].replace("'40'", "'200'").replace("k > 40", "k > 200") == switched
    assert {each.split(":")[0] for each in (p.lock for p in planned)} >= {
        "SHARE UPDATE EXCLUSIVE",
        "ROW EXCLUSIVE",
    }


def test_a_user_without_special_rights_calls_the_function(server, database, url):
    database.execute("DROP ROLE IF EXISTS reader")
    database.execute("CREATE ROLE reader LOGIN")
    database.execute("GRANT SELECT ON docs TO reader")
    shrink(url, request(TWO_STAGES))
    with connect_as(server, "reader") as reader:
        reader.execute("SET search_path = ''")
        ids, _ = search(reader, vectors(1)[0], name="public.docs_search")
        assert ids[0] == 0
        assert len(search(reader, vectors(1)[0], 500, name="public.docs_search")[0]) == 500
    database.execute("REVOKE SELECT ON docs FROM reader")
    with connect_as(server, "reader") as reader, pytest.raises(Exception, match="permission"):
        search(reader, vectors(1)[0])
    database.execute("DROP ROLE reader")


def connect_as(server, user):
    import psycopg
    from pgvector.psycopg import register_vector

    connection = psycopg.connect(server.url.replace("tests@", f"{user}@"), autocommit=True)
    register_vector(connection)
    return connection


def test_the_wide_column_can_be_dropped_after_the_finish(database, url):
    shrink(url, request("16:float16", column="small"))
    finish_shrink(url)
    database.execute("ALTER TABLE docs DROP COLUMN embedding CASCADE")
    values = [Vector(vectors(1, seed=9)[0])]
    database.execute(
        "INSERT INTO docs SELECT -1, '', l2_normalize(subvector(%s, 1, 16))::halfvec(16)", values
    )
    assert search(database, vectors(1, seed=9)[0], 1)[0] == [-1]


def test_the_overlap_can_prevent_the_switch(database, url):
    with pytest.raises(Exception, match=r"overlap@10 is .* Nothing was switched"):
        shrink(url, request("2:float16", min_overlap=0.99))
    (source,) = database.execute("SELECT prosrc FROM pg_proc WHERE proname = 'docs_search'")
    assert "halfvec" not in source[0]
    undo_shrink(url, drop_function=True)


def test_a_repeated_command_changes_nothing_and_says_so(database, url):
    first = shrink(url, request(TWO_STAGES))
    before, steps = catalog(database), []
    second = shrink(url, request(TWO_STAGES), on_step=steps.append)
    assert (catalog(database), steps) == (before, [])
    assert (second.state, second.overlap) == ("switched", first.overlap)
    assert second.notes == ("The search function was switched before, so nothing was changed.",)


def test_an_index_that_programs_still_use_is_not_dropped(database, url, monkeypatch):
    shrink(url, request(TWO_STAGES))
    monkeypatch.setattr(backward, "GRACE_S", 0.0)
    finish_shrink(url)  # nothing has used the index
    undo_shrink(url)
    shrink(url, request(TWO_STAGES))
    database.execute("SET enable_seqscan = off")
    query = [Vector(vectors(1)[0])]
    database.execute("SELECT key FROM docs ORDER BY embedding <=> %s LIMIT 1", query)
    assert scans(database, "docs_embedding") > 0
    with pytest.raises(DataError, match=r"was used after the switch, at .* or pass --force"):
        finish_shrink(url)
    assert finish_shrink(url, force=True).freed_bytes > 0


def test_names_of_any_kind_are_quoted(server, database):
    database.execute('DROP SCHEMA IF EXISTS "my %s" CASCADE')
    database.execute('CREATE SCHEMA "my %s"')
    names = '"my %s"."Docs {0} $1"'
    database.execute(
        f'CREATE TABLE {names} ("a ""b" text, c int, "Em%b" vector({64}), PRIMARY KEY ("a ""b", c))'
    )
    database.execute(f"INSERT INTO {names} SELECT 'k' || key % 7, key, embedding FROM docs")
    database.execute(f'CREATE INDEX ON {names} USING hnsw ("Em%b" vector_cosine_ops)')
    url = f"{server.url}?table=my+%25s.Docs+%7B0%7D+$1&vector=Em%25b"
    outcome = shrink(url, request("16:float16", column='x "{}%s'))
    rows = database.execute(
        f"SELECT * FROM {outcome.function}(%s, 3)".replace('%s".', '%%s".'), [Vector(vectors(1)[0])]
    ).fetchall()
    assert rows[0][:2] == ("k0", 0)
    finish_shrink(url)
    undo_shrink(url, drop_function=True)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_other_metrics_rank_unit_vectors_equally(database, url, metric):
    create_table(database, metric=metric)
    database.execute("UPDATE docs SET embedding = l2_normalize(embedding)")
    query = vectors(1, seed=6)[0]
    query /= np.linalg.norm(query)
    for point in (TWO_STAGES, "64:float16"):
        shrink(url, request(point))
        ids, distances = search(database, query)
        assert len({*ids} & {*exact(database, query)}) >= 9
        operator = {"ip": "<#>", "l2": "<->"}[metric]
        sql = f"SELECT embedding {operator} %s FROM docs WHERE key = %s"
        (direct,) = database.execute(sql, [Vector(query), ids[0]]).fetchone()
        assert distances[0] == pytest.approx(direct, abs=2e-3)
        undo_shrink(url)


def test_a_halfvec_table_with_an_index_on_an_expression(database, url):
    create_table(database, index=False)
    database.execute(
        "CREATE INDEX docs_half ON docs USING hnsw ((embedding::halfvec(64)) halfvec_cosine_ops)"
    )
    outcome = shrink(url, request(TWO_STAGES))
    assert outcome.former_bytes > 0
    finish_shrink(url)
    undo_shrink(url)
    query = vectors(1, seed=6)[0]
    before = scans(database, "docs_half")
    database.execute("SET enable_seqscan = off")
    search(database, query)
    database.execute("RESET enable_seqscan")
    assert scans(database, "docs_half") == before + 1


def test_the_commands_of_the_documentation(server, database, tmp_path):
    text = PAGE.read_text().replace("postgresql://localhost/shop", server.url)
    block, _ = re.findall(r"```console\n(.*?)```", text, re.DOTALL)  # and that of LanceDB
    commands = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]
    printed = []
    for program, *arguments in commands:
        assert program == "nestvec"
        ended = run_in(tmp_path, *arguments)
        assert ended.code == 0, ended.err
        assert "free disk" not in ended.out  # it was read
        printed.append(" ".join(ended.out.split()))
    preview, switched, finished, undone = printed
    assert preview.endswith("Nothing was changed.")
    assert "compare with exact answers: overlap@10" in switched
    assert "freed" in finished and "now" in finished
    assert "docs_search remains, with the former search." in undone


@pytest.mark.parametrize("present", ["hnsw (embedding halfvec_cosine_ops)", None])
def test_a_column_of_halfvec_is_shrunk(database, url, present):
    create_table(database, kind="halfvec", index=False)
    if present is not None:
        database.execute(f"CREATE INDEX docs_embedding ON docs USING {present}")
    outcome = shrink(url, request("16:float16@200>64:float16"))
    assert (outcome.former_bytes > 0) == (present is not None)
    assert any("no index at full width" in each for each in outcome.notes) == (present is None)
    for query in vectors(3, seed=6):
        ids, _ = search(database, query)
        assert len({*ids} & {*exact(database, query)}) >= 9
    finish_shrink(url)
    undo_shrink(url, drop_function=True)


def test_an_ivfflat_index_is_replaced_and_rebuilt(database, url):
    create_table(database, index=False)
    definition = "CREATE INDEX docs_lists ON docs USING ivfflat (embedding vector_cosine_ops)"
    database.execute(f"{definition} WITH (lists = 10)")
    before = catalog(database)
    shrink(url, request(TWO_STAGES))
    finish_shrink(url)
    undo_shrink(url, drop_function=True)
    assert catalog(database) == before


def test_zero_vectors_are_last_and_stop_nothing(database, url):
    zeros = Vector(np.zeros(64, dtype=np.float32))
    database.execute("UPDATE docs SET embedding = %s WHERE key < 3", [zeros])
    partly = np.zeros(64, dtype=np.float32)
    partly[-1] = 1.0
    database.execute("UPDATE docs SET embedding = %s WHERE key = 3", [Vector(partly)])
    outcome = shrink(url, request("16:float16@3000>64:float32"))
    assert outcome.overlap == 1.0
    ids, distances = search(database, partly, 3_000)
    assert (ids[0], distances[0]) == (3, pytest.approx(0.0, abs=1e-6))  # its prefix is zero
    assert {*ids[-3:]} == {0, 1, 2}
    assert np.isnan(distances[-3:]).all()
