"""The SQL, names and estimates of ``nestvec shrink``, without a server."""

import doctest
import importlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.errors import InvalidArgument
from nestvec.operate.shrink.outcome import PlannedStatement, ShrinkOutcome
from nestvec.operate.shrink.postgresql.paths import dollar_quoted, new_query, search_function
from nestvec.operate.shrink.postgresql.points import check_point, nearest_point
from nestvec.operate.shrink.postgresql.records import ShrinkRecord
from nestvec.operate.shrink.postgresql.representation import SqlRepresentation
from nestvec.operate.shrink.postgresql.statements import batch_end, derived_name, fill_batch
from nestvec.operate.shrink.postgresql.target import KeyColumn, PresentIndex, ShrinkTable
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.types import PRECISIONS, OperatingPoint, Stage

DOCTESTS = ("comparing", "estimates", "paths", "representation", "statements", "target")
PLACE = "nestvec.operate.shrink.postgresql."


def table(kind="vector", dim=768, key=(("key", "bigint"),)):
    columns = tuple(KeyColumn(*each) for each in key)
    return ShrinkTable(
        *("public", "docs", 1, "r", "embedding", kind, dim, True, columns, columns, 0, {}),
        *((), (), '"public"'),
    )


@pytest.mark.parametrize("name", DOCTESTS)
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(PLACE + name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("dim", "precision", "computed"),
    [
        (128, "float32", "l2_normalize(subvector(v, 1, 128))::vector(128)"),
        (768, "float16", "l2_normalize(v)::halfvec(768)"),
        (64, "sign", "binary_quantize(subvector(v, 1, 64))::bit(64)"),
    ],
)
def test_codes_are_truncated_then_normalized_then_rounded(dim, precision, computed):
    assert SqlRepresentation(dim, precision, 768, "v").computed_from("v") == computed


@given(st.lists(st.sampled_from(["a", "$", "$q", "$q$", "$q_", "$q_$"]), max_size=6))
def test_no_text_ends_its_quotes(parts):
    text = "".join(parts)
    quoted = dollar_quoted(text, "q")
    tag = quoted[: quoted.index("$", 1) + 1]
    assert quoted.split(tag) == ["", text, ""]


@given(st.text(alphabet="aé漢", min_size=1, max_size=80), st.sampled_from(["search", "n" * 30]))
def test_names_fit_and_differ_between_tables(name, suffix):
    found = derived_name(name, suffix)
    assert len(found.encode()) <= 63
    assert found.endswith(f"_{suffix}")
    assert derived_name(name + "a", suffix) != found


STAGES = st.builds(Stage, st.integers(1, 5_000), st.sampled_from(PRECISIONS))


@given(st.lists(STAGES, min_size=1, max_size=3), st.sampled_from(["vector", "halfvec"]))
def test_the_nearest_point_is_possible_unless_it_is_the_stored_vector(stages, kind):
    *shortlists, last = stages
    point = OperatingPoint((*(Stage(s.dim, s.precision, 100) for s in shortlists), last))
    target = table(kind)
    try:
        check_point(point, target)
    except InvalidArgument as error:
        nearest = nearest_point(point, target)
        if "fewer dims" in str(error):
            stored = {"vector": "float32", "halfvec": "float16"}[kind]
            assert nearest.stages[0].representation == (768, stored)
        else:
            assert f"works here is {nearest}." in str(error)
            check_point(nearest, target)


def test_a_wide_column_is_searched_by_a_type_that_can_be_indexed():
    with pytest.raises(InvalidArgument, match=r"2,000 dims of float32.* 3000:float16@9>3072"):
        check_point(OperatingPoint.parse("3000:float32@9>3072:float32"), table(dim=3_072))


def test_a_key_of_two_columns_is_compared_as_a_row():
    target = table(key=(("a", "text"), ("b", "integer")))
    stored = SqlRepresentation(8, "sign", 768, '"embedding"', '"small"')
    text = fill_batch(target, stored, first=False)
    assert text.endswith(
        'AND ("a", "b") > ($1::text::text, $2::text::integer) '
        'AND ("a", "b") <= ($3::text::text, $4::text::integer)'
    )
    assert 'ORDER BY "a" DESC, "b" DESC LIMIT 1' in batch_end(target, None, first=False)
    assert "$1" not in batch_end(target, 5, first=True)


def test_a_search_returns_k_rows_also_beyond_the_shortlist():
    point = OperatingPoint.parse("64:sign@400>128:float16@100>768:float32")
    first = SqlRepresentation(64, "sign", 768, '"embedding"')
    text = new_query(table(), point.stages, first, "cosine", skip_nulls=False)
    assert [text.count(f"greatest({keep}, $2)") for keep in (400, 100)] == [1, 1]
    assert text.endswith("LIMIT $2")
    function = search_function(table(), "docs_search", text, 400)
    assert "IF k > 400 THEN" in function
    assert 'SET search_path = pg_catalog, "public", pg_temp' in function


def test_results_round_trip_through_json():
    index = PresentIndex("i", "CREATE INDEX i", "v", "vector", "cosine")
    record = ShrinkRecord("column", "8:sign", "ip", "f", "n", index, 5, "c", position=("1", "x"))
    again = json.loads(json.dumps(record.after("filled", "UPDATE").to_json()))
    assert ShrinkRecord.from_json(again) == record.after("filled", "UPDATE")
    outcome = ShrinkOutcome("url", "switched", "8:sign", "f", overlap=0.5, notes=("a", "b"))
    assert ShrinkOutcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    planned = PlannedStatement("ANALYZE", "none", 1.0, -3, "finish")
    assert PlannedStatement.from_json(json.loads(json.dumps(planned.to_json()))) == planned


def test_the_index_is_rebuilt_concurrently():
    index = PresentIndex("i", "CREATE INDEX i ON docs USING hnsw (v)", "v", "vector", "cosine")
    assert index.concurrent_definition().startswith("CREATE INDEX CONCURRENTLY i ON docs")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"min_overlap": 1.5}, "min_overlap=1.5 is not from 0 to 1"),
        ({"metric": "l1"}, "metric 'l1' is not one of cosine, ip, l2"),
        ({"free_disk": -1}, "free_disk=-1 is below 0"),
        ({"column": "x" * 64}, "not a valid name. Choose a name of 1 to 63 bytes"),
        ({"function": ""}, "not a valid name"),
    ],
)
def test_a_request_is_checked(options, problem):
    with pytest.raises(InvalidArgument, match=problem):
        ShrinkRequest(OperatingPoint.parse("8:sign"), **options)
