"""``nestvec shrink --adapter``: the database computes what the adapter computes in Python."""

import numpy as np
import pytest
from pgvector import Vector
from postgres import running_server
from shrink_table import DIM, catalog, connect, create_table, search, vectors, writing

from nestvec.codec.prefix import prefix
from nestvec.errors import InvalidArgument
from nestvec.models.adapter import Adapter, Head
from nestvec.models.adapter_file import save_adapter
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.operate.shrink.table import finish_shrink, preview_shrink, shrink, undo_shrink
from nestvec.types import OperatingPoint

ROTATION = np.linalg.qr(np.random.default_rng(7).standard_normal((DIM, DIM)))[0]


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def database(server):
    with connect(server.url) as connection:
        create_table(connection, 1_500)
        yield connection


@pytest.fixture
def url(server, database):
    return f"{server.url}?table=docs"


def linear(matrix=ROTATION, **values):
    head = Head(matrix.astype(np.float32))
    settings = {"method": "linear", "layer_norm": False, "documents": head, "queries": head}
    return Adapter(**{**settings, **values}, dims=(16,), base="", base_name="any", seed=0)


@pytest.fixture
def file(tmp_path):
    save_adapter(linear(), tmp_path / "adapter.safetensors")
    return tmp_path / "adapter.safetensors"


def request(point, adapter, **options):
    options = {"column": "small", **options}
    return ShrinkRequest(OperatingPoint.parse(point), adapter=adapter, **options)


def check_codes(database):
    """Check that the column of every row equals the codes that Python computes."""
    rows = database.execute("SELECT embedding, small FROM docs").fetchall()
    stored = np.stack([code.to_numpy() for _, code in rows]).astype(np.float32)
    raw = np.stack([vector.to_numpy() for vector, _ in rows]).astype(np.float32)
    expected = prefix(linear().apply(raw, "document"), 16)
    np.testing.assert_allclose(stored, expected, atol=1e-3)  # float16


def test_codes_equal_those_of_python_also_for_rows_written_meanwhile(server, database, url, file):
    before = catalog(database)
    with writing(server.url):
        outcome = shrink(url, request("16:float16@200>64:float32", file))
    assert outcome.column_bytes > 0
    check_codes(database)
    assert database.execute("SELECT count(*) FROM nestvec.shrink_adapters").fetchone() == (16,)
    finish_shrink(url)
    undo_shrink(url, drop_function=True)
    assert catalog(database) == before
    assert database.execute("SELECT count(*) FROM nestvec.shrink_adapters").fetchone() == (0,)


def test_one_stage_searches_by_adapted_queries(database, url, file):
    shrink(url, request("16:float16", file))
    keys = [key for (key,) in database.execute("SELECT key FROM docs ORDER BY key")]
    raw = np.stack(
        [row[0].to_numpy() for row in database.execute("SELECT embedding FROM docs ORDER BY key")]
    )
    codes = prefix(linear().apply(raw, "document"), 16)
    for query in vectors(5, seed=4):
        adapted = prefix(linear().apply(query[None], "query"), 16)[0]
        order = np.argsort(-(codes @ adapted), kind="stable")[:10]
        ids, distances = search(database, query)
        assert len({*ids} & {keys[row] for row in order}) >= 9
        assert distances[0] == pytest.approx(1 - codes[order[0]] @ adapted, abs=2e-3)


def test_signs_are_those_of_adapted_vectors(database, url, file):
    shrink(url, request("16:sign@200>64:float32", file))
    vector, code = database.execute("SELECT embedding, small::text FROM docs LIMIT 1").fetchone()
    adapted = linear().apply(vector.to_numpy()[None], "document")[0, :16]
    assert code == "".join("1" if value > 0 else "0" for value in adapted)


def test_a_reader_needs_no_right_on_the_matrix(server, database, url, file):
    from test_pgvector_shrink import connect_as

    shrink(url, request("16:float16@200>64:float32", file))
    database.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    database.execute("GRANT SELECT ON docs TO reader")
    with connect_as(server, "reader") as reader:
        assert search(reader, vectors(1)[0])[0][0] == 0
    database.execute("REVOKE ALL ON docs FROM reader; DROP ROLE reader")


@pytest.mark.parametrize(
    ("adapter", "options", "problem"),
    [
        (linear(), {"column": None}, "adapted codes need a column"),
        (linear(np.eye(32)), {}, "is for 32 dims, and embedding has 64"),
        (linear(layer_norm=True), {}, "uses layer normalization"),
        (linear(method="none"), {}, "does not change vectors"),
        (linear(queries=Head(np.eye(DIM, dtype=np.float32))), {}, "separate head for queries"),
    ],
)
def test_an_adapter_that_the_database_cannot_apply(
    database, url, tmp_path, adapter, options, problem
):
    save_adapter(adapter, tmp_path / "a.safetensors")
    before = catalog(database)
    with pytest.raises(InvalidArgument, match=problem):
        shrink(url, request("16:float16", tmp_path / "a.safetensors", **options))
    assert catalog(database) == before


def test_a_preview_shows_the_matrix_and_another_adapter_is_refused(database, url, file, tmp_path):
    planned, _ = preview_shrink(url, request("16:float16", file))
    assert any("nestvec.shrink_adapters" in each.sql and "16 rows" in each.sql for each in planned)
    shrink(url, request("16:float16", file))
    with pytest.raises(InvalidArgument, match="with adapter"):
        shrink(url, request("16:float16", None))
    database.execute("INSERT INTO docs VALUES (-5, '', %s)", [Vector(vectors(1, seed=3)[0])])
    check_codes(database)
