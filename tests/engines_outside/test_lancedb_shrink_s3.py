"""``nestvec shrink`` of a Lance table on a real S3 server, while another process writes."""

import os

import pytest
from lance_shrink_table import (
    check_prefixes,
    check_rows,
    connect,
    request,
    rows,
    state,
    use_small_tables,
    vectors,
    writing,
)
from lancedb.index import IvfFlat
from s3_server import s3_server

from nestvec.operate.shrink.lancedb.searching import search_table
from nestvec.operate.shrink.table import catch_up, finish_shrink, shrink, undo_shrink

N = 2_000


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3"), "tables") as url:
        yield url


def test_the_whole_story_on_object_storage(bucket, monkeypatch):
    use_small_tables(monkeypatch)
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    options = {"aws_endpoint": endpoint, "allow_http": "true", "aws_region": "us-east-1"}
    values = vectors(N)
    table = connect(bucket, options).create_table("docs", rows(range(N), values))
    table.create_index("vec", config=IvfFlat(distance_type="cosine", num_partitions=8))
    before, place = state(table), f"{bucket}?table=docs&id=key&vector=vec"
    with writing(bucket) as report:
        outcome = shrink(place, request())
        assert (outcome.state, outcome.place) == ("switched", place)
        assert search_table(place, values[7], 1).ids == [["7"]]
        catch_up(place)
    check_rows(table, [report], N)
    catch_up(place)
    check_prefixes(table)
    finish_shrink(place)
    undo_shrink(place)
    assert state(table) == before
