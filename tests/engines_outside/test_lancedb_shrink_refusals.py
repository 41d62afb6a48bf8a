"""What ``nestvec shrink`` refuses on a table of LanceDB, in one line and before any change."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lance_shrink_table import (
    DIM,
    connect,
    create_table,
    request,
    rows,
    url,
    vectors,
)
from typer.testing import CliRunner

from nestvec.cli.main import app
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError, InvalidArgument
from nestvec.operate.shrink.lancedb.records import KEY
from nestvec.operate.shrink.lancedb.searching import search_table
from nestvec.operate.shrink.table import catch_up, finish_shrink, shrink, undo_shrink
from nestvec.types import ModelInfo, OperatingPoint


def refused(folder, problem, *, place=None, error=DataError, **options):
    """Check that a shrink is refused in one line, and that no version was committed."""
    before = {name: connect(folder).open_table(name).version for name in names(folder)}
    with pytest.raises(error, match=problem) as caught:
        shrink(place or url(folder), request(**options))
    assert "\n" not in str(caught.value)
    assert {name: connect(folder).open_table(name).version for name in names(folder)} == before


def names(folder):
    return connect(folder).list_tables().tables


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"point": "16:int8@100>64:float32"},
            "LanceDB searches only float16 and float32, not int8",
        ),
        ({"point": "16:float16@100>32:float32"}, "Write it as 64:float32"),
        ({"point": "64:float32"}, "so nothing shrinks"),
        ({"point": "16:float16@100>96:float32"}, "wider than the vectors, which have 64 dims"),
        ({"function": "docs_search"}, "LanceDB has no functions"),
        ({"adapter": Path("any")}, "cannot compute an adapter"),
        ({"column": "a.b"}, "backtick or a dot"),
        ({"full_dim": 768}, "the plan is for vectors of 768 dims, but column vec of docs has 64"),
        ({"metric": "ip"}, "100 of 100 sampled vectors do not have unit length"),
    ],
)
def test_requests_that_lancedb_cannot_have(tmp_path, options, problem):
    create_table(tmp_path, 1_000)
    refused(tmp_path, problem, error=InvalidArgument, **options)


def test_missing_tables_and_columns(tmp_path):
    create_table(tmp_path, 1_000)
    absent = f"lance://{tmp_path}?table=absent&id=key&vector=vec"
    refused(tmp_path, "contains no table absent", place=absent)
    refused(tmp_path, "other", place=url(tmp_path, "other"))
    refused(tmp_path, "has a column lang, and nestvec shrink did not create it", column="lang")
    refused(tmp_path, "the disk has 0 MB free", free_disk=0)


def test_lists_of_any_length(tmp_path):
    lists = pa.array(vectors(500).tolist(), pa.list_(pa.float32()))
    connect(tmp_path).create_table("docs", pa.table({"key": range(500), "vec": lists}))
    refused(tmp_path, "column vec has lists of any length")


def test_ids_that_are_missing_or_repeated(tmp_path):
    table, values = create_table(tmp_path, 500, index=False)
    table.add(rows([7, 8], values[:2]))
    refused(
        tmp_path, "2 ids appear in several rows, for example [78] in column key", metric="cosine"
    )
    table.delete("key IN (7, 8)")
    table.update("key = 9", values_sql={"key": "NULL"})
    refused(tmp_path, r"1 rows have no id \(NULL in column key\)", metric="cosine")


def test_an_index_of_nestvec(tmp_path):
    model = ModelInfo("models/any", "e" * 64, DIM, (DIM, 16), "config.json", True)
    point = OperatingPoint.parse("16:float16@100>64:float32")
    LanceEngine.create(f"lance://{tmp_path}?table=docs", Manifest(model, "float32", point)).close()
    place = f"lance://{tmp_path}?table=docs&id=id&vector=vector"
    refused(tmp_path, "is an index of nestvec. Run nestvec index use", place=place)


def test_a_storage_that_cannot_be_written(tmp_path, monkeypatch):
    create_table(tmp_path, 500)
    monkeypatch.setattr("os.access", lambda *_: False)
    refused(tmp_path, "cannot be written. Run the command as a user who may write it")


def test_a_record_or_a_column_that_shrink_did_not_write(tmp_path):
    table, _ = create_table(tmp_path, 1_000)
    table.replace_field_metadata("vec", {KEY: "[]"})
    refused(tmp_path, "has a record of a shrink that cannot be read")
    table.replace_field_metadata("vec", {KEY: '{"version": 99}'})
    refused(tmp_path, "was shrunk by a newer version of nestvec. Upgrade")
    table.replace_field_metadata("vec", {"unit": "kept"})
    shrink(url(tmp_path), request())
    assert table.schema.field("vec").metadata[b"unit"] == b"kept"
    table.drop_columns(["vec_16_float16"])
    table.add_columns({"vec_16_float16": "lang"})
    refused(tmp_path, "has a column vec_16_float16, and nestvec shrink did not create it")


def test_a_shrink_with_other_settings_exists(tmp_path):
    create_table(tmp_path, 1_000)
    shrink(url(tmp_path), request())
    other = "32:float16@100>64:float32"
    problem = "with point 16:float16@100>64:float32 exists. Run the command with --undo before"
    refused(tmp_path, problem, error=InvalidArgument, point=other)
    refused(tmp_path, "with metric cosine exists", error=InvalidArgument, metric="l2")


@pytest.mark.parametrize("command", [catch_up, finish_shrink, undo_shrink])
def test_a_table_that_was_not_shrunk(tmp_path, command):
    create_table(tmp_path, 500)
    with pytest.raises(InvalidArgument, match="table docs was not shrunk"):
        command(url(tmp_path))


@pytest.mark.parametrize(
    ("queries", "options", "problem"),
    [
        (vectors(1)[:, :9], {}, r"queries have shape \(1, 9\), and docs has vectors of 64 dims"),
        (vectors(1) * np.nan, {}, "NaN or infinity"),
        (vectors(1), {"k": 0}, "k=0 is below 1"),
        (vectors(1), {"where": "year > 3"}, "no column year"),
    ],
)
def test_searches_that_do_not_fit(tmp_path, queries, options, problem):
    create_table(tmp_path, 500)
    with pytest.raises(InvalidArgument, match=problem):
        search_table(url(tmp_path), queries, **options)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--undo", "--drop-function"], "LanceDB has no functions"),
        (["--finish", "--force"], "LanceDB counts no uses of an index"),
        (["--catch-up", "--undo"], "--catch-up and --undo exclude each other"),
        (["--catch-up", "--point", "16:float16"], "--catch-up needs only the URL. Remove --point"),
        (["--point", "16:float16", "--function", "f"], "search with search_table"),
        ([], "Pass either --plan or --point (or --catch-up, --finish or --undo)"),
    ],
)
def test_options_of_the_command(tmp_path, arguments, problem):
    create_table(tmp_path, 500)
    result = CliRunner().invoke(app, ["shrink", url(tmp_path), *arguments])
    assert result.exit_code != 0
    assert problem in f"{result.output} {result.exception}"
